"""The pages at the largest type of WeChat: nothing is cut, no word and no date breaks, and the button copies."""

from typing import Any, Final

import pytest

from app.domain.code import CodeKind
from app.domain.openings import Shortage
from app.domain.payload import TargetKind
from app.web import pages
from app.web.pages import Language

from .conftest import Chromium, Serve, Size
from .test_pages_in_chromium import picture, site, tap

SAFARI: Final = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"
URL: Final = "https://qr.example.com/k7m2xqd"
# WeChat of iOS sets the first, WeChat of Android multiplies every size of type as the second does.
ADJUSTED: Final = "void (document.documentElement.style.webkitTextSizeAdjust = '160%')"
MULTIPLIED: Final = """(() => {
    const all = [...document.querySelectorAll('body, body *')];
    const sizes = all.map(one => [one, parseFloat(getComputedStyle(one).fontSize)]);
    for (const [one, size] of sizes) one.style.fontSize = size * 1.6 + 'px';
})()"""
# What is wrong with a page: scrolls sideways, a number of a step that is cut, a word or a date over two lines.
FAULTS: Final = """(() => {
    const faults = [];
    if (document.documentElement.scrollWidth > innerWidth) faults.push('sideways');
    for (const step of document.querySelectorAll('.steps li')) {
        const number = getComputedStyle(step, '::before');
        if (parseFloat(number.height) < 1.2 * parseFloat(number.fontSize)) faults.push('a number is cut');
        if (parseFloat(number.width) < 0.5 * parseFloat(number.fontSize)) faults.push('a number is cut');
    }
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
    while (texts.nextNode()) {
        const node = texts.currentNode;
        if (node.parentElement.closest('.link, .clamp')) continue;
        const whole = node.parentElement.closest('.steps, time') ? /[^\\s，]+/g : /[A-Za-z0-9'-]+/g;
        for (const word of node.data.matchAll(whole)) {
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) faults.push(word[0]);
        }
    }
    return faults;
})()"""


def written(language: Language) -> dict[str, bytes]:
    named: dict[str, Any] = {"code_name": "c", "title": "夏日读书会", "language": language}
    zone = " (Asia/Shanghai)" if language is Language.EN else ""
    usual: dict[str, Any] = {**named, "notice": None, "target_name": "3 群", "image_url": "/code.png"}
    return {
        "group": pages.qr_page(**usual, kind=TargetKind.WECHAT_GROUP, place="phone"),
        "contact": pages.qr_page(**usual, kind=TargetKind.WECOM_CONTACT, place="phone"),
        "elsewhere": pages.qr_page(**usual, kind=TargetKind.WECOM_CONTACT, place="outside"),
        "outside": pages.outside_wechat_page(**named, url=URL, image_url="/code.png", desktop=False),
        "early": pages.not_open_page(**named, opens_at=f"2026-12-12 10:00{zone}"),
        "off": pages.shortage_page(**named, why=Shortage.OFF_SHIFT, kind=CodeKind.STAFF, when=f"12-12 09:00{zone}"),
        "home": pages.home_page(language=language),
    }


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("size", [(320, 568), (390, 844)], ids=str)
@pytest.mark.parametrize("enlarge", [ADJUSTED, MULTIPLIED], ids=["ios", "android"])
async def test_nothing_is_cut_and_nothing_breaks_in_its_middle(
    chromium: Chromium, serve: Serve, language: Language, size: Size, enlarge: str
) -> None:
    found = {}
    for name, body in written(language).items():
        origin = await serve(site(body, language, picture()))
        async with chromium.page(size) as page:
            await page.go(origin)
            await page.evaluate(enlarge)
            found[name] = await page.evaluate(FAULTS)
    assert found == {name: [] for name in found}


async def test_the_address_is_copied_by_a_button_that_is_there_only_with_a_script(
    chromium: Chromium, serve: Serve
) -> None:
    origin = await serve(site(written(Language.ZH)["outside"], image=picture()))
    async with chromium.page(user_agent=SAFARI) as page:
        await page.go(origin)
        # As where the clipboard may not be written: the page then selects the address and copies the selection.
        await page.evaluate("void Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        await page.evaluate("void addEventListener('copy', () => { window.heard = getSelection().toString() })")
        await tap(page, "button")
        told = await page.evaluate("[window.heard, document.querySelector('button').textContent]")
        complaints = page.complaints
    assert told == [URL, "已复制"]
    assert complaints == []

    async with chromium.page(user_agent=SAFARI, scripts=False) as page:
        await page.go(origin)
        shown = await page.evaluate("getComputedStyle(document.querySelector('button')).display")
        selectable = await page.evaluate("getComputedStyle(document.querySelector('.link')).userSelect")
    assert (shown, selectable) == ("none", "all")
