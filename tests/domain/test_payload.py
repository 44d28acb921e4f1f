"""Payloads, against every recorded sample and against junk."""

import json
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Refusal, UploadRefusal
from app.domain.payload import FACTS, MAX_URL_CHARACTERS, TargetKind, check_link, classify

SAMPLES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "facts" / "payload_samples.json").read_text())
OUR_NAME = {
    "wechat_group": TargetKind.WECHAT_GROUP,
    "wechat_personal": TargetKind.WECHAT_PERSONAL,
    "wecom_group_join_way": TargetKind.WECOM_GROUP,
    "wecom_contact_way": TargetKind.WECOM_CONTACT,
    "wecom_member_card": TargetKind.WECOM_CONTACT,
    "wecom_acquisition_link": TargetKind.WECOM_ACQUISITION,
}
GROUP = "https://weixin.qq.com/g/AExample0Exa_-12"


def refusal_of(payload: str) -> UploadRefusal:
    with pytest.raises(UploadRefusal) as refused:
        classify(payload)
    assert refused.value.code == "unsupported_qr_kind"
    return refused.value


def outcome(decide: Callable[[str], str], text: str) -> str | Refusal:
    try:
        return decide(text)
    except Refusal as refusal:
        return refusal


@pytest.mark.parametrize("sample", SAMPLES["positive"], ids=lambda s: s["payload"])
def test_every_recorded_payload_is_what_the_facts_say(sample: dict[str, str]) -> None:
    if sample["kind"] in OUR_NAME:
        assert classify(sample["payload"]) is OUR_NAME[sample["kind"]]
    else:
        refusal_of(sample["payload"])


@pytest.mark.parametrize("payload", SAMPLES["negative"])
def test_every_recorded_forgery_is_refused(payload: str) -> None:
    refusal_of(payload)


@pytest.mark.parametrize(
    "payload",
    [
        "https://weixin.qq.com:443/g/AExample0Exa_-12",
        "https://weixin.qq.com:/g/AExample0Exa_-12",
        "https://user@weixin.qq.com/g/AExample0Exa_-12",
        "https://weixin.qq.com\\@evil.example/g/AExample0Exa_-12",
        "https://weixin.qq.com./g/AExample0Exa_-12",
        "https://ｗeixin.qq.com/g/AExample0Exa_-12",
        "https:weixin.qq.com/g/AExample0Exa_-12",
        "//weixin.qq.com/g/AExample0Exa_-12",
        "weixin.qq.com/g/AExample0Exa_-12",
        "ftp://weixin.qq.com/g/AExample0Exa_-12",
        "https://weixin.qq.com/G/AExample0Exa_-12",
        "https://weixin.qq.com/g/",
        "https://weixin.qq.com/g/../r/x",
        "https://weixin.qq.com/g/A/B",
        "https://u.wechat.com/",
        "https://u.wechat.com/MExampleExample_Example?s=2&to=https://evil.example",
        "https://work.weixin.qq.com/gm/0123456789ABCDEF0123456789abcdef",
        "https://work.weixin.qq.com/ct/0123456789abcdef0123456789abcdef",
        " " + GROUP,
        GROUP + "\n",
        GROUP + "#x",
        "https://weixin.qq.com/g/" + "A" * MAX_URL_CHARACTERS,
        "data:text/html,<script>alert(1)</script>",
        "",
    ],
)
def test_what_is_not_exactly_a_known_url_is_refused(payload: str) -> None:
    refusal_of(payload)


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ("wxp://f2f0ExampleExample", "payment"),
        ("https://wx.tenpay.com/f2f?t=x", "payment"),
        ("https://payapp.weixin.qq.com/qr/x", "payment"),
        ("http://weixin.qq.com/r/Example", "official account"),
        ("https://weixin.qq.com/q/Example", "official account"),
        ("weixin://dl/business/?t=Example", "mini program"),
        ("https://wxaurl.cn/Example", "mini program"),
        ("https://work.weixin.qq.com/kfid/kfc0123456789abcdef", "customer service"),
        ("https://shop.example/", "no WeChat or WeCom group"),
    ],
)
def test_a_refusal_says_what_the_code_really_is(payload: str, named: str) -> None:
    assert named in refusal_of(payload).detail


@pytest.mark.parametrize("payload", ["https://work.weixin.qq.com/gm/" + "0f" * 14, "HTTPS://WEIXIN.QQ.COM/g/AbC"])
def test_token_lengths_and_the_case_of_hosts_are_taken_loosely(payload: str) -> None:
    assert classify(payload) in {TargetKind.WECOM_GROUP, TargetKind.WECHAT_GROUP}


@given(st.one_of(st.text(), st.text().map(GROUP.__add__), st.text().map("https://{}/g/AbC".format)))
def test_junk_is_classified_or_refused_and_never_a_link(payload: str) -> None:
    answer = outcome(classify, payload)
    if isinstance(answer, Refusal):
        assert answer.code == "unsupported_qr_kind"
    else:
        assert answer is TargetKind.WECHAT_GROUP
        assert payload.isascii()
        assert payload.lower().startswith("https://weixin.qq.com/g/")


def test_groups_take_two_hundred_and_only_links_are_redirects() -> None:
    assert set(FACTS) == set(TargetKind)
    assert {k for k, f in FACTS.items() if f.member_limit == 200} == {TargetKind.WECHAT_GROUP, TargetKind.WECOM_GROUP}
    assert {k for k, f in FACTS.items() if f.member_limit is None} == set(TargetKind) - {
        TargetKind.WECHAT_GROUP,
        TargetKind.WECOM_GROUP,
    }
    assert {k: f.valid_for for k, f in FACTS.items() if f.valid_for} == {TargetKind.WECHAT_GROUP: timedelta(days=7)}
    assert {k for k, f in FACTS.items() if f.redirects} == {TargetKind.LINK}


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/a?b=c&d=%E6%B4%BB#top",
        "http://shop.example",
        "https://shop.example:8443/x",
        "https://[2001:db8::1]/x",
        "https://work.weixin.qq.com/ca/cawcde0123456789ab?customer_channel=a",
        "HTTPS://Shop.Example/Path",
    ],
)
def test_a_web_address_is_taken_as_it_is(url: str) -> None:
    assert check_link(url) == url


def test_a_chinese_address_comes_back_fit_for_a_header() -> None:
    assert check_link("https://商店.example:81/活动?q=码") == (
        "https://xn--czrs0t.example:81/%E6%B4%BB%E5%8A%A8?q=%E7%A0%81"
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://shop.example/",
        "https:/shop.example/",
        "https:///path",
        "https://",
        "https://user@shop.example/",
        "https://user:secret@shop.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example\\.evil.example/",
        "https://shop.example/ x",
        "https://shop.example/\r\nSet-Cookie: a=b",
        "https://shop.example/\t",
        "https://shop.example/\u3000",
        "https://shop.example/\u202egnp.exe",
        "https://shop.example/\u200b",
        "https://shop.example:99999/",
        "https://shop.example:port/",
        "https://shop..example/",
        "https://<b>/",
        "https://[::1/",
        "https://" + "商" * 80 + ".example/",
        "https://shop.example/\ud800",
        "https://shop.example/" + "a" * MAX_URL_CHARACTERS,
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_link(url)
    assert refused.value.code == "bad_link"


@given(st.one_of(st.text(), st.text().map("https://shop.example/{}".format), st.text().map("http://{}/".format)))
def test_a_link_is_refused_or_fit_for_a_header_and_stable(url: str) -> None:
    answer = outcome(check_link, url)
    if isinstance(answer, Refusal):
        assert answer.code == "bad_link"
    else:
        assert answer.isascii()
        assert answer.isprintable()
        assert " " not in answer
        assert len(answer) <= MAX_URL_CHARACTERS
        assert check_link(answer) == answer


def test_a_refusal_survives_pickling() -> None:
    refusal = UploadRefusal("no_qr_code", "Upload another.", "image")
    copy = pickle.loads(pickle.dumps(refusal))
    assert type(copy) is UploadRefusal
    assert (copy.code, copy.detail, copy.where, str(copy)) == ("no_qr_code", "Upload another.", "image", str(refusal))
