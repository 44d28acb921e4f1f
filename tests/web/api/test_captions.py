"""Captions below the prints of codes, channels and options, with and without a logo."""

from io import BytesIO
from pathlib import Path

import httpx
import pytest
import zxingcpp
from PIL import Image

from app.embedded import Servers
from app.main import Web
from app.settings import Settings
from tests.conftest import PUBLIC_URL, Clock
from tests.qr.fonts import chinese, latin
from tests.web.api.steps import done, make_code, refused

CONTROLS = ["a\nb", "a\tb", "a\x00b", "a\u202eb", "\u2066a\u2069b", "a\u2028b", "\u200b"]


@pytest.fixture
async def prints(api: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Make a code, a channel and an option; return the path of each print without its form, and the URL in it."""
    code, menu = await make_code(api, name="春日"), await make_code(api, kind="menu", name="菜单")
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报"}), 201)
    said = {"options": [{"label": "华东", "code_id": code["id"]}]}
    (option,) = done(await api.put(f"/codes/{menu['id']}/options", json=said))["options"]
    return [
        (f"/codes/{code['id']}/qr", code["url"]),
        (f"/codes/{code['id']}/channels/1/qr", channel["url"]),
        (f"/codes/{menu['id']}/options/1/qr", option["url"]),
    ]


@pytest.fixture
def logo(samples: Path) -> dict[str, bytes]:
    return {"logo": (samples / "no_code.jpg").read_bytes()}


async def test_every_png_takes_a_caption(
    api: httpx.AsyncClient, prints: list[tuple[str, str]], logo: dict[str, bytes]
) -> None:
    for path, url in prints:
        plain = await api.get(f"{path}.png?size=500")
        for drawn in (
            await api.get(f"{path}.png", params={"caption": "Scan me", "size": 500}),
            await api.post(path, files=logo, data={"caption": "Scan me", "size": "500"}),
        ):
            image = Image.open(BytesIO(drawn.content))
            assert image.width == 500 < image.height
            assert [code.text for code in zxingcpp.read_barcodes(image.convert("L"))] == [url]
            assert drawn.headers["content-disposition"] == plain.headers["content-disposition"]
            assert drawn.headers["etag"] != plain.headers["etag"]


async def test_every_svg_takes_a_caption(
    api: httpx.AsyncClient, prints: list[tuple[str, str]], logo: dict[str, bytes]
) -> None:
    for path, _ in prints:
        plain = await api.get(f"{path}.svg")
        for drawn in (
            await api.get(f"{path}.svg", params={"caption": "扫码 <进> 群"}),
            await api.post(path, files=logo, data={"caption": "扫码 <进> 群", "format": "svg"}),
        ):
            assert ">扫码 &lt;进&gt; 群</text>".encode() in drawn.content
            for header in ("content-type", "content-security-policy", "content-disposition"):
                assert drawn.headers[header] == plain.headers[header]


async def test_a_caption_is_trimmed_and_an_empty_one_is_none(
    api: httpx.AsyncClient, prints: list[tuple[str, str]]
) -> None:
    for path, _ in prints:
        for form in ("png", "svg"):
            plain = (await api.get(f"{path}.{form}")).content
            for nothing in ("", "  ", "\u3000"):
                assert (await api.get(f"{path}.{form}", params={"caption": nothing})).content == plain
            captioned = [
                (await api.get(f"{path}.{form}", params={"caption": caption})).content
                for caption in ("Spring in May", "\ufeff Spring  in May\u200b ")
            ]
            assert captioned[0] == captioned[1] != plain


async def test_an_accent_becomes_part_of_its_letter(api: httpx.AsyncClient, prints: list[tuple[str, str]]) -> None:
    drawn = await api.get(f"{prints[0][0]}.svg", params={"caption": "Cafe\u0301"})
    assert ">Café</text>".encode() in drawn.content


@pytest.mark.parametrize("caption", [*CONTROLS, "a" * 41, "群" * 41], ids=ascii)
async def test_a_caption_that_is_no_line_of_text_is_refused(
    api: httpx.AsyncClient, prints: list[tuple[str, str]], logo: dict[str, bytes], caption: str
) -> None:
    for path, _ in prints:
        for form in ("png", "svg"):
            refused(await api.get(f"{path}.{form}", params={"caption": caption}), 422, "invalid", "caption")
        refused(await api.post(path, files=logo, data={"caption": caption}), 422, "invalid", "caption")


@pytest.mark.parametrize("caption", ["群" * 40, "W" * 40, "a\ufffeb", "a\ue000b"], ids=ascii)
async def test_a_caption_that_cannot_be_set_is_refused(
    api: httpx.AsyncClient, prints: list[tuple[str, str]], logo: dict[str, bytes], caption: str
) -> None:
    for path, _ in prints:
        for form in ("png", "svg"):
            refused(await api.get(f"{path}.{form}", params={"caption": caption}), 422, "bad_style", "caption")
        refused(await api.post(path, files=logo, data={"caption": caption}), 422, "bad_style", "caption")


async def test_a_chinese_caption_is_drawn_where_the_server_has_a_font(
    api: httpx.AsyncClient, prints: list[tuple[str, str]], logo: dict[str, bytes]
) -> None:
    chinese()
    for path, url in prints:
        for drawn in (
            await api.get(f"{path}.png", params={"caption": "扫码进群"}),
            await api.post(path, files=logo, data={"caption": "扫码进群"}),
        ):
            assert [code.text for code in zxingcpp.read_barcodes(Image.open(BytesIO(drawn.content)))] == [url]


async def test_a_server_whose_font_lacks_letters_says_what_to_do(
    api: httpx.AsyncClient,
    servers: Servers,
    clock: Clock,
    prints: list[tuple[str, str]],
    logo: dict[str, bytes],
    tmp_path: Path,
) -> None:
    font = str(latin(tmp_path))
    settings = Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        secret="a secret for tests only",
        public_url=PUBLIC_URL,
        caption_font=font,
    )
    web = Web(settings, clock=clock)
    transport = httpx.ASGITransport(web)
    async with httpx.AsyncClient(transport=transport, base_url=f"{PUBLIC_URL}/api/v1", headers=api.headers) as without:
        for path, _ in prints:
            for answer in (
                await without.get(f"{path}.png", params={"caption": "Scan 扫码"}),
                await without.post(path, files=logo, data={"caption": "Scan 扫码"}),
            ):
                problem = refused(answer, 422, "no_font", "caption")
                assert "扫 码" in problem["detail"]
                assert "HUOMA_CAPTION_FONT" in problem["detail"]
            assert (await without.get(f"{path}.svg", params={"caption": "Scan 扫码"})).status_code == 200
            assert (await without.get(f"{path}.png", params={"caption": "Scan"})).status_code == 200
    await web.close()
