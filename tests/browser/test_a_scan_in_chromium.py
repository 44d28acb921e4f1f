"""Scan a live code in a real browser that says it is WeChat, against the real application."""

import httpx
import zxingcpp
from redis.asyncio import Redis

from tests.running import group_payload
from tests.scanning import Make, Process

from .conftest import LARGE_PHONE, SMALL_PHONE, WECHAT_IOS, Chromium, Serve

SCRIPT = "</title><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


async def test_a_phone_shows_a_code_that_reads_and_keeps_it(
    process: Process, code: Make, redis: Redis, chromium: Chromium, serve: Serve
) -> None:
    made = await code(200, 200)
    origin = await serve(process.app)
    async with chromium.page(SMALL_PHONE, WECHAT_IOS) as page:
        await page.go(f"{origin}/{made.slug}")
        [first] = zxingcpp.read_barcodes(await page.screenshot())
        # A browser asks for an icon once, after all else.
        asked = [url for url in page.requests if not url.endswith("/favicon.ico")]
        await page.go(f"{origin}/{made.slug}")
        [again] = zxingcpp.read_barcodes(await page.screenshot())
        assert page.complaints == []
    assert first.text == again.text == group_payload(0)
    assert len(asked) == 2, "the page and its picture: nothing else stands between a scan and its QR"
    assert await made.places(redis) == [(1, 0), (0, 0)]


async def test_a_paused_group_is_replaced_on_the_same_phone(
    process: Process, code: Make, api: httpx.AsyncClient, chromium: Chromium, serve: Serve
) -> None:
    made = await code(200, 200)
    origin = await serve(process.app)
    async with chromium.page(LARGE_PHONE, WECHAT_IOS) as page:
        await page.go(f"{origin}/{made.slug}")
        await api.patch(f"/targets/{made.targets[0]}", json={"status": "paused"})
        await page.go(f"{origin}/{made.slug}")
        [read] = zxingcpp.read_barcodes(await page.screenshot())
    assert read.text == group_payload(1)


async def test_no_text_of_a_marketer_runs_as_a_script(
    process: Process, code: Make, api: httpx.AsyncClient, chromium: Chromium, serve: Serve
) -> None:
    made = await code(200, name=SCRIPT[:100], landing={"title": SCRIPT[:60], "notice": SCRIPT})
    (await api.patch(f"/targets/{made.targets[0]}", json={"name": SCRIPT[:100]})).raise_for_status()
    origin = await serve(process.app)
    async with chromium.page(SMALL_PHONE, WECHAT_IOS) as page:
        await page.go(f"{origin}/{made.slug}")
        assert await page.evaluate("document.title") != "broken"
        assert await page.evaluate("document.images.length") == 1
        assert page.complaints == []
