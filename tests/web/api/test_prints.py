"""The print: a QR of the code's URL that nothing ever changes."""

from io import BytesIO
from pathlib import Path

import httpx
import pytest
import zxingcpp
from PIL import Image

from tests.web.api.steps import done, make_code, make_target, refused


def read(png: bytes) -> str:
    (found,) = zxingcpp.read_barcodes(Image.open(BytesIO(png)))
    return found.text


async def test_a_print_leads_to_the_url_of_its_code(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    response = await api.get(f"/codes/{code['id']}/qr.png?size=600")
    assert response.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(response.content)).size == (600, 600)
    assert read(response.content) == code["url"]


async def test_no_edit_changes_a_byte_of_the_print(api: httpx.AsyncClient) -> None:
    """Trap 18: no edit changes what is printed."""
    code = await make_code(api)
    before = [(await api.get(f"/codes/{code['id']}/{form}")).content for form in ("qr.svg", "qr.png")]
    target = await make_target(api, code)
    done(await api.patch(f"/codes/{code['id']}", json={"name": "anders", "strategy": "random", "wechat_only": True}))
    done(await api.patch(f"/targets/{target['id']}", json={"status": "paused"}))
    assert [(await api.get(f"/codes/{code['id']}/{form}")).content for form in ("qr.svg", "qr.png")] == before
    assert before[0].startswith(b"<svg ")


async def test_a_print_need_not_be_sent_twice(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    for form in ("qr.svg", "qr.png"):
        first = await api.get(f"/codes/{code['id']}/{form}")
        assert first.headers["cache-control"] == "private, max-age=86400"
        for tag in (first.headers["etag"], f'"x", W/{first.headers["etag"]}'):
            again = await api.get(f"/codes/{code['id']}/{form}", headers={"If-None-Match": tag})
            assert (again.status_code, again.content) == (304, b"")
        other = await api.get(f"/codes/{code['id']}/{form}?dark=000080", headers={"If-None-Match": tag})
        assert other.status_code == 200


async def test_colours_may_be_given_with_and_without_their_hash(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    one = await api.get(f"/codes/{code['id']}/qr.svg?dark=1a2b3c&light=ffeedd")
    other = await api.get(f"/codes/{code['id']}/qr.svg", params={"dark": "#1a2b3c", "light": "#ffeedd"})
    assert one.content == other.content
    assert b"#1a2b3c" in one.content


@pytest.mark.parametrize(
    ("query", "code", "where"),
    [
        ("size=199", "bad_style", "size"),
        ("size=4097", "bad_style", "size"),
        ("size=x", "invalid", "size"),
        ("border=17", "bad_style", "border"),
        ("ec=X", "bad_style", "ec"),
        ("dark=red", "bad_style", "dark"),
        ("dark=%22/%3E%3Cscript%3E", "bad_style", "dark"),
        ("light=000000", "unreadable_style", "dark"),
        ("dark=ffffff&light=000000", "unreadable_style", "dark"),
    ],
)
async def test_a_style_that_cannot_be_read_is_refused(
    api: httpx.AsyncClient, query: str, code: str, where: str
) -> None:
    live = await make_code(api)
    for form in ("qr.png", "qr.svg"):
        refused(await api.get(f"/codes/{live['id']}/{form}?{query}"), 422, code, where)


async def test_a_logo_stands_in_the_middle_and_the_print_is_still_read(api: httpx.AsyncClient, samples: Path) -> None:
    code = await make_code(api)
    logo = {"logo": (samples / "no_code.jpg").read_bytes()}
    drawn = await api.post(f"/codes/{code['id']}/qr", files=logo, data={"size": "800", "dark": "#222222"})
    assert drawn.headers["content-type"] == "image/png"
    assert read(drawn.content) == code["url"]
    svg = await api.post(f"/codes/{code['id']}/qr", files=logo, data={"format": "svg"})
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert b"data:image/png;base64," in svg.content


async def test_a_logo_that_is_no_picture_is_refused(api: httpx.AsyncClient, samples: Path) -> None:
    url = f"/codes/{(await make_code(api))['id']}/qr"
    refused(await api.post(url, files={"logo": (samples / "script.svg").read_bytes()}), 422, "bad_style", "logo")
    refused(await api.post(url, files={"other": b"x"}), 422, "invalid", "other")
    picture = {"logo": (samples / "no_code.jpg").read_bytes()}
    refused(await api.post(url, files=picture, data={"format": "gif"}), 422, "invalid", "format")


async def test_channels_and_options_are_printed_with_a_logo(api: httpx.AsyncClient, samples: Path) -> None:
    code, menu = await make_code(api), await make_code(api, kind="menu", name="菜单")
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报"}), 201)
    said = {"options": [{"label": "华东", "code_id": code["id"]}]}
    (option,) = done(await api.put(f"/codes/{menu['id']}/options", json=said))["options"]
    logo = {"logo": (samples / "no_code.jpg").read_bytes()}
    for path, url in (
        (f"/codes/{code['id']}/channels/1/qr", channel["url"]),
        (f"/codes/{menu['id']}/options/1/qr", option["url"]),
    ):
        drawn = await api.post(path, files=logo)
        assert read(drawn.content) == url
        assert b"data:image/png" in (await api.post(path, files=logo, data={"format": "svg"})).content
        refused(await api.post(path.replace("/1/", "/9/"), files=logo), 404, "not_found")
        refused(await api.post(path, files=logo, data={"channel": "1"}), 422, "invalid", "channel")


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("春日 群", "%E6%98%A5%E6%97%A5%20%E7%BE%A4"),
        ("Spring-26", "Spring-26"),
        ("../../etc/passwd", "etc%20passwd"),
        ('a"; filename="b', "a%20%3B%20filename%3D%20b"),
        ("...", None),
    ],
)
async def test_a_print_has_a_file_name(api: httpx.AsyncClient, name: str, encoded: str | None) -> None:
    code = await make_code(api, name=name)
    for form in ("png", "svg"):
        told = (await api.get(f"/codes/{code['id']}/qr.{form}")).headers["content-disposition"]
        whole = f"{encoded or code['slug']}.{form}"
        assert told == f"inline; filename=\"{code['slug']}.{form}\"; filename*=UTF-8''{whole}"


async def test_prints_of_channels_and_options_have_plain_names_of_their_own(api: httpx.AsyncClient) -> None:
    code = await make_code(api, name="春日群")
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报"}), 201)
    menu = await make_code(api, name="城市", kind="menu")
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": [{"label": "上海", "code_id": code["id"]}]}))
    for path, plain in (
        (f"/codes/{code['id']}/channels/1/qr.png", channel["url"].rpartition("/")[2]),
        (f"/codes/{menu['id']}/options/1/qr.png", f"{menu['slug']}-1"),
    ):
        told = (await api.get(path)).headers["content-disposition"]
        assert told.startswith(f'inline; filename="{plain}.png"; ')
