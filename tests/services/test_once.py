"""A repeat that arrives while its first request is being answered is answered as that one was."""

from typing import Any

import pytest

from app.domain.errors import Refusal
from app.domain.workspace import Workspace
from app.services.once import Answered, Once
from app.store.database import Database
from tests.conftest import Clock


def asked(workspace: Workspace, clock: Clock, fingerprint: bytes) -> Once[dict[str, Any]]:
    return Once(workspace.id, "order-4711", fingerprint, lambda made: made, clock())


async def test_an_answer_that_was_written_after_the_first_look_is_given_again(
    database: Database, workspace: Workspace, clock: Clock
) -> None:
    first, repeat, other = (asked(workspace, clock, fingerprint) for fingerprint in (b"same", b"same", b"other"))
    for once in (first, repeat, other):
        await once.replay(database)
    async with database.writing() as tx:
        await first.begin(tx)
        await first.keep(tx, {"id": "made once"})

    with pytest.raises(Answered) as answered:
        async with database.writing() as tx:
            await repeat.begin(tx)
    assert answered.value.body == {"id": "made once"}
    with pytest.raises(Refusal) as refusal:
        async with database.writing() as tx:
            await other.begin(tx)
    assert refusal.value.code == "idempotency_key_reused"
