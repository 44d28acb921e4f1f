"""Sign what a visitor carries, and believe nothing else. A token names a code, a target and a seat, never a URL."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from app.domain.code import CodeId
from app.domain.seat import Claimed, Seat

_LENGTH_MAX: Final = 200
_PROVEN, _HELD = "s", "h"


class Signer:
    """Sign with the first secret, believe any: so that a secret can be changed while tokens are out."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets or min(map(len, secrets)) < 16:
            raise ValueError("A secret has at least 16 bytes.")
        self._keys = [hashlib.blake2b(secret, digest_size=32, person=b"huoma seat").digest() for secret in secrets]

    def sign(self, code: CodeId, claimed: Claimed) -> str:
        """Spell a seat so that only this service could have.

        Shapes: letters, digits, `.`, `-` and `_`, fit for a cookie value and a path segment.
        """
        body = f"{claimed.seat.text()}.{_PROVEN if claimed.proven else _HELD}.{claimed.issued_at}"
        return f"{body}.{_mac(self._keys[0], code, body)}"

    def read(self, code: CodeId, token: str) -> Claimed | None:
        """Read a token back; None when it is not ours, or not for this code."""
        if len(token) > _LENGTH_MAX or not token.isascii():
            return None
        body, _, mac = token.rpartition(".")
        if not any(hmac.compare_digest(mac, _mac(key, code, body)) for key in self._keys):
            return None
        seat, proof, issued_at = body.rsplit(".", 2)
        return Claimed(Seat.parse(seat), proof == _PROVEN, int(issued_at))

    def blur(self, text: str) -> str:
        """Spell a text so that nobody without the secret can tell what it was, though the same gives the same.

        Shapes: 16 letters, digits, `-` and `_`.
        """
        return base64.urlsafe_b64encode(_digest(self._keys[0], f"blur.{text}")[:12]).decode()


def _mac(key: bytes, code: CodeId, body: str) -> str:
    return base64.urlsafe_b64encode(_digest(key, f"{code}.{body}"))[:22].decode()


def _digest(key: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode(), key=key, digest_size=16).digest()
