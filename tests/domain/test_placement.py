"""What may stand where, and when two QRs are of one group."""

import pickle

import pytest

from app.domain.code import AccountKind, CodeKind
from app.domain.errors import Refusal
from app.domain.payload import TargetKind
from app.domain.placement import HOMES, Allowance, TakenRefusal, There, check_carrier, check_home, group_key, qr_key


def test_every_kind_of_qr_has_one_home_and_every_other_code_is_refused() -> None:
    assert set(HOMES) == set(TargetKind)
    for kind, home in HOMES.items():
        check_home(kind, home, "payload", ())
        for other in {CodeKind.GROUP, CodeKind.STAFF, CodeKind.LINK} - {home}:
            with pytest.raises(Refusal, match="other_kind"):
                check_home(kind, other, "payload", ())
            check_home(kind, other, "payload", {Allowance.OTHER_KIND})


def test_an_account_has_the_qrs_of_its_own_application() -> None:
    for kind in set(TargetKind) - {TargetKind.LINK}:
        right = AccountKind.WECHAT if kind.startswith("wechat") else AccountKind.WECOM
        check_carrier(kind, right, ())
        (wrong,) = set(AccountKind) - {right}
        with pytest.raises(Refusal, match="other_kind"):
            check_carrier(kind, wrong, {Allowance.QR_IN_USE})
        check_carrier(kind, wrong, {Allowance.OTHER_KIND})
    for account in AccountKind:
        check_carrier(TargetKind.LINK, account, ())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("读书会 3群", " 读书会3群 ", True),
        ("读书会(198)", "读书会", True),
        ("读书会（200）", "读书会 (3)", True),
        ("ＡＢＣ group", "abc Group", True),
        ("读书会3群", "读书会4群", False),
        ("读书会(一)", "读书会", False),
        ("(198)", "(12)", False),
    ],
)
def test_a_printed_name_is_compared_as_people_read_it(one: str, other: str, *, same: bool) -> None:
    assert (group_key(one) == group_key(other)) is same
    assert group_key(one)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("http://weixin.qq.com/g/Ab", True),
        ("HTTPS://WEIXIN.qq.com/g/Ab", True),
        ("https://weixin.qq.com/g/ab", False),
        ("https://weixin.qq.com/g/Ab?x", False),
        ("", False),
    ],
)
def test_the_scheme_and_the_case_of_the_host_make_no_other_qr(one: str, *, same: bool) -> None:
    assert (qr_key(one) == qr_key("https://weixin.qq.com/g/Ab")) is same


def test_a_refusal_that_names_a_target_survives_pickling() -> None:
    there = There("c", "海报", "t", "1群")
    again = pickle.loads(pickle.dumps(TakenRefusal("qr_in_use", "Taken.", "payload", there)))
    assert (again.code, again.detail, again.where, again.there) == ("qr_in_use", "Taken.", "payload", there)
