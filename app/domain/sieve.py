"""Say how slugs are kept in a sieve (筛): a few bits each, by which those that were never made are told.

A Bloom filter: a slug that was put in passes always; of the others fewer than one in a thousand does.
"""

import hashlib
from typing import Final

# Eight bits of a slug are looked at; with sixteen bits a slug, 0.06 % of those that were never made find all of theirs.
_FULL: Final = 16
_FRESH: Final = 24
# So many bits at least (128 kB): a few thousand slugs more must not make it overfull.
SIZE_MIN: Final = 1 << 20
# What one Redis string holds, and what a start and a step can reach.
SIZE_MAX: Final = 1 << 32


def size_for(slugs: int) -> int:
    """Tell how many bits a new sieve for so many slugs has: three bytes each, room for half as many more included."""
    return min(max(slugs * _FRESH, SIZE_MIN), SIZE_MAX)


def overfull(slugs: int, size: int) -> bool:
    """Tell whether a sieve of so many bits lets too much through, and a larger one would be better."""
    return slugs * _FULL > size < SIZE_MAX


def mesh(slug: str) -> tuple[int, int]:
    """Tell where the bits of a slug are: from a start on, by a step. Units: both below 2^32, the step odd."""
    digest = hashlib.blake2b(slug.encode(), digest_size=8, person=b"huoma sieve").digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big") | 1
