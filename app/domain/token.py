"""Sign what a visitor carries, and believe nothing else. A token names a code, a target and a seat, never a URL."""

import hashlib
import hmac
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Final

from app.domain.code import CodeId
from app.domain.seat import Claimed, Seat

SECRET_BYTES_MIN: Final = 16
_LENGTH_MAX: Final = 200
_PROVEN, _HELD = "s", "h"


class Signer:
    """Sign with the first secret, believe any: so that a secret can be changed while tokens are out."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets or min(map(len, secrets)) < SECRET_BYTES_MIN:
            raise ValueError(f"A secret has at least {SECRET_BYTES_MIN} bytes.")
        keys = [hashlib.blake2b(secret, digest_size=32, person=b"huoma seat").digest() for secret in secrets]
        # Begun once a key: a copy of it has taken in the key already.
        self._begun = [hashlib.blake2b(key=key, digest_size=16) for key in keys]

    def sign(self, code: CodeId, claimed: Claimed) -> str:
        """Spell a seat so that only this service could have.

        Shapes: letters, digits, `.`, `-` and `_`, fit for a cookie value and a path segment.
        """
        body = f"{claimed.seat}.{_PROVEN if claimed.proven else _HELD}.{claimed.issued_at}"
        return f"{body}.{_mac(self._begun[0], code, body)}"

    def read(self, code: CodeId, token: str) -> Claimed | None:
        """Read a token back; None when it is not ours, or not for this code."""
        if not token or len(token) > _LENGTH_MAX or not token.isascii():
            return None
        body, _, mac = token.rpartition(".")
        if not any(hmac.compare_digest(mac, _mac(begun, code, body)) for begun in self._begun):
            return None
        seat, proof, issued_at = body.rsplit(".", 2)
        return Claimed(Seat(seat), proof == _PROVEN, int(issued_at))

    def blur(self, text: str) -> str:
        """Spell a text so that nobody without the secret can tell what it was, though the same gives the same.

        Shapes: 16 letters, digits, `-` and `_`.
        """
        return _digest(self._begun[0], f"blur.{text}")[:16]


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def _mac(begun: "hashlib.blake2b", code: CodeId, body: str) -> str:
    return _digest(begun, f"{code}.{body}")[:22]


def _digest(begun: "hashlib.blake2b", text: str) -> str:
    digest = begun.copy()
    digest.update(text.encode())
    return b2a_base64(digest.digest(), newline=False).translate(_URL_SAFE).decode()
