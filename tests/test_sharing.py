"""Turns are shared out among owners, whatever one of them asks for."""

import asyncio
from collections.abc import Sequence

import pytest

from app.domain.errors import Refusal
from app.sharing import Shares


def full() -> Refusal:
    return Refusal("too_many_edits", "Too many wait.")


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


class Owners:
    """Be owners that take turns, each of which lasts until it is ended."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.served: list[str] = []
        self.ending: list[asyncio.Event] = []

    async def _turn(self, owner: str) -> None:
        async with self.shares.turn(owner):
            self.served.append(owner)
            end = asyncio.Event()
            self.ending.append(end)
            await end.wait()

    async def ask(self, owners: Sequence[str]) -> list["asyncio.Task[None]"]:
        tasks = [asyncio.create_task(self._turn(owner)) for owner in owners]
        await settled()
        return tasks

    async def end_one(self) -> None:
        self.ending.pop(0).set()
        await settled()


async def test_an_owner_who_comes_late_is_served_with_the_next_turn() -> None:
    owners = Owners(Shares(1, 1, full, waiting_each=8, waiting_all=16))
    tasks = await owners.ask("aaaaa") + await owners.ask("b")
    for _ in range(6):
        await owners.end_one()
    await asyncio.gather(*tasks)
    assert owners.served == list("abaaaa")


async def test_one_owner_holds_no_more_than_its_share() -> None:
    owners = Owners(Shares(4, 2, full, waiting_each=8, waiting_all=16))
    tasks = await owners.ask("aaaabc")
    assert owners.served == list("aabc")
    await owners.end_one()
    assert owners.served == list("aabca")
    for _ in range(5):
        await owners.end_one()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(("asked", "refused"), [("aaaaa", "a"), ("abcdef", "f")])
async def test_only_so_many_wait(asked: str, refused: str) -> None:
    owners = Owners(Shares(1, 1, full, waiting_each=3, waiting_all=4))
    tasks = await owners.ask(asked)
    with pytest.raises(Refusal):
        await tasks[-1]
    assert asked[-1] == refused
    for _ in tasks[:-1]:
        await owners.end_one()
    await asyncio.gather(*tasks[:-1])


async def test_who_waits_too_long_is_refused_and_leaves_the_line() -> None:
    owners = Owners(Shares(1, 1, full, waiting_each=3, waiting_all=4, seconds=0.05))
    held, late = await owners.ask("ab")
    with pytest.raises(Refusal):
        await late
    assert owners.shares.waiting == 0
    await owners.end_one()
    await held


async def test_a_turn_that_was_given_to_who_is_cancelled_goes_to_the_next() -> None:
    owners = Owners(Shares(1, 1, full, waiting_each=3, waiting_all=4))
    first, second, third = await owners.ask("abc")
    owners.ending.pop(0).set()
    second.cancel()
    await settled()
    assert owners.served == ["a", "c"]
    await owners.end_one()
    await asyncio.gather(first, third)
    assert owners.shares.waiting == 0
    tasks = await owners.ask("d")
    assert owners.served == ["a", "c", "d"], "no turn was lost"
    await owners.end_one()
    await asyncio.gather(*tasks)
