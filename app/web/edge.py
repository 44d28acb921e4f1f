"""Turn everything that can go wrong into one answer: RFC 9457 problem+json with a stable `code`.

The only file that knows which refusal has which status.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.domain import ids
from app.domain.errors import CountersAway, Refusal, StoreAway
from app.domain.placement import TakenRefusal
from app.services.once import Answered
from app.services.standing import BatchRefusal
from app.telemetry import say

STATUS: Final[Mapping[str, int]] = {
    "malformed_body": 400,
    "unauthenticated": 401,
    "insufficient_scope": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "body_too_slow": 408,
    "account_in_use": 409,
    "idempotency_key_in_use": 409,
    "last_admin_key": 409,
    "other_group": 409,
    "qr_in_use": 409,
    "same_group": 409,
    "same_qr": 409,
    "slug_taken": 409,
    "too_many_channels": 409,
    "too_many_keys": 409,
    "too_many_options": 409,
    "too_many_targets": 409,
    "too_many_zone_changes": 409,
    "closed": 410,
    "changed_meanwhile": 412,
    "body_too_large": 413,
    "image_too_large": 413,
    "unsupported_media_type": 415,
    "already_expired": 422,
    "bad_cursor": 422,
    "bad_idempotency_key": 422,
    "bad_link": 422,
    "bad_range": 422,
    "bad_slug": 422,
    "bad_style": 422,
    "bad_time_zone": 422,
    "bad_until": 422,
    "bad_window": 422,
    "batch_refused": 422,
    "cyclic_fallback": 422,
    "empty_shift": 422,
    "expires_too_late": 422,
    "fallback_chain_too_long": 422,
    "idempotency_key_reused": 422,
    "invalid": 422,
    "link_expected": 422,
    "menu_of_menus": 422,
    "needs_qr": 422,
    "no_font": 422,
    "no_picture": 422,
    "no_qr_code": 422,
    "no_targets_in_menu": 422,
    "not_a_menu": 422,
    "only_for_links": 422,
    "other_kind": 422,
    "overlapping_shifts": 422,
    "own_address": 422,
    "qr_expected": 422,
    "repeated_date": 422,
    "repeated_option": 422,
    "reserved_slug": 422,
    "several_qr_codes": 422,
    "too_many_shifts": 422,
    "unknown_account": 422,
    "unknown_channel": 422,
    "unknown_code": 422,
    "unknown_option": 422,
    "unreadable_image": 422,
    "unreadable_style": 422,
    "unsupported_qr_kind": 422,
    "weak_key": 422,
    "internal": 500,
    "counters_away": 503,
    "store_away": 503,
    "too_many_edits": 503,
    "too_many_prints": 503,
    "too_many_reads": 503,
    "too_many_uploads": 503,
}
_BY_STATUS: Final = {
    400: "malformed_body",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
}
_RETRY_SECONDS: Final = "2"
_ERRORS_SHOWN: Final = 100
_WHERE_CHARACTERS: Final = 200

# Nothing of the API may be kept, sniffed, framed or linked from elsewhere.
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ProblemResponse(JSONResponse):
    """Answer with a problem."""

    media_type = "application/problem+json"


def problem(
    code: str,
    detail: str,
    where: str | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> ProblemResponse:
    """Describe one problem; `errors` names every field or row at fault, if there may be more than one."""
    status = STATUS[code]
    body: dict[str, Any] = {
        "type": f"urn:huoma:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "where": where,
        **(more or {}),
    }
    if errors:
        body["errors"] = list(errors)
    extra = dict(headers or {})
    if status == HTTPStatus.UNAUTHORIZED:
        extra["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        extra["Retry-After"] = _RETRY_SECONDS
    return ProblemResponse(body, status, headers={**SECURITY_HEADERS, **extra})


def refusal_problem(refusal: Refusal) -> ProblemResponse:
    """Describe a refusal."""
    errors = []
    if isinstance(refusal, BatchRefusal):
        errors = [
            {"where": _row(row, one.where), "code": one.code, "detail": one.detail, **_there(one)}
            for row, one in list(refusal.rows.items())[:_ERRORS_SHOWN]
        ]
    return problem(refusal.code, refusal.detail, refusal.where, errors, more=_there(refusal))


def _there(refusal: Refusal) -> dict[str, Any]:
    """Name what is in the way; an extension member of RFC 9457."""
    there = refusal.there if isinstance(refusal, TakenRefusal) else None
    return {} if there is None else {"there": asdict(there)}


def away_problem(error: CountersAway | StoreAway) -> ProblemResponse:
    """Describe a server of ours that cannot be asked."""
    if isinstance(error, CountersAway):
        return problem("counters_away", "Redis cannot be reached, so nothing was changed. Try again in a moment.")
    return problem("store_away", "PostgreSQL cannot be reached. Try again in a moment.")


def install_errors(app: FastAPI) -> None:
    """Answer every exception with a problem."""

    async def refused(request: Request, error: Refusal) -> ProblemResponse:
        return problem("not_found", _no_such(request)) if error.code == "not_found" else refusal_problem(error)

    async def away(_request: Request, error: CountersAway | StoreAway) -> ProblemResponse:
        return away_problem(error)

    async def answered(_request: Request, error: Answered) -> JSONResponse:
        headers = {"Idempotent-Replayed": "true"}
        if "version" in error.body:
            headers["ETag"] = etag(error.body["version"])
        return JSONResponse(error.body, error.status, headers)

    async def spoken(request: Request, error: HTTPException) -> ProblemResponse:
        return _spoken_problem(request, error)

    async def invalid(request: Request, error: RequestValidationError) -> ProblemResponse:
        return _validation_problem(request, error)

    async def unexpected(_request: Request, error: Exception) -> ProblemResponse:
        say("unexpected_error", level=logging.ERROR, error=error)
        return problem("internal", "Something went wrong on our side. It has been noted.")

    handlers: dict[Any, Any] = {
        Refusal: refused,
        CountersAway: away,
        StoreAway: away,
        Answered: answered,
        HTTPException: spoken,
        RequestValidationError: invalid,
        Exception: unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


_HTTP_DETAIL: Final = {
    "malformed_body": "The body cannot be read as what its Content-Type says.",
    "not_found": "There is no such path.",
    "method_not_allowed": "This path does not know this method.",
    "body_too_large": "The body is too large: 2 MB of JSON or 12 MB of upload at most.",
    "body_too_slow": "The body did not come in time.",
}


def _spoken_problem(request: Request, error: HTTPException) -> ProblemResponse:
    code = _BY_STATUS.get(error.status_code, "malformed_body")
    headers = {**(error.headers or {}), **(_allowed(request) if code == "method_not_allowed" else {})}
    said = _unreadable(error.__cause__) or _HTTP_DETAIL[code]
    if code == "not_found" and _allowed_at(request, request.url.path.rstrip("/")):
        said = "There is no such path: leave out the slash at its end."
    return problem(code, said, headers=headers)


def _unreadable(cause: BaseException | None) -> str | None:
    """Say why a body could not be read, where that is known."""
    if isinstance(cause, UnicodeDecodeError):
        return "The text is not UTF-8."
    return "The body is not JSON." if isinstance(cause, json.JSONDecodeError) else None


def _allowed(request: Request) -> dict[str, str]:
    """List the methods of all routes of a path of the API; the router names those of the first alone."""
    found = _allowed_at(request, request.url.path)
    return {"Allow": ", ".join(sorted(found))} if found else {}


def _allowed_at(request: Request, asked: str) -> set[str]:
    routes: Mapping[str, set[str]] = request.app.state.methods
    return set().union(*(methods for path, methods in routes.items() if _matches(path, asked)))


def _no_such(request: Request) -> str:
    """Name what a path asks for that is not there, or not of this workspace, which the caller cannot tell apart."""
    asked = [name.removesuffix("_id") for name in request.path_params]
    if "number" in asked:
        noun = "channel" if "/channels/" in request.url.path else "option"
        return f"There is no such {noun}, or no such code, in this workspace."
    return f"There is no such {asked[-1] if asked else 'thing'} in this workspace."


def _matches(path: str, asked: str) -> bool:
    parts, given = path.split("/"), asked.split("/")
    return len(parts) == len(given) and all(
        part == one or part.startswith("{") for part, one in zip(parts, given, strict=True)
    )


def etag(version: int) -> str:
    """Spell the strong tag of a version."""
    return f'"{version}"'


def _validation_problem(request: Request, error: RequestValidationError) -> ProblemResponse:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem("malformed_body", "The body is not JSON.")
    # An id that cannot exist is one that does not exist.
    if any(one["loc"][0] == "path" for one in found):
        return problem("not_found", _no_such(request))
    errors = [{"where": _where(one["loc"]), "code": one["type"], "detail": _say(one)} for one in found[:_ERRORS_SHOWN]]
    first = errors[0]
    where = f"{first['where']}: " if first["where"] else ""
    return problem("invalid", f"{where}{first['detail']}.", first["where"] or None, errors)


_NO_OBJECT: Final = "Send a JSON object, with Content-Type: application/json"
# What the library says of these helps nobody who does not know the library.
_SAID_BETTER: Final[Mapping[str, str]] = {
    "extra_forbidden": "There is no such field",
    "missing": "This is needed",
    "model_attributes_type": _NO_OBJECT,
    "model_type": _NO_OBJECT,
    "dict_type": _NO_OBJECT,
}


# Whatever else has a pattern is a time of day.
_PATTERNS: Final[Mapping[str, str]] = {ids.PATTERN: "Give an id as the API told it"}


def _count(number: int, error: Mapping[str, Any]) -> str:
    noun = "item" if isinstance(error["input"], list) else "character"
    return f"{number} {noun}{'s' * (number != 1)}"


def _say(error: Mapping[str, Any]) -> str:
    context = error.get("ctx") or {}
    if error["type"] == "extra_forbidden" and error["loc"][0] == "query":
        return "There is no such parameter"
    if error["type"] == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], "Give a time of day such as 09:00")
    if error["type"] in ("model_attributes_type", "model_type", "dict_type") and len(error["loc"]) > 1:
        return "Give a JSON object here"
    if error["type"] in ("too_short", "string_too_short"):
        return f"Give at least {_count(context['min_length'], error)}"
    if error["type"] in ("too_long", "string_too_long"):
        return f"Give at most {_count(context['max_length'], error)}"
    if "UploadFile" in error["msg"]:
        return "Send a file (with curl: -F name=@file)"
    return _SAID_BETTER.get(error["type"], str(error["msg"]))


def _where(location: Sequence[int | str]) -> str:
    # A name in it may be the caller's own, with anything in it.
    text = ".".join(str(part) for part in location[1:])[:_WHERE_CHARACTERS]
    return text.encode(errors="replace").decode()


def _row(number: int, where: str | None) -> str:
    return f"targets.{number}" + (f".{where}" if where else "")
