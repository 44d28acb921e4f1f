"""Make ids that sort by the time they were made."""

from datetime import UTC, datetime
from typing import Final

# Crockford's base 32 in lower case: its order is the order of its digits, in ASCII and so in every "C" collation.
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH: Final = 16
PATTERN: Final = f"^[{ALPHABET}]{{{LENGTH}}}$"
ENTROPY_BYTES: Final = 5

_EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)


def make_id(now: datetime, entropy: bytes) -> str:
    """Spell a moment and five random bytes.

    Shapes: 16 characters, 8 of time in ms since 2024 (good until 2058), 8 of chance. Ids of one ms sort anyhow.
    """
    assert len(entropy) == ENTROPY_BYTES
    milliseconds = int((now - _EPOCH).total_seconds() * 1000)
    return _spell(milliseconds) + _spell(int.from_bytes(entropy, "big"))


def _spell(number: int) -> str:
    return "".join(ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))
