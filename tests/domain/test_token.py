import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.code import AccountId, CodeId, TargetId
from app.domain.seat import Claimed, Seat
from app.domain.token import Signer

SIGNER = Signer([b"a secret of some length"])
CODE = CodeId("code")
CLAIMED = Claimed(Seat.of(17, TargetId("t1"), AccountId(""), 20_000, 0, "v-_1"), proven=True, issued_at=1_700_000_000)


def test_a_token_reads_back() -> None:
    assert SIGNER.read(CODE, SIGNER.sign(CODE, CLAIMED)) == CLAIMED


def test_a_token_fits_a_path_and_a_cookie() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,200}", SIGNER.sign(CODE, CLAIMED))


def test_a_token_of_another_code_is_none() -> None:
    assert SIGNER.read(CodeId("other"), SIGNER.sign(CODE, CLAIMED)) is None


def test_a_token_of_another_secret_is_none() -> None:
    assert Signer([b"another secret of length"]).read(CODE, SIGNER.sign(CODE, CLAIMED)) is None


def test_a_token_outlives_a_change_of_secret() -> None:
    assert Signer([b"the new secret, which signs", b"a secret of some length"]).read(CODE, SIGNER.sign(CODE, CLAIMED))


def test_no_character_of_a_token_can_be_changed() -> None:
    token = SIGNER.sign(CODE, CLAIMED)
    for i in range(len(token)):
        for other in "0Az.":
            if token[i] != other:
                assert SIGNER.read(CODE, token[:i] + other + token[i + 1 :]) is None


@given(st.text(max_size=250))
def test_junk_is_none(text: str) -> None:
    assert SIGNER.read(CODE, text) is None


@pytest.mark.parametrize("secret", [[], [b"short"]])
def test_a_short_secret_is_refused(secret: list[bytes]) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Signer(secret)
