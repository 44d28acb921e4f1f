"""Describe in the OpenAPI document what the scan app answers, which stands before all routes of the API.

Law: statuses and outcomes are read from `web/outcomes.py`, the fields of an answer from `web/scan_answers.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from app.domain import limits
from app.web.answers import ID
from app.web.outcomes import HEADS, Head
from app.web.scan_answers import ScanOut

TAG: Final = {
    "name": "scan",
    "description": "What phones and mini programs ask (扫码), without a key, with any query: pages for browsers, the "
    "same as JSON with `Accept: application/json`. A `HEAD` takes no place.",
}

# Of an answer of which nothing more is known than that it is one.
_NOTHING: Final[Mapping[str, Any]] = {
    "code": None, "target": None, "qr_image": None, "url": None, "message": None, "reason": None, "opens_at": None,
    "seat": None, "options": [],
}  # fmt: skip
_SEAT: Final = f"7.{ID}..20778.0.q83vEjRWeJA1.h.1795485600.Wc3bXo1kq0x9v7a2b4c6dA"
_CODE: Final = {"name": "春日护肤交流群", "kind": "group"}
_PLACE: Final = {
    "code": _CODE,
    "target": {"id": ID, "name": "1群", "kind": "wechat_group", "expires_at": "2026-11-28T01:00:00Z"},
    "qr_image": f"https://qr.example/spring26/seat/{_SEAT}.png",
    "seat": _SEAT,
}
_OPTION: Final = {"label": "上海", "hint": "周末活动", "url": "https://qr.example/city/1"}
_LATER: Final = "2026-12-01T10:00:00Z"
_EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "claimed": _PLACE,
    "returned": _PLACE,
    "fallback": {"code": _CODE, "qr_image": "https://qr.example/spring26/fallback.png", "message": "群满了，请加客服"},
    "menu": {"code": {"name": "你在哪座城市", "kind": "menu"}, "options": [_OPTION]},
    "full": {"code": _CODE, "reason": "off_shift", "opens_at": _LATER},
    "not_open": {"code": _CODE, "opens_at": _LATER},
    "closed": {},
    "unknown": {},
    "unavailable": {},
}

_TEXT: Final = {"type": "string"}
_SLUG: Final = {
    "name": "slug",
    "in": "path",
    "required": True,
    "description": "What stands behind the host in a printed address: of a code, or of a channel.",
    "schema": {"type": "string", "pattern": f"^[A-Za-z0-9_-]{{1,{limits.SLUG_MAX}}}$", "examples": ["spring26"]},
}
_NUMBER: Final = {
    "name": "option",
    "in": "path",
    "required": True,
    "description": "The number of an option; one that is gone shows the menu.",
    "schema": {"type": "integer", "minimum": 0, "maximum": limits.OPTION_NUMBER_MAX, "examples": [1]},
}
_TOKEN: Final = {
    "name": "token",
    "in": "path",
    "required": True,
    "description": "The `seat` of an answer. `qr_image` is the whole address.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,200}$", "examples": [_SEAT]},
}
_CARRIED: Final = {
    "name": "X-Huoma-Seat",
    "in": "header",
    "description": "For clients without cookies: the `seat` that came with the answer before. One of another code, or "
    "an old one, does no harm. Browsers send the cookie `hm_…` of the code instead.",
    "schema": {"type": "string", "examples": [_SEAT]},
}

_COOKIE: Final = {
    "Set-Cookie": {
        "description": "The seat, for clients with cookies: `hm_` and the code's id. It lasts `sticky_days`.",
        "schema": {"type": "string", "pattern": "^hm_"},
    }
}
_PROVEN: Final = {
    "X-Huoma-Seat": {
        "description": "The seat, marked as seen. A client that can read this header keeps it instead of `seat`.",
        "schema": _TEXT,
    }
}
_RETRY: Final = {"description": "Ask again after so many seconds.", "schema": {"type": "integer", "minimum": 1}}
_LOCATION: Final = {"description": "Where the link leads.", "required": True, "schema": _TEXT}

_Content = Callable[[Sequence[str]], dict[str, Any]]


def scan_paths() -> dict[str, Any]:
    """Describe every path of the scan app but the proofs for WeChat, which a setting names."""
    printed = _answers((Head(200, "outside_wechat"), Head(404, "unknown")), _drawn)
    place = (_SLUG, _TOKEN, _CARRIED)
    # A place is behind a QR: no menu, and no other code than the one that was asked.
    pictured = _answers((one for one in HEADS if one.outcome not in ("menu", "fallback")), _picture, _COOKIE | _PROVEN)
    found = {
        "/{slug}": _get("scan", "Scan a code", _SCAN, (_SLUG, _CARRIED), _scanned()),
        "/{slug}/{option}": _get("choose_option", "Scan an option", _CHOICE, (_SLUG, _NUMBER, _CARRIED), _scanned()),
        "/{slug}/seat/{token}.png": _get("see_seat", "Load the QR of a place", _SEE, place, pictured),
        "/{slug}/fallback.png": _get(
            "see_fallback", "Load the QR of a fallback", "It takes no place.", (_SLUG,),
            _answers((Head(200, "fallback"), Head(404, "unknown")), _drawn),
        ),
        "/{slug}/print.png": _get("see_print", "Load the print of an address", _PRINT, (_SLUG,), printed),
        "/{slug}/{option}/print.png": _get(
            "see_option_print", "Load the print of an option", _PRINT, (_SLUG, _NUMBER), printed
        ),
        "/": _get("home", "See what runs here", "A page for people.", (), _answers((Head(200, "home"),), _page)),
    }  # fmt: skip
    return {path: {"get": operation} for path, operation in found.items()}


def scan_schemas() -> dict[str, Any]:
    """Spell the schemas of an answer in JSON."""
    answer: TypeAdapter[ScanOut] = TypeAdapter(ScanOut)
    _, found = TypeAdapter.json_schemas(
        [("ScanOut", "serialization", answer)], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


_SCAN: Final = (
    "Gives the visitor a place, or the one from before. A place is held for the code's `hold_seconds` and becomes the "
    "visitor's when `qr_image` is loaded. Behind a link it is the visitor's at once, and browsers get a 302."
)
_CHOICE: Final = "Counts the choice, and answers as a scan of the code behind it does. Other codes ignore the number."
_SEE: Final = (
    "Makes the place the visitor's. A place that has gone back meanwhile is taken again, where there is room. Every "
    "answer is a picture: without a place, one that says to reload."
)
_PRINT: Final = (
    "The QR of the address itself, for phones outside WeChat that save it, and for computers. Takes no place."
)


def _get(
    name: str, summary: str, description: str, parameters: Sequence[Mapping[str, Any]], responses: dict[str, Any]
) -> dict[str, Any]:
    return {
        "tags": [TAG["name"]],
        "operationId": name,
        "summary": summary,
        "description": description,
        "security": [],
        "parameters": list(parameters),
        "responses": responses,
    }


def _scanned() -> dict[str, Any]:
    found = _answers(HEADS, _both, _COOKIE)
    sent = [head for head in HEADS if head.outcome in ("claimed", "returned", "fallback")]
    link = _answers(sent, lambda _: {}, {**_COOKIE, "Location": _LOCATION})["200"]
    del link["content"]
    link["description"] += " of a link, for browsers; never as JSON"
    return dict(sorted({**found, "302": link}.items()))


def _answers(heads: Iterable[Head], content: _Content, headers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe answers by their statuses; `headers` go with what gives something, which is always 200."""
    by_status: dict[int, list[Head]] = {}
    for head in heads:
        by_status.setdefault(head.status, []).append(head)
    return {
        str(status): {
            "description": " · ".join(f"`{head.outcome}`" for head in found),
            "headers": {
                "X-Huoma-Outcome": {"required": True, "schema": _one_of([head.outcome for head in found])},
                **({"Retry-After": {**_RETRY, "required": True}} if all(head.retry_seconds for head in found) else {}),
                **((headers or {}) if status == 200 else {}),
            },
            "content": content([head.outcome for head in found]),
        }
        for status, found in sorted(by_status.items())
    }


def _one_of(outcomes: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(outcomes)}


def _both(outcomes: Sequence[str]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ScanOut", "properties": {"outcome": _one_of(outcomes)}}
    examples = {one: {"value": {"outcome": one, **_NOTHING, **_EXAMPLES.get(one, {"code": _CODE})}} for one in outcomes}
    return {"application/json": {"schema": schema, "examples": examples}, **_page(outcomes)}


def _page(_outcomes: Sequence[str]) -> dict[str, Any]:
    return {"text/html": {"schema": _TEXT}}


def _drawn(_outcomes: Sequence[str]) -> dict[str, Any]:
    return {"image/png": {"schema": {}}}


def _picture(outcomes: Sequence[str]) -> dict[str, Any]:
    """Describe a drawing, or the picture that was uploaded (`display: original`)."""
    return {**_drawn(outcomes), **({"image/jpeg": {"schema": {}}} if "claimed" in outcomes else {})}
