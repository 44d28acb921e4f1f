"""Say what a seat (席位) is: one place in one target given to one visitor (访客). Knows no signature and no clock.

What a scan makes anew is a `NamedTuple` or a `str` here and elsewhere: as frozen as a dataclass, at a third of its
cost.
"""

from typing import NamedTuple

from app.domain.code import AccountId, TargetId


class Seat(str):
    """Name one place given: the very text by which the counters know it and which a token carries.

    Shapes: `number.target.account.day.channel.visitor`, no dot inside; `number` counts up per code and is never given
    twice; `channel` is 0 for the code's own slug; `account` is empty where no account is involved; `day` is the local
    day, days since 1970-01-01, whose cap it uses. It is read only as far as somebody asks.
    """

    __slots__ = ()

    @classmethod
    def of(cls, number: int, target: TargetId, account: AccountId, day: int, channel: int, visitor: str) -> "Seat":
        """Spell a seat."""
        return cls(f"{number}.{target}.{account}.{day}.{channel}.{visitor}")

    @property
    def number(self) -> int:
        """Count seats of the code."""
        return int(self.partition(".")[0])

    @property
    def target(self) -> TargetId:
        """Name the target."""
        return TargetId(self.split(".", 2)[1])

    @property
    def account(self) -> AccountId:
        """Name the account, '' for none."""
        return AccountId(self.split(".", 3)[2])

    @property
    def day(self) -> int:
        """Tell whose day's cap it uses."""
        return int(self.split(".", 4)[3])

    @property
    def channel(self) -> int:
        """Tell by which channel he came."""
        return int(self.rsplit(".", 2)[1])

    @property
    def visitor(self) -> str:
        """Name the visitor."""
        return self.rpartition(".")[2]


class Claimed(NamedTuple):
    """A seat as its token tells it: `proven` when the visitor has seen the QR, so that nothing can take it back."""

    seat: Seat
    proven: bool
    issued_at: int
