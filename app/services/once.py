"""Do what a POST asks once, however often it is sent (幂等).

The answer is written in the transaction of what it answers for, so that neither can exist without the other.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

from app.domain.code import WorkspaceId
from app.domain.errors import Refusal
from app.store import idempotency
from app.store.database import Database, Writing

T = TypeVar("T")


class Answered(Exception):  # noqa: N818  # It is an answer, not a fault.
    """Say that this very question was answered before, and how."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Once(Generic[T]):
    """Stand for one question, by the key its sender gave it; without a key, nothing is remembered.

    Shapes: `render` turns the result into the JSON body that a repeat is answered with.
    """

    def __init__(
        self,
        workspace: WorkspaceId,
        key: str | None,
        fingerprint: bytes,
        render: Callable[[T], Any],
        now: datetime,
        status: int = 201,
    ) -> None:
        self._workspace = workspace
        self._key = key
        self._fingerprint = fingerprint
        self._render = render
        self._now = now
        self._status = status
        self.question = "" if key is None else hashlib.sha256(key.encode() + fingerprint).hexdigest()[:16]

    async def replay(self, database: Database) -> None:
        """Spare the work of reading a picture when the answer is known.

        Raises: Answered; Refusal `idempotency_key_reused` — the key was used for another question.
        """
        if self._key is not None:
            async with database.reading() as connection:
                self._compare(await idempotency.find(connection, self._workspace, self._key, self._now))

    async def begin(self, tx: Writing) -> None:
        """Take the right to answer, before anything is changed.

        Raises: as `replay`; Refusal `idempotency_key_in_use` — the same question is being answered now.
        """
        if self._key is None:
            return
        if not await idempotency.try_lock(tx, self._workspace, self._key):
            raise Refusal(
                "idempotency_key_in_use",
                "A request with this Idempotency-Key is being answered; ask again in a moment.",
            )
        self._compare(await idempotency.find(tx, self._workspace, self._key, self._now))

    async def keep(self, tx: Writing, result: T) -> None:
        """Remember the answer, after everything is changed."""
        if self._key is not None:
            answer = idempotency.Answer(self._fingerprint, self._status, self._render(result))
            await idempotency.insert(tx, self._workspace, self._key, answer, self._now)

    def _compare(self, answer: idempotency.Answer | None) -> None:
        if answer is None:
            return
        if answer.fingerprint != self._fingerprint:
            raise Refusal("idempotency_key_reused", "This Idempotency-Key was used for another request; use a new one.")
        raise Answered(answer.status, answer.body)
