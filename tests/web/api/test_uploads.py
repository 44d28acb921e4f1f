"""Targets that come as screenshots."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.domain import limits
from app.domain.workspace import Workspace
from tests.conftest import Clock
from tests.web.api.steps import done, make_code, make_target, refused

MANIFEST = json.loads((Path(__file__).parents[2] / "samples" / "manifest.json").read_text(encoding="utf-8"))
CUT_SHORT = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc'
STATUS = {"unsupported_media_type": 415, "image_too_large": 413}


async def upload(api: httpx.AsyncClient, code: dict[str, Any], path: Path, **fields: str) -> httpx.Response:
    return await api.post(f"/codes/{code['id']}/targets", files={"image": path.read_bytes()}, data=fields)


@pytest.mark.parametrize("sample", [one for one in MANIFEST["images"] if "kind" in one], ids=lambda one: one["file"])
async def test_a_screenshot_becomes_a_target(api: httpx.AsyncClient, samples: Path, sample: dict[str, str]) -> None:
    code = await make_code(api, kind="group" if "group" in sample["kind"] else "staff")
    response = await upload(api, code, samples / sample["file"])
    if sample["file"] == "group_zh_already_expired.jpg":
        refused(response, 422, "already_expired")
        return
    target = done(response, 201)
    assert (target["kind"], target["payload"]) == (sample["kind"], sample["payload"])
    # Names that the manifest leaves out may be read or not.
    assert target["name"] == sample.get("name", target["name"] or None)


@pytest.mark.parametrize("sample", [one for one in MANIFEST["images"] if "refuse" in one], ids=lambda one: one["file"])
async def test_a_picture_that_is_no_use_is_refused(
    api: httpx.AsyncClient, samples: Path, sample: dict[str, str]
) -> None:
    code = await make_code(api)
    response = await upload(api, code, samples / sample["file"])
    refused(response, STATUS.get(sample["refuse"], 422), sample["refuse"], "image")
    assert done(await api.get(f"/codes/{code['id']}/targets"))["items"] == []


async def test_a_printed_day_counts_to_its_end_in_the_zone_of_the_workspace(
    api: httpx.AsyncClient, samples: Path
) -> None:
    # Printed: 24 November. It ends at 16:00 UTC in Shanghai and at 23:00 UTC in Berlin; the margin is an hour.
    shanghai = done(await upload(api, await make_code(api), samples / "group_zh_3_days_left.jpg"), 201)
    assert shanghai["expires_at"] == "2026-11-24T15:00:00Z"
    done(await api.patch("/workspace", json={"time_zone": "Europe/Berlin"}))
    path = samples / "group_zh_3_days_left.jpg"
    berlin = done(await upload(api, await make_code(api), path, allow="qr_in_use"), 201)
    assert berlin["expires_at"] == "2026-11-24T22:00:00Z"


async def test_a_printed_day_never_makes_a_qr_live_longer_than_seven_days(
    api: httpx.AsyncClient, samples: Path
) -> None:
    # Printed: 28 November, seven days after the upload at 10:00 UTC.
    target = done(await upload(api, await make_code(api), samples / "group_zh.jpg"), 201)
    assert target["expires_at"] == "2026-11-28T09:00:00Z"


@pytest.mark.parametrize("days", [8, 30, 300])
async def test_a_day_that_is_not_in_the_coming_week_has_passed(
    api: httpx.AsyncClient, samples: Path, clock: Clock, days: int
) -> None:
    code = await make_code(api)
    clock.forward(days=days)
    problem = refused(await upload(api, code, samples / "group_zh.jpg"), 422, "already_expired", "image")
    assert "2026-11-28" in problem["detail"]
    ends = clock.now + timedelta(days=2)
    target = done(await upload(api, code, samples / "group_zh.jpg", expires_at=ends.isoformat()), 201)
    assert datetime.fromisoformat(target["expires_at"]) == ends


async def test_a_target_says_where_its_name_and_its_expiry_come_from(api: httpx.AsyncClient, samples: Path) -> None:
    def sources(target: dict[str, Any]) -> tuple[str | None, str | None]:
        return target["name_source"], target["expires_at_source"]

    code = await make_code(api)
    read = done(await upload(api, code, samples / "group_zh.jpg"), 201)
    assert sources(read) == ("printed", "printed")
    given = done(
        await upload(api, code, samples / "group_en.png", name="一群", expires_at="2026-11-25T10:00:00+08:00"), 201
    )
    assert sources(given) == ("given", "given")
    bare = done(await api.post(f"/codes/{code['id']}/targets", json={"payload": "https://weixin.qq.com/g/bare"}), 201)
    assert (sources(bare), bare["name"]) == (("assumed", "assumed"), "#3")
    card = {"payload": "https://u.wechat.com/MExampleExample_Example", "allow": ["other_kind"]}
    batch = {"targets": [card, {"payload": "https://weixin.qq.com/g/named", "name": "二群"}]}
    rows = done(await api.post(f"/codes/{code['id']}/targets/batch", json=batch), 201)["items"]
    assert [sources(row) for row in rows] == [("assumed", None), ("given", "assumed")]
    listed = done(await api.get(f"/codes/{code['id']}/targets"))["items"]
    assert [sources(one) for one in listed] == [sources(one) for one in (read, given, bare, *rows)]

    url = f"/targets/{read['id']}"
    edit = {"name": "三群", "expires_at": "2026-11-25T10:00:00+08:00"}
    assert sources(done(await api.patch(url, json=edit))) == ("given", "given")
    assert sources(done(await api.patch(url, json={"expires_at": None}))) == ("given", "printed")
    fresh = await api.put(f"{url}/qr", json={"payload": "https://weixin.qq.com/g/fresh"})
    assert sources(done(fresh)) == ("given", "assumed")
    image = {"image": (samples / "group_zh_3_days_left.jpg").read_bytes()}
    renewed = await api.put(
        f"{url}/qr", files=image, data={"expires_at": "2026-11-22T10:00:00+08:00", "allow": "other_group"}
    )
    assert sources(done(renewed)) == ("given", "given")
    assert sources(done(await api.get(url))) == ("given", "given")
    link = await make_code(api, kind="link")
    target = done(await api.post(f"/codes/{link['id']}/targets", json={"url": "https://shop.example/a"}), 201)
    assert (sources(target), target["name"]) == (("assumed", None), "shop.example")


async def test_what_is_said_beside_a_picture_wins_over_what_it_prints(api: httpx.AsyncClient, samples: Path) -> None:
    response = await upload(
        api, await make_code(api), samples / "group_zh_already_expired.jpg", name="老客", members="12", weight="3",
        member_limit="150", position="5", display="original", expires_at="2026-11-25T10:00:00+08:00",
    )  # fmt: skip
    target = done(response, 201)
    assert (target["name"], target["members"], target["weight"], target["position"]) == ("老客", 12, 3, 5)
    assert (target["member_limit"], target["display"]) == (150, "original")
    assert target["expires_at"] == "2026-11-25T02:00:00Z"


async def test_an_original_is_shown_only_where_there_is_one(api: httpx.AsyncClient, samples: Path) -> None:
    target = done(await upload(api, await make_code(api), samples / "group_en.png", display="original"), 201)
    url = f"/targets/{target['id']}"
    refused(await api.put(f"{url}/qr", json={"payload": "https://weixin.qq.com/g/fresh"}), 422, "no_picture", "display")
    assert done(await api.patch(url, json={"display": "drawn"}))["display"] == "drawn"
    done(await api.put(f"{url}/qr", json={"payload": "https://weixin.qq.com/g/fresh"}))
    refused(await api.patch(url, json={"display": "original"}), 422, "no_picture", "display")


async def test_a_fresh_screenshot_replaces_the_qr(api: httpx.AsyncClient, samples: Path, clock: Clock) -> None:
    target = await make_target(api, await make_code(api), name="一群")
    image = (samples / "group_zh_3_days_left.jpg").read_bytes()
    renewed = done(await api.put(f"/targets/{target['id']}/qr", files={"image": image}))
    assert (renewed["revision"], renewed["name"], renewed["expires_at"]) == (2, "一群", "2026-11-24T15:00:00Z")
    refused(await api.put(f"/targets/{target['id']}/qr", files={"image": image}), 409, "same_qr")
    clock.forward(days=4)
    refused(await api.put(f"/targets/{target['id']}/qr", files={"image": image}), 422, "already_expired")


async def test_nobody_makes_us_read_pictures_for_a_code_that_is_not_his(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient, samples: Path
) -> None:
    code = await make_code(api)
    # Were it read, it would be refused as a bomb.
    refused(await upload(stranger_api, code, samples / "bomb_30000px.png"), 404, "not_found")


@pytest.mark.parametrize(
    ("files", "data", "where"),
    [
        ([("image", b"x"), ("image", b"y")], {}, "image"),
        ([("image", b"x")], {"name": ["", ""]}, "name"),
        ([("image", b"x")], {"nom": ["", ""]}, "nom"),
        ([("picture", b"x")], {}, "picture"),
        ([("image", b"x")], {"nom": "n"}, "nom"),
        ([("image", b"x")], {"payload": "https://weixin.qq.com/g/ab"}, "payload"),
        ([("image", b"x")], {"name": ["a", "b"]}, "name"),
        ([("image", b"x")], {"members": "many"}, "members"),
        ([("image", b"x")], {"members": "-1"}, "members"),
        ([("image", b"x")], {"members": "²"}, "members"),
        ([("image", b"x")], {"members": "9" * 400}, "members"),
        ([("image", b"x")], {"expires_at": "tomorrow"}, "expires_at"),
    ],
)
async def test_a_form_is_read_as_strictly_as_json(
    api: httpx.AsyncClient, files: list[tuple[str, bytes]], data: dict[str, Any], where: str
) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    parts = [(name, ("x.png", content)) for name, content in files]
    refused(await api.post(f"/codes/{code['id']}/targets", files=parts, data=data), 422, "invalid", where)
    if where != "members":
        refused(await api.put(f"/targets/{target['id']}/qr", files=parts, data=data), 422, "invalid", where)


async def test_an_empty_field_of_a_form_is_left_out(api: httpx.AsyncClient, samples: Path) -> None:
    code = await make_code(api)
    names = ("name", "member_limit", "members", "expires_at", "weight", "position", "display", "account_id", "allow")
    made = done(await upload(api, code, samples / "group_zh.jpg", **dict.fromkeys(names, "")), 201)
    assert (made["name_source"], made["expires_at_source"], made["member_limit"]) == ("printed", "printed", 200)
    fresh = (samples / "group_zh_3_days_left.jpg").read_bytes()
    data = {"expires_at": "", "allow": "other_group"}
    renewed = done(await api.put(f"/targets/{made['id']}/qr", files={"image": fresh}, data=data))
    assert renewed["expires_at_source"] == "printed"
    # A form that names a field which does not exist is refused, also when it says nothing there.
    refused(await upload(api, code, samples / "group_en.png", nom=""), 422, "invalid", "nom")


async def test_an_empty_field_of_a_print_is_left_out(api: httpx.AsyncClient, samples: Path) -> None:
    code = await make_code(api)
    logo = {"logo": (samples / "no_code.jpg").read_bytes()}
    names = ("size", "border", "ec", "dark", "light", "caption", "format")
    plain = await api.post(f"/codes/{code['id']}/qr", files=logo)
    empty = await api.post(f"/codes/{code['id']}/qr", files=logo, data=dict.fromkeys(names, ""))
    assert (plain.status_code, empty.status_code) == (200, 200), empty.text
    assert plain.content == empty.content


async def test_a_form_without_a_picture_says_so(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    response = await api.post(f"/codes/{code['id']}/targets", files={"name": (None, "n")})
    refused(response, 422, "invalid", "image")
    response = await api.post(f"/codes/{code['id']}/targets", files={"image": (None, "n")})
    refused(response, 422, "invalid", "image")


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"{", "application/json", 400, "malformed_body"),
        (b"\xff", "application/json", 400, "malformed_body"),
        (b"[" * 100_000, "application/json", 400, "malformed_body"),
        (b"[]", "application/json", 422, "invalid"),
        (b"null", "application/json", 422, "invalid"),
        (b"x", "multipart/form-data", 400, "malformed_body"),
        (b"x", "multipart/form-data; boundary=b", 400, "malformed_body"),
        (CUT_SHORT, "multipart/form-data; boundary=b", 422, "invalid"),
    ],
)  # fmt: skip
async def test_a_body_that_is_not_what_it_says_is_refused(
    api: httpx.AsyncClient, content: bytes, media_type: str, status: int, code: str
) -> None:
    live = await make_code(api)
    target = await make_target(api, live)
    for response in (
        await api.post(f"/codes/{live['id']}/targets", content=content, headers={"Content-Type": media_type}),
        await api.put(f"/targets/{target['id']}/qr", content=content, headers={"Content-Type": media_type}),
    ):
        refused(response, status, code)


async def test_an_upload_that_is_too_large_is_refused_however_it_is_sent(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    url = f"/codes/{code['id']}/targets"
    refused(await api.post(url, files={"image": bytes(limits.UPLOAD_BYTES)}), 413, "body_too_large")
    refused(await api.post(url, files={"image": bytes(11 * 1024 * 1024)}), 413, "image_too_large", "image")


# A byte order mark, blanks without a break, joiners of no width, marks and embeddings of direction.
UNSEEN = ("\ufeff{}", "\u200b{}\u200b", "\xa0{}\u3000", "\u2060{}\u200d", "\u200e{}\u200f", "\u202a{}\u202c")


@pytest.mark.parametrize("around", UNSEEN, ids=ascii)
async def test_what_copying_leaves_unseen_around_a_text_is_taken_away(
    api: httpx.AsyncClient, workspace: Workspace, around: str
) -> None:
    slug = f"mine-{workspace.id}"
    group, link = await make_code(api), await make_code(api, kind="link", slug=around.format(slug))
    assert link["slug"] == slug
    body = {"payload": around.format("https://weixin.qq.com/g/pasted"), "name": around.format("一群")}
    target = done(await api.post(f"/codes/{group['id']}/targets", json=body), 201)
    assert (target["payload"], target["name"]) == ("https://weixin.qq.com/g/pasted", "一群")
    target = done(
        await api.post(f"/codes/{link['id']}/targets", json={"url": around.format("https://a.example/b")}), 201
    )
    assert target["payload"] == "https://a.example/b"


@pytest.mark.parametrize("path", ["/codes", "/codes/{id}/targets"])
async def test_a_body_that_cannot_be_read_says_why(api: httpx.AsyncClient, path: str) -> None:
    url = path.format(id=(await make_code(api))["id"])
    json_type = {"Content-Type": "application/json"}
    gbk = refused(
        await api.post(url, content='{"name": "春日"}'.encode("gbk"), headers=json_type), 400, "malformed_body"
    )
    assert gbk["detail"] == "The text is not UTF-8."
    cut = refused(await api.post(url, content=b'{"name": ', headers=json_type), 400, "malformed_body")
    assert cut["detail"] == "The body is not JSON."
