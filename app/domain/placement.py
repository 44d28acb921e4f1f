"""Decide what may stand where: kinds of QR in kinds of code, accounts with QRs, and when two QRs are of one group.

Pure. What stands in the record is asked by `services/standing.py`.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from app.domain.code import AccountKind, CodeKind
from app.domain.errors import Refusal
from app.domain.payload import GROUPS, TargetKind, person_of


class Allowance(StrEnum):
    """Name a refusal that the caller overrides by an explicit word."""

    OTHER_KIND = "other_kind"
    QR_IN_USE = "qr_in_use"
    SAME_GROUP = "same_group"
    OTHER_GROUP = "other_group"


@dataclass(frozen=True, slots=True)
class There:
    """Name the target that is in the way, and its code."""

    code_id: str
    code_name: str
    target_id: str
    target_name: str


class TakenRefusal(Refusal):
    """Refuse a QR because of a target that is there."""

    def __init__(self, code: str, detail: str, where: str | None, there: There | None) -> None:
        super().__init__(code, detail, where)
        self.args = (code, detail, where, there)
        self.there = there


# A group fills up and dies; a person is unlimited, and bounded by the cap of an account. A code of the one kind cannot
# count the other rightly.
HOMES: Final[Mapping[TargetKind, CodeKind]] = MappingProxyType(
    {
        TargetKind.WECHAT_GROUP: CodeKind.GROUP,
        TargetKind.WECOM_GROUP: CodeKind.GROUP,
        TargetKind.WECHAT_PERSONAL: CodeKind.STAFF,
        TargetKind.WECOM_CONTACT: CodeKind.STAFF,
        TargetKind.WECOM_ACQUISITION: CodeKind.STAFF,
        TargetKind.LINK: CodeKind.LINK,
    }
)
# Links lead anywhere, so an account of any kind may stand behind one.
_CARRIERS: Final[Mapping[TargetKind, AccountKind]] = MappingProxyType(
    {
        TargetKind.WECHAT_GROUP: AccountKind.WECHAT,
        TargetKind.WECHAT_PERSONAL: AccountKind.WECHAT,
        TargetKind.WECOM_GROUP: AccountKind.WECOM,
        TargetKind.WECOM_CONTACT: AccountKind.WECOM,
        TargetKind.WECOM_ACQUISITION: AccountKind.WECOM,
    }
)
# In the words of those who upload; the identifier stands beside it.
_PLAIN: Final[Mapping[TargetKind, str]] = MappingProxyType(
    {
        TargetKind.WECHAT_GROUP: "WeChat group",
        TargetKind.WECOM_GROUP: "WeCom group",
        TargetKind.WECHAT_PERSONAL: "personal code",
        TargetKind.WECOM_CONTACT: "WeCom contact",
        TargetKind.WECOM_ACQUISITION: "WeCom acquisition link",
        TargetKind.LINK: "link",
    }
)
_COUNT: Final = re.compile(r"\([0-9]{1,3}\)$")


def plainly(kind: TargetKind) -> str:
    """Spell a kind in plain words, with its identifier behind them."""
    return f"{_PLAIN[kind]} ({kind})"


def check_home(kind: TargetKind, code: CodeKind, where: str, allowed: Collection[Allowance]) -> None:
    """Insist that a QR stands in a code of its kind, unless the caller allows it.

    Raises: Refusal `other_kind`.
    """
    home = HOMES[kind]
    if code is home or Allowance.OTHER_KIND in allowed:
        return
    if kind in GROUPS:
        why = "fills up, and the QR of a WeChat group dies within a week"
    else:
        why = "has no member limit and would take every visitor"
    raise Refusal(
        "other_kind",
        f"This is a {plainly(kind)}, which {why}; put it in a code of kind {home}, "
        f'or repeat with allow: ["other_kind"] to have it in this code of kind {code}.',
        where,
    )


def check_carrier(kind: TargetKind, account: AccountKind, allowed: Collection[Allowance]) -> None:
    """Insist that an account can own a QR of a kind, unless the caller allows it.

    Raises: Refusal `other_kind`.
    """
    if _CARRIERS.get(kind, account) is account or Allowance.OTHER_KIND in allowed:
        return
    raise Refusal(
        "other_kind",
        f"An account of kind {account} has no {plainly(kind)}; name an account of kind {_CARRIERS[kind]}, "
        'or repeat with allow: ["other_kind"].',
        "account_id",
    )


def group_key(name: str) -> str:
    """Spell a printed name so that two readings of the same one are equal.

    Shapes: NFKC, no blanks, no case, without a number of members such as (198) at its end; '' when nothing is left.
    """
    text = "".join(unicodedata.normalize("NFKC", name).split()).casefold()
    return _COUNT.sub("", text) or text


def spellings(payload: str) -> tuple[str, ...]:
    """List how the payload of one QR may be spelt: as it is, and with http or https before a host in lower case."""
    spelt = spell_qr(payload)
    return tuple(dict.fromkeys((payload, spelt, spelt.replace("https://", "http://", 1))))


def qr_key(payload: str) -> str:
    """Spell a payload so that those of one group, or of one person, are equal: their places and adds count together."""
    return person_of(payload) or spell_qr(payload)


def spell_qr(payload: str) -> str:
    """Spell a payload so that those of the same QR are equal: a fresh QR of one person may differ."""
    scheme, colon, rest = payload.partition("://")
    if not colon or scheme.lower() not in {"http", "https"}:
        return payload
    host, slash, path = rest.partition("/")
    return f"https://{host.lower()}{slash}{path}"
