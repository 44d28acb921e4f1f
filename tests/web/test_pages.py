"""The landing pages as bytes: small, escaped, in two languages, and under a policy that names their own script."""

import re
import timeit
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import limits
from app.domain.code import CodeKind
from app.domain.openings import Shortage
from app.domain.payload import TargetKind
from app.web import pages
from app.web.pages import Language
from app.web.rendering import WORDS

from .reader import CONTACT, LONG_WORDS, MENU, SIZE_LIMIT, TAP, USUAL, Reader

PLACES: tuple[pages.Place, ...] = ("phone", "computer", "outside")


def pages_with_a_picture(
    language: Language, text: str = "夏日读书会", url: str = "https://huoma.example/k7m2xqd"
) -> list[bytes]:
    """Write every page that shows a QR, with one text wherever a marketer may type."""
    named: Any = {"code_name": text, "title": text, "language": language}
    return [
        *(
            pages.qr_page(
                **named, notice=text, target_name=text[:100], kind=kind, image_url="/k7m2xqd/x.png", place=place
            )
            for kind in TargetKind
            for place in PLACES
        ),
        *(
            pages.static_page(**named, message=message, kind=kind, image_url="/k7m2xqd/x.png", place=place)
            for kind in (*TargetKind, None)
            for message in (text, None)
            for place in PLACES
        ),
        *(
            pages.outside_wechat_page(**named, url=url, image_url="/k7m2xqd/print.png", desktop=desktop)
            for desktop in (False, True)
        ),
    ]


def other_pages(
    language: Language, text: str = "夏日读书会", url: str = "https://huoma.example/k7m2xqd"
) -> list[bytes]:
    """Write every page without a QR, with one text wherever a marketer may type, and one URL wherever there is one."""
    named: Any = {"code_name": text, "title": text, "language": language}
    return [
        pages.menu_page(**named, notice=text, options=[(text[:100], text[:100], "/k7m2xqd/1")]),
        pages.menu_page(**named, notice=None, options=[(text[:100], None, "/k7m2xqd/1")]),
        *(pages.tap_page(**named, notice=text, url=url, desktop=desktop) for desktop in (False, True)),
        *(
            pages.shortage_page(**named, why=why, kind=kind, notice=text, when=when)
            for why in Shortage
            for kind in CodeKind
            for when in ("", "12:00 ")
        ),
        pages.home_page(language=language),
        pages.preview_page(**named),
        pages.limited_page(seconds=5, language=language),
        pages.unavailable_page(seconds=5, language=language),
        pages.unknown_page(language=language),
        pages.closed_page(language=language),
        pages.disabled_page(**named),
        pages.not_open_page(**named, opens_at="2026-12-01 10:00"),
        pages.ended_page(**named),
    ]


def every_page(language: Language, text: str = "夏日读书会", url: str = "https://huoma.example/k7m2xqd") -> list[bytes]:
    return [*pages_with_a_picture(language, text, url), *other_pages(language, text, url)]


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("word", LONG_WORDS, ids=ascii)
def test_every_page_is_small_with_the_longest_texts(word: str, language: Language) -> None:
    text = (word * limits.NOTICE_LENGTH)[: limits.NOTICE_LENGTH]

    sizes = [len(page) for page in every_page(language, text)]

    assert max(sizes) < SIZE_LIMIT


@pytest.mark.parametrize("field", ["code_name", "title", "notice", "target_name", "image_url"])
@given(text=st.text(st.sampled_from("<>\"'&/=!-{}%#\\\n ") | st.characters(codec="utf-8", exclude_characters="\r\0")))
def test_nothing_typed_becomes_markup(field: str, text: str) -> None:
    attack = f"x{text}</title></h1><script>alert(1)</script><img src=x onerror='alert(1)'>\"><hole>'x"
    quiet = Reader(pages.qr_page(**USUAL | {"title": None}))

    page = Reader(pages.qr_page(**USUAL | {"title": None} | {field: attack}))

    assert [tag for tag, _ in page.elements] == [tag for tag, _ in quiet.elements]
    assert [sorted(attributes) for _, attributes in page.elements] == [
        sorted(attributes) for _, attributes in quiet.elements
    ]
    if field == "image_url":
        assert page.all("img")[0]["src"] == attack
    else:
        # Blank lines of a notice are gathered, so blanks are left out of the comparison.
        assert "".join(attack.split()) in "".join(page.text.split())


@given(text=st.text(max_size=limits.NOTICE_LENGTH))
def test_no_text_breaks_a_page(text: str) -> None:
    page = pages.qr_page(**USUAL | dict.fromkeys(("code_name", "title", "notice", "target_name"), text))

    assert page.endswith(b"</html>")
    assert len(Reader(page).all("img")) == 1


def test_half_a_surrogate_pair_is_no_dead_end() -> None:
    page = pages.qr_page(**USUAL | dict.fromkeys(("title", "notice", "target_name"), "a\ud83db"))

    assert page.count(b"a?b") == 4


@pytest.mark.parametrize("language", Language)
def test_the_policy_names_the_very_style_and_script_of_every_page(language: Language) -> None:
    policy = dict(pages.HEADERS)[b"content-security-policy"].decode()

    for page in every_page(language):
        for tag in ("style", "script"):
            (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), page, re.DOTALL)
            source = f"'sha256-{b64encode(sha256(inline).digest()).decode()}'"
            assert source in policy.partition(f"{tag}-src ")[2].partition(";")[0].split()

    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; img-src 'self'; ")
    assert policy.endswith("base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


@pytest.mark.parametrize("language", Language)
def test_no_page_names_another_host_or_holds_what_the_policy_would_stop(language: Language) -> None:
    for page in map(Reader, every_page(language, url="")):
        assert "//" not in "".join(page.texts)
        for tag, attributes in page.elements:
            assert tag not in {"link", "iframe", "object", "form", "canvas"}
            assert "style" not in attributes
            assert not any(name.startswith("on") for name in attributes)
            assert not any("//" in (value or "") for value in attributes.values())


@pytest.mark.parametrize("language", Language)
def test_a_page_has_one_picture_only_where_there_is_a_code_to_show(language: Language) -> None:
    for page in map(Reader, pages_with_a_picture(language)):
        (image,) = page.all("img")
        assert int(image["width"] or 0) == int(image["height"] or 0) >= 240
        assert image["alt"]
        assert {"href": ""} in page.all("a") or image["src"] == "/k7m2xqd/print.png"
    assert all(Reader(page).all("img") == [] for page in other_pages(language))


@pytest.mark.parametrize("language", Language)
def test_every_page_says_its_language_and_has_one_heading(language: Language) -> None:
    spoken = {Language.ZH: "zh-CN", Language.EN: "en"}[language]

    for page in map(Reader, every_page(language, "title")):
        assert page.all("html") == [{"lang": spoken}]
        assert {"name": "robots", "content": "noindex"} in page.all("meta")
        assert len(page.all("h1")) == len(page.all("title")) == len(page.all("main")) == 1
        assert re.search("[一-鿿]", page.text) is None or language is Language.ZH


def test_the_headers_forbid_every_kind_of_keeping() -> None:
    headers = dict(pages.HEADERS)

    assert headers[b"cache-control"] == b"no-store, no-cache, must-revalidate, max-age=0"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert all(name == name.lower() for name in headers)


def test_the_pages_of_two_languages_say_the_same_things() -> None:
    assert WORDS[Language.ZH].keys() == WORDS[Language.EN].keys()


@pytest.mark.parametrize(
    ("kind", "call", "not_call"),
    [
        (TargetKind.WECHAT_GROUP, "长按识别二维码，加入群聊", "添加"),
        (TargetKind.WECOM_GROUP, "长按识别二维码，加入群聊", "添加"),
        (TargetKind.WECHAT_PERSONAL, "长按识别二维码，添加好友", "群聊"),
        (TargetKind.WECOM_CONTACT, "长按识别二维码，添加好友", "群聊"),
        (TargetKind.WECOM_ACQUISITION, "长按识别二维码，添加好友", "群聊"),
    ],
)
def test_the_call_fits_what_is_behind_the_code(kind: TargetKind, call: str, not_call: str) -> None:
    text = Reader(pages.qr_page(**USUAL | {"kind": kind})).text

    assert call in text
    assert not_call not in text


@pytest.mark.parametrize("language", Language)
def test_a_computer_is_never_told_to_press_and_hold(language: Language) -> None:
    phone = pages.qr_page(**USUAL | {"language": language}).decode()
    computer = pages.qr_page(**USUAL | {"language": language, "place": "computer"}).decode()

    assert re.search("长按|ress and hold", phone)
    assert re.search("长按|ress and hold", computer) is None
    assert re.search("手机|phone", computer)


def test_two_visitors_of_one_code_each_get_their_own_target_and_picture() -> None:
    first = Reader(pages.qr_page(**USUAL | {"target_name": "一群", "image_url": "/a/1.png"}))
    second = Reader(pages.qr_page(**USUAL | {"target_name": "二群", "image_url": "/a/2.png"}))

    assert (first.all("img")[0]["src"], second.all("img")[0]["src"]) == ("/a/1.png", "/a/2.png")
    assert "一群" in first.text
    assert "一群" not in second.text


def test_a_code_without_a_title_shows_its_name() -> None:
    assert '<h1 class="clamp" dir="auto">Poster 12</h1>' in pages.qr_page(**USUAL | {"title": " "}).decode()


@pytest.mark.parametrize("seconds", [-1, 0, 1, 90])
def test_pages_that_wait_come_back_by_themselves_and_never_at_once(seconds: int) -> None:
    for page in (
        pages.limited_page(seconds=seconds, language=Language.EN),
        pages.unavailable_page(seconds=seconds, language=Language.EN),
    ):
        assert {"http-equiv": "refresh", "content": str(max(1, seconds))} in Reader(page).all("meta")


def test_no_other_page_comes_back_by_itself() -> None:
    waiting = [page for page in every_page(Language.ZH) if b"refresh" in page]

    assert len(waiting) == 2


def test_a_preview_tells_the_title_and_shows_no_way_in() -> None:
    page = Reader(pages.preview_page(code_name="c", title="A <b> & 'c'", language=Language.EN))

    assert {"property": "og:title", "content": "A <b> & 'c'"} in page.all("meta")
    assert page.all("img") == page.all("a") == []


def test_a_person_outside_wechat_can_copy_the_link_but_not_follow_it() -> None:
    url = "https://huoma.example/k7m2xqd?a=1&b=<script>"

    page = Reader(
        pages.outside_wechat_page(
            code_name="c", title=None, url=url, image_url="/k7m2xqd/print.png", language=Language.ZH, desktop=False
        )
    )

    assert url in page.texts
    assert page.all("a") == []
    (button,) = page.all("button")
    assert "hidden" in button, "without a script there is nothing to press"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", Language.ZH),
        ("*", Language.ZH),
        ("fr-FR,fr;q=0.9", Language.EN),
        ("fr-FR, *;q=0.5", Language.EN),
        ("ja, zh;q=0.1", Language.ZH),
        ("ja, zh;q=0", Language.EN),
        ("ja;q=0", Language.ZH),
        ("zh-CN,zh;q=0.9,en;q=0.8", Language.ZH),
        ("zh-Hant-TW", Language.ZH),
        ("en", Language.EN),
        ("EN-us", Language.EN),
        ("en-US,en;q=0.9,zh;q=0.95", Language.EN),
        ("zh;q=0.8 , en;q=0.9", Language.EN),
        ("en;q=0.8,zh;q=0.8", Language.EN),
        ("zh;q=0.8,en;q=0.8", Language.ZH),
        ("fr, en ; q=0.1", Language.EN),
        ("en;q=0", Language.ZH),
        ("zh;q=0,*", Language.EN),
        ("en;q=0.5,*", Language.EN),
        ("english;q=1", Language.EN),
        ("en;q=2,zh;q=0.1", Language.ZH),
        ("en;q=nan", Language.ZH),
        ("en" + "," * 100_000, Language.EN),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_language_is_the_one_liked_best(header: str, language: Language) -> None:
    assert pages.read_language(header) is language


@given(st.text())
def test_no_header_breaks_the_choice_of_a_language(header: str) -> None:
    assert pages.read_language(header) in Language


@pytest.mark.parametrize(
    ("write", "usual"),
    [(pages.qr_page, USUAL), (pages.static_page, CONTACT), (pages.tap_page, TAP), (pages.menu_page, MENU)],
    ids=["qr", "static", "tap", "menu"],
)
def test_a_page_for_one_more_visitor_costs_microseconds(write: Callable[..., bytes], usual: dict[str, Any]) -> None:
    write(**usual)

    seconds = min(timeit.repeat(lambda: write(**usual), number=1_000, repeat=7)) / 1_000

    assert seconds < 60e-6
