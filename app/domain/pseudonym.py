"""Say by which name the record knows a visitor (化名): a keyed hash of what he carries, another in each workspace."""

import hashlib
from binascii import b2a_base64
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Final

from app.domain.code import WorkspaceId

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
NOBODY: Final = ""


class Pseudonyms:
    """Name visitors by the first secret, and find what any secret has named; with none, ids stay as they are.

    Shapes: `secrets` is asked when first needed, since not every command names anybody. A name has 12 letters, digits,
    `-` and `_`.
    """

    def __init__(self, secrets: Callable[[], Sequence[bytes]]) -> None:
        self._secrets = secrets

    @cached_property
    def _keys(self) -> list[bytes]:
        return [hashlib.blake2b(secret, digest_size=32, person=b"huoma visitor").digest() for secret in self._secrets()]

    def namer(self, workspace: WorkspaceId, erased: Collection[str] = ()) -> Callable[[str], str]:
        """Make what names the visitors of a workspace; those whose tombstones are `erased` are nobody."""
        name = _hasher(self._keys[0], f"{workspace} ") if self._keys else str
        if not erased:
            return name
        tombs = self._tombs(workspace)
        return lambda visitor: NOBODY if any(tomb(visitor) in erased for tomb in tombs) else name(visitor)

    def names(self, workspace: WorkspaceId, visitor: str) -> list[str]:
        """Tell every name that the record may have for a visitor: also that from before visitors were named."""
        return [visitor, *(_hasher(key, f"{workspace} ")(visitor) for key in self._keys)]

    def tombstones(self, workspace: WorkspaceId, visitor: str) -> list[str]:
        """Tell by what an erased visitor is known again, the one to be kept first; no name can be told from it."""
        return [tomb(visitor) for tomb in self._tombs(workspace)]

    def _tombs(self, workspace: WorkspaceId) -> list[Callable[[str], str]]:
        return [_hasher(key, f"erased {workspace} ") for key in self._keys or [b"nobody's"]]


def _hasher(key: bytes, before: str) -> Callable[[str], str]:
    # Begun once: a copy of it has taken in key and workspace already.
    begun = hashlib.blake2b(before.encode(), key=key, digest_size=9)

    def spell(visitor: str) -> str:
        digest = begun.copy()
        digest.update(visitor.encode())
        return b2a_base64(digest.digest(), newline=False).translate(_URL_SAFE).decode()

    return spell
