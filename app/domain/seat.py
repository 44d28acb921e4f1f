"""Say what a seat (席位) is: one place in one target given to one visitor (访客). Knows no signature and no clock."""

from dataclasses import dataclass

from app.domain.code import AccountId, TargetId


@dataclass(frozen=True, slots=True)
class Seat:
    """Name one place given: the very fields by which the counters know it.

    Shapes: `number` counts up per code and is never given twice; `channel` is 0 for the code's own slug;
    `account` is empty where no account is involved; `day` is the local day, days since 1970-01-01, whose cap it uses.
    """

    number: int
    target: TargetId
    account: AccountId
    day: int
    channel: int
    visitor: str

    def text(self) -> str:
        """Spell the seat as the counters hold it and as a token carries it: dots between, no dot inside."""
        return f"{self.number}.{self.target}.{self.account}.{self.day}.{self.channel}.{self.visitor}"

    @classmethod
    def parse(cls, text: str) -> "Seat":
        """Read what `text` spells.

        Raises: ValueError — not six fields, or a number that is none.
        """
        number, target, account, day, channel, visitor = text.split(".")
        return cls(int(number), TargetId(target), AccountId(account), int(day), int(channel), visitor)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A seat as its token tells it: `proven` when the visitor has seen the QR, so that nothing can take it back."""

    seat: Seat
    proven: bool
    issued_at: int
