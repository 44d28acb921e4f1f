"""Links that targets lead to: which are taken, which lead back here, and what a scan adds to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import limits
from app.domain.errors import Refusal
from app.domain.payload import (
    TargetKind,
    check_link,
    check_target_link,
    leads_back,
    link_host,
    opens_by_tap,
    pass_query,
    pictured,
    with_channel,
)

SHOP = "https://shop.example/a"
ACQUISITION = "https://work.weixin.qq.com/ca/cawcde0123456789ab"
MINI_PROGRAM = "weixin://dl/business/?t=Example_-1"


@pytest.mark.parametrize("url", [SHOP, "http://shop.example:8080/?a=b#c", MINI_PROGRAM, "https://wxaurl.cn/Example"])
def test_a_target_leads_to_a_web_page_or_a_mini_program(url: str) -> None:
    assert check_target_link(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "weixin://dl/chat?t=x",
        "weixin://dl/business/?t=",
        "weixin://dl/business/?t=x&u=https://evil.example",
        "weixin://dl/business/?t=x\r\nSet-Cookie: a=b",
        "weixin://dl/business/?t=x\n",
        "Weixin://dl/business/?t=x",
        "weixin://evil.example/?t=x",
        "wxp://f2f0abc",
        "tel:110",
    ],
)
def test_no_other_scheme_is_taken(url: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_target_link(url)
    assert refused.value.code == "bad_link"


@pytest.mark.parametrize(
    ("url", "by_tap"),
    [
        (MINI_PROGRAM, True),
        ("https://wxaurl.cn/Example", True),
        ("https://wxmpurl.cn/Example?a=b", True),
        ("http://WXAURL.cn./Example", True),
        (SHOP, False),
        (ACQUISITION, False),
        ("https://shop.example/?u=https://wxaurl.cn/x", False),
        ("https://wxaurl.cn.evil.example/x", False),
        ("https://wxaurl.cn@evil.example/x", False),
        ("weixin://dl/chat", False),
        ("", False),
    ],
)
def test_mini_programs_open_by_a_tap(url: str, by_tap: bool) -> None:  # noqa: FBT001
    assert opens_by_tap(url) is by_tap


@pytest.mark.parametrize(
    ("url", "public_url", "back"),
    [
        ("https://qr.example/abc", "https://qr.example", True),
        ("http://qr.example", "https://qr.example", True),
        ("https://QR.Example./abc", "https://qr.example", True),
        ("https://qr.example:443/", "https://qr.example", True),
        ("http://qr.example:80/", "https://qr.example:443", True),
        ("http://qr.example:8080/", "http://qr.example:8080", True),
        ("https://qr.example:8443/", "https://qr.example", False),
        ("https://shop.qr.example/", "https://qr.example", False),
        ("https://example/qr.example", "https://qr.example", False),
        ("https://xn--czrs0t.example/", "https://商店.example", True),
        (check_link("https://商店.example/"), "https://xn--czrs0t.example", True),
        (check_link("https://ｑｒ。example/"), "https://qr.example", True),
        ("http://[0:0:0:0:0:0:0:1]:8000/", "http://[::1]:8000", True),
        ("http://127.0.0.1:8000/demo", "http://127.0.0.1:8000", True),
        (MINI_PROGRAM, "https://qr.example", False),
        ("https://mp.weixin.qq.com/r?url=https%3A%2F%2Fqr.example%2Fabc", "https://qr.example", True),
        ("https://c.pc.qq.com/middlem.html?pfurl=QR.example/abc", "https://qr.example", True),
        ("https://url.cn/x#u=https%253A%252F%252Fqr.example%252Fabc", "https://qr.example", True),
        ("https://mp.weixin.qq.com/r?url=https://shop.example/?from=qr.example", "https://qr.example", False),
        ("https://shop.example/?from=https://qr.example", "https://qr.example", False),
    ],
)
def test_a_link_back_to_the_service_is_known_however_it_is_written(url: str, public_url: str, back: bool) -> None:  # noqa: FBT001
    assert leads_back(url, public_url) is back


@pytest.mark.parametrize(
    ("url", "host"), [(SHOP, "shop.example"), ("https://Shop.Example.:8080/", "shop.example"), (MINI_PROGRAM, None)]
)
def test_a_link_is_named_by_its_host(url: str, host: str | None) -> None:
    assert link_host(url) == host


@pytest.mark.parametrize(
    ("url", "state", "told"),
    [
        (ACQUISITION, "poster_a", f"{ACQUISITION}?customer_channel=poster_a"),
        (f"{ACQUISITION}?a=b", "poster_a", f"{ACQUISITION}?a=b&customer_channel=poster_a"),
        (f"{ACQUISITION}?", "x", f"{ACQUISITION}?customer_channel=x"),
        (f"{ACQUISITION}?a=b#top", "x", f"{ACQUISITION}?a=b&customer_channel=x#top"),
        (f"{ACQUISITION}#top", "x", f"{ACQUISITION}?customer_channel=x#top"),
        (f"{ACQUISITION}?customer_channel=mine", "x", f"{ACQUISITION}?customer_channel=mine"),
        (f"{ACQUISITION}?customer%5Fchannel=mine", "x", f"{ACQUISITION}?customer%5Fchannel=mine"),
        (ACQUISITION, "a&b=c#d/%门", f"{ACQUISITION}?customer_channel=a%26b%3Dc%23d%2F%25%E9%97%A8"),
        (ACQUISITION, "a\r\nb", f"{ACQUISITION}?customer_channel=a%0D%0Ab"),
        (ACQUISITION, None, ACQUISITION),
        (ACQUISITION, "", ACQUISITION),
        (SHOP, "x", SHOP),
        (MINI_PROGRAM, "x", MINI_PROGRAM),
        ("https://work.weixin.qq.com/ct/wcde0123456789abcdef", "x", "https://work.weixin.qq.com/ct/wcde0123456789abcdef"),
        ("https://work.weixin.qq.com.evil.example/ca/cawcde01", "x", "https://work.weixin.qq.com.evil.example/ca/cawcde01"),
    ],
)  # fmt: skip
def test_an_acquisition_link_tells_its_channel(url: str, state: str | None, told: str) -> None:
    assert with_channel(url, state) == told


@pytest.mark.parametrize(
    ("url", "query", "passed"),
    [
        (SHOP, "utm=x&b=2", f"{SHOP}?utm=x&b=2"),
        (SHOP, "", SHOP),
        (f"{SHOP}?a=1", "b=2", f"{SHOP}?a=1&b=2"),
        (f"{SHOP}?", "b=2", f"{SHOP}?b=2"),
        (f"{SHOP}#top", "b=2", f"{SHOP}?b=2#top"),
        (f"{SHOP}?a=1#top?c=3", "b=2&c=4", f"{SHOP}?a=1&b=2&c=4#top?c=3"),
        (f"{SHOP}?a=1", "a=2&b=3&a=4", f"{SHOP}?a=1&b=3"),
        (f"{SHOP}?a=1", "%61=2", f"{SHOP}?a=1"),
        (f"{SHOP}?a+b=1", "a%20b=2", f"{SHOP}?a+b=1"),
        (SHOP, "a=1&a=2", f"{SHOP}?a=1&a=2"),
        (SHOP, "&&=x&flag&", f"{SHOP}?flag"),
        (SHOP, "a=1\r\nSet-Cookie: x=y&b=2", f"{SHOP}?b=2"),
        (SHOP, "a=码&b=2", f"{SHOP}?b=2"),
        (SHOP, "a=1 2&b=2", f"{SHOP}?b=2"),
        (SHOP, "a=1#b", f"{SHOP}?a=1%23b"),
        (SHOP, "a=//evil.example/?c", f"{SHOP}?a=//evil.example/?c"),
        (SHOP, 'a=<b>"\\', f"{SHOP}?a=%3Cb%3E%22%5C"),
        (SHOP, "a=%E7%A0%81&b=%zz&c=%", f"{SHOP}?a=%E7%A0%81&b=%25zz&c=%25"),
        (SHOP, "//evil.example", f"{SHOP}?//evil.example"),
        ("https://shop.example", "a=1", "https://shop.example?a=1"),
        (MINI_PROGRAM, "a=1", MINI_PROGRAM),
        (SHOP, "a=" + "x" * (limits.QUERY_LENGTH - 2), f"{SHOP}?a=" + "x" * (limits.QUERY_LENGTH - 2)),
        (SHOP, "a=" + "x" * (limits.QUERY_LENGTH - 1), SHOP),
    ],
)
def test_what_a_scan_was_asked_with_is_handed_on(url: str, query: str, passed: str) -> None:
    assert pass_query(url, query) == passed


@given(st.sampled_from([SHOP, f"{SHOP}?a=1#b", "https://shop.example", ACQUISITION]), st.text(), st.text(max_size=30))
def test_whatever_is_added_a_link_stays_fit_for_a_header_and_leads_to_the_same_place(
    url: str, query: str, state: str
) -> None:
    added = pass_query(with_channel(url, state), query)
    assert added.isascii()
    assert added.isprintable()
    assert " " not in added
    assert link_host(added) == link_host(url)
    assert added.partition("?")[0].partition("#")[0] == url.partition("?")[0].partition("#")[0]
    assert added.partition("#")[2] == url.partition("#")[2]


G, P = TargetKind.WECHAT_GROUP, TargetKind.WECHAT_PERSONAL
WG, WC, WA = TargetKind.WECOM_GROUP, TargetKind.WECOM_CONTACT, TargetKind.WECOM_ACQUISITION


@pytest.mark.parametrize(
    ("url", "kind", "payload"),
    [
        ("https://weixin.qq.com/g/AbC-_1", G, "https://weixin.qq.com/g/AbC-_1"),
        ("http://weixin.qq.com/g/AbC", G, "https://weixin.qq.com/g/AbC"),
        ("https://WeiXin.QQ.com/g/AbC", G, "https://weixin.qq.com/g/AbC"),
        ("https://weixin.qq.com.:8443//g/./AbC/", G, "https://weixin.qq.com/g/AbC"),
        ("https://weixin.qq.com/r/../%67/AbC#x", G, "https://weixin.qq.com/g/AbC"),
        ("https://u.wechat.com/kExample?s=2", P, "https://u.wechat.com/kExample?s=2"),
        ("https://work.weixin.qq.com/gm/0123", WG, "https://work.weixin.qq.com/gm/0123"),
        ("https://work.weixin.qq.com/ct/wcde01", WC, "https://work.weixin.qq.com/ct/wcde01"),
        ("https://work.weixin.qq.com/u/vc01?v=5.0", WC, "https://work.weixin.qq.com/u/vc01?v=5.0"),
        (ACQUISITION, WA, ACQUISITION),
        ("https://weixin.qq.com/r/Example", None, "https://weixin.qq.com/r/Example"),
        ("https://weixin.qq.com/q/Example", None, "https://weixin.qq.com/q/Example"),
        ("https://payapp.weixin.qq.com/qr/x", None, "https://payapp.weixin.qq.com/qr/x"),
        ("https://c.pc.qq.com/middlem.html?pfurl=https%3A%2F%2Fweixin.qq.com%2Fg%2FAbC", G, "https://weixin.qq.com/g/AbC"),
        ("https://url.cn/x?a=1#u=https://u.wechat.com/kE", P, "https://u.wechat.com/kE"),
        ("https://mp.weixin.qq.com/r?url=weixin.qq.com/g/AbC", G, "https://weixin.qq.com/g/AbC"),
        ("https://mp.weixin.qq.com/r?url=//weixin.qq.com/g/AbC", G, "https://weixin.qq.com/g/AbC"),
        ("https://mp.weixin.qq.com/r?weixin.qq.com/g/AbC", G, "https://weixin.qq.com/g/AbC"),
        ("https://c.pc.qq.com/middlem.html?pfurl=weixin.qq.com%2Fg%2FAbC", G, "https://weixin.qq.com/g/AbC"),
        ("https://mp.weixin.qq.com/r?url=https%253A%252F%252Fweixin.qq.com%252Fg%252FAbC", G, "https://weixin.qq.com/g/AbC"),
        ("https://url.cn/x?u=c.pc.qq.com%2Fa%3Fpfurl%3Dhttps%253A%252F%252Fweixin.qq.com%252Fr%252FAbC", None,
         "https://weixin.qq.com/r/AbC"),
        ("https://www.weixin.qq.com/g/AbC", G, "https://www.weixin.qq.com/g/AbC"),
        ("https://work.wechat.com/gm/0123", WG, "https://work.wechat.com/gm/0123"),
        ("https://www.work.weixin.qq.com/ca/cawcde01", WA, "https://www.work.weixin.qq.com/ca/cawcde01"),
    ],
)  # fmt: skip
def test_what_opens_from_a_qr_alone_is_known_however_it_is_spelt(
    url: str, kind: TargetKind | None, payload: str
) -> None:
    found = pictured(check_link(url))
    assert found is not None
    assert (found.kind, found.payload) == (kind, payload)


@pytest.mark.parametrize(
    "url",
    [
        SHOP,
        "https://weixin.qq.com/",
        "https://weixin.qq.com.evil.example/g/AbC",
        "https://mp.weixin.qq.com/s/Example",
        # A page that shows the QR it is given is a page.
        "https://shop.example/join?qr=https://weixin.qq.com/g/AbC",
        "https://mp.weixin.qq.com/s?title=weixin.qq.com&__biz=Mzk=&url=work.weixin.qq.com/kfid/kfc01",
        "https://mp.weixin.qq.com/s?a=%25%2525&b=:&c=..//&d=//&e=https://[",
        "https://work.weixin.qq.com/kfid/kfc0123456789abcdef",
        "https://work.weixin.qq.com/",
        "https://wxaurl.cn/Example",
        MINI_PROGRAM,
    ],
)
def test_a_web_page_need_not_be_shown_as_a_qr(url: str) -> None:
    assert pictured(check_target_link(url)) is None


def test_pages_that_lead_on_in_a_circle_end() -> None:
    url = "https://weixin.qq.com/g/AbC"
    for _ in range(9):
        url = f"https://url.cn/x?u={url}"
    assert pictured(url) is None


@given(st.text())
def test_whatever_an_address_holds_it_is_known_or_not(text: str) -> None:
    pictured(f"https://weixin.qq.com/{text}?{text}")
