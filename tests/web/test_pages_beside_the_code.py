"""The pages beside the usual code as bytes: menus, mini programs, what stands in, and codes that are not open."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import limits
from app.domain.payload import TargetKind
from app.web import pages
from app.web.pages import Language

from .reader import CONTACT, LONG_WORDS, MENU, NAMED, SIZE_LIMIT, TAP, Reader


@pytest.mark.parametrize(
    ("options", "notice"),
    [
        ([("去" * 100, "来" * 100)] * 8, None),
        ([("去" * 100, None)] * 8, "看" * limits.NOTICE_LENGTH),
        ([("去" * 12, None)] * limits.OPTIONS_PER_MENU, None),
    ],
    ids=["longest-words", "longest-notice", "most-options"],
)
def test_a_menu_as_people_make_it_is_small(options: list[tuple[str, str | None]], notice: str | None) -> None:
    links = [(label, hint, f"/{'k' * limits.SLUG_MAX}/{i}") for i, (label, hint) in enumerate(options)]

    assert len(pages.menu_page(**MENU | {"notice": notice, "options": links})) < SIZE_LIMIT


@pytest.mark.parametrize("word", LONG_WORDS, ids=ascii)
def test_the_longest_menu_is_what_was_typed_and_little_more(word: str) -> None:
    text = (word * limits.NAME_LENGTH)[: limits.NAME_LENGTH]
    path = f"/{'k' * limits.SLUG_MAX}/{limits.OPTION_NUMBER_MAX}"

    page = pages.menu_page(
        code_name=text,
        title=text,
        notice=(word * limits.NOTICE_LENGTH)[: limits.NOTICE_LENGTH],
        options=[(text, text, path)] * limits.OPTIONS_PER_MENU,
        language=Language.EN,
    )

    # Nearly all of it are the five bytes of each quote that was typed.
    assert len(page) < 67_000


@pytest.mark.parametrize(
    ("write", "usual", "field"),
    [
        *((pages.static_page, CONTACT, field) for field in ("code_name", "title", "message", "image_url")),
        *((pages.menu_page, MENU, field) for field in ("code_name", "title", "notice", "label", "hint", "path")),
        *((pages.tap_page, TAP, field) for field in ("code_name", "title", "notice", "url")),
        *((pages.tap_page, TAP | {"desktop": True}, field) for field in ("code_name", "title", "notice", "url")),
        *((pages.disabled_page, NAMED, field) for field in ("code_name", "title")),
        *((pages.not_open_page, NAMED | {"opens_at": "x"}, field) for field in ("code_name", "title", "opens_at")),
        *((pages.ended_page, NAMED, field) for field in ("code_name", "title")),
    ],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else ""),
)
@given(text=st.text(st.sampled_from("<>\"'&/=!-{}%#\\\n ") | st.characters(codec="utf-8", exclude_characters="\r\0")))
def test_nothing_typed_becomes_markup_on_any_other_page(
    write: Callable[..., bytes], usual: dict[str, Any], field: str, text: str
) -> None:
    attack = f'x{text}</a></b></p></summary></title><script>alert(1)</script>\' onclick=\'alert(1)" onfocus="x"><hole>x'

    def with_text(typed: str) -> Reader:
        changes: dict[str, Any] = {"title": None} if field == "code_name" else {}
        if field in {"label", "hint", "path"}:
            option = {"label": "上海", "hint": "静安", "path": "/spring26/1"} | {field: typed}
            changes["options"] = [tuple(option.values())]
        else:
            changes[field] = typed
        return Reader(write(**usual | changes))

    # As long and as wide, so that a long text folds here as there.
    quiet = with_text(re.sub("[<>\"'&]", "x", attack))
    page = with_text(attack)

    assert [(tag, sorted(names)) for tag, names in page.elements] == [
        (tag, sorted(names)) for tag, names in quiet.elements
    ]
    if field in {"path", "url", "image_url"}:
        assert attack in [value for _, attributes in page.elements for value in attributes.values()]
    else:
        assert "".join(attack.split()) in "".join(page.text.split())


@pytest.mark.parametrize(
    ("kind", "words", "not_words"),
    [
        (TargetKind.WECHAT_GROUP, ["请加入下面的群", "长按识别二维码，加入群聊"], "添加|链接"),
        (TargetKind.WECOM_GROUP, ["请加入下面的群", "长按识别二维码，加入群聊"], "添加|链接"),
        (TargetKind.WECHAT_PERSONAL, ["请添加下面的联系人", "长按识别二维码，添加好友"], "群|链接"),
        (TargetKind.WECOM_CONTACT, ["请添加下面的联系人", "长按识别二维码，添加好友"], "群|链接"),
        (TargetKind.WECOM_ACQUISITION, ["请添加下面的联系人", "长按识别二维码，添加好友"], "群|链接"),
        (TargetKind.LINK, ["请打开下面的链接", "长按识别二维码，打开链接"], "群|添加"),
        (None, ["请识别下面的二维码", "长按识别二维码"], "群|添加|链接"),
    ],
)
def test_what_stands_in_says_why_and_what_to_do(kind: TargetKind | None, words: list[str], not_words: str) -> None:
    text = Reader(pages.static_page(**CONTACT | {"kind": kind, "message": " \n "})).text

    assert all(word in text for word in ["名额暂时满了", *words])
    assert re.search(not_words, text) is None


def test_a_message_of_the_marketer_stands_above_the_code_in_place_of_ours() -> None:
    page = pages.static_page(**CONTACT).decode()

    assert page.index("先加店长。") < page.index("<img")
    assert "名额" not in page


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", [*TargetKind, None])
def test_a_computer_is_never_told_to_press_and_hold_what_stands_in(kind: TargetKind | None, language: Language) -> None:
    usual = CONTACT | {"kind": kind, "message": None, "language": language}
    phone = pages.static_page(**usual).decode()
    computer = pages.static_page(**usual | {"place": "computer"}).decode()

    assert re.search("长按|ress and hold", phone)
    assert re.search("长按|ress and hold", computer) is None
    assert re.search("手机|phone", computer)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("长" * 80, False),
        ("长" * 81, True),
        ("x" * 160, False),
        ("x" * 161, True),
        ("一\n二\n三\n四", False),
        ("一\n二\n三\n四\n五", True),
        ("一\n\n二\n\n三", True),
    ],
)
def test_a_text_above_folds_when_it_would_push_down_what_it_speaks_of(text: str, *, folded: bool) -> None:
    for page in (pages.static_page(**CONTACT | {"message": text}), pages.menu_page(**MENU | {"notice": text})):
        reader = Reader(page)
        assert len(reader.all("details")) == len(reader.all("summary")) == folded
        assert text in reader.texts


def test_a_menu_offers_its_options_in_order_each_a_link() -> None:
    page = Reader(pages.menu_page(**MENU))

    assert [link["href"] for link in page.all("a")] == ["/spring26/1", "/spring26/7", "/spring26/2"]
    assert re.findall("上海|静安、徐汇、浦东|北京|线上", page.text) == ["上海", "静安、徐汇、浦东", "北京", "线上"]
    assert len(page.all("small")) == 1


def test_two_slugs_of_one_menu_lead_each_its_own_way() -> None:
    first = Reader(pages.menu_page(**MENU | {"options": [("上海", None, "/poster/1")]}))
    second = Reader(pages.menu_page(**MENU | {"options": [("上海", None, "/parcel/1")]}))

    assert [first.all("a"), second.all("a")] == [[{"href": "/poster/1"}], [{"href": "/parcel/1"}]]


@pytest.mark.parametrize(("notice", "asks"), [(None, True), (" ", True), ("选一个城市", False)])
def test_a_menu_without_a_notice_asks_to_choose(notice: str | None, *, asks: bool) -> None:
    assert ("请选择" in Reader(pages.menu_page(**MENU | {"notice": notice})).text) is asks


@pytest.mark.parametrize(
    "url", ["weixin://dl/business/?t=Ab1&cq=x%3D1", "https://wxaurl.cn/Ab1", "https://wxmpurl.cn/Ab1?cq='a\"b"]
)
@pytest.mark.parametrize("language", Language)
def test_a_mini_program_is_one_tap_away(language: Language, url: str) -> None:
    page = Reader(pages.tap_page(**TAP | {"language": language, "url": url}))

    assert page.all("a") == [{"class": "button wide", "href": url}]
    assert re.search("打开小程序|Open the mini program", page.text)
    assert "夏日读书会" in page.text


@pytest.mark.parametrize("language", Language)
def test_a_computer_is_told_that_a_mini_program_opens_on_the_phone(language: Language) -> None:
    page = Reader(pages.tap_page(**TAP | {"language": language, "desktop": True}))

    assert re.search("要在手机上打开|opens on a phone", page.text)
    assert page.all("a") == [{"href": TAP["url"]}]


@pytest.mark.parametrize("language", Language)
def test_a_code_that_is_not_open_says_when_it_is(language: Language) -> None:
    named = NAMED | {"language": language}
    paused = Reader(pages.disabled_page(**named))
    early = Reader(pages.not_open_page(**named, opens_at="2026-12-01 10:00"))
    late = Reader(pages.ended_page(**named))

    assert re.search("暂停使用|paused", paused.text)
    assert re.search("2026-12-01 10:00 开放|opens on 2026-12-01 10:00", early.text)
    assert re.search("结束|ended", late.text)
    assert all("夏日读书会" in page.text for page in (paused, early, late))
    assert [len(page.all("a")) for page in (paused, early, late)] == [0, 0, 0], "nothing that can do nothing"
    assert {"time", "h1"} <= {tag for tag, _ in early.elements}
