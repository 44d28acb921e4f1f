"""Uploaded pictures on the page of a visitor: the code is large, and the call is seen without scrolling."""

from typing import Final

import httpx
import pytest
import zxingcpp

from tests.qr.cards import ZH, Look, card, phone, photo, poster, saved
from tests.scanning import Process

from .conftest import SMALL_PHONE, WECHAT_IOS, Chromium, Serve, Size

CARD: Final = card(
    "山野徒步同好会", ZH.format(month=11, day=28), Look(layout="beside", prefix="", avatar=0.22, width=1.3)
)
OVER: Final = card("老城区周末手作市集摊主互助交流群", ZH.format(month=11, day=28), Look(title=0.08))
UPLOADS: Final = {
    "screen": saved(phone(CARD, title="群二维码名片", buttons=("保存到手机",))),
    "two lines": saved(phone(OVER, title="群二维码名片")),
    "photo": photo(CARD, 12),
    "poster": saved(poster(OVER, "春日市集", "地址：桥西路 12 号"), "JPEG", quality=85),
}


@pytest.mark.parametrize("size", [SMALL_PHONE, (390, 844)], ids=["320x568", "390x844"])
@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
async def test_an_original_shows_its_code_large_and_the_call_below_it(
    process: Process, api: httpx.AsyncClient, chromium: Chromium, serve: Serve, upload: bytes, size: Size
) -> None:
    code = (await api.post("/codes", json={"name": "周末市集", "kind": "group"})).raise_for_status().json()
    path = f"/codes/{code['id']}/targets"
    (await api.post(path, files={"image": upload}, data={"display": "original"})).raise_for_status()
    origin = await serve(process.app)

    async with chromium.page(size, WECHAT_IOS) as page:
        await page.go(f"{origin}/{code['slug']}")
        screen = await page.screenshot()
        call_ends = await page.evaluate("document.querySelector('.call').getBoundingClientRect().bottom")

    [read] = zxingcpp.read_barcodes(screen, try_invert=False)
    scale = screen.width / size[0]
    assert (read.position.top_right.x - read.position.top_left.x) / scale >= 200
    assert call_ends <= size[1]
