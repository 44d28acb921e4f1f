"""Keep the channels (渠道) of codes: named places where a code is printed, each with a slug of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain import limits
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import Refusal
from app.services.editing import (
    SLUG_TRIES,
    Edit,
    Editing,
    Versions,
    chosen_slug,
    make_slug,
    not_found,
    slug_taken,
)
from app.services.once import Once
from app.store import channels, codes
from app.store.channels import ChannelRecord
from app.store.codes import CodeRecord


@dataclass(frozen=True, slots=True)
class ChannelDraft:
    """Hold what a marketer says about a new channel."""

    name: str
    slug: str | None = None
    state: str | None = None


class ChannelKeeper:
    """Make, show, change and remove channels. Each is an edit of its code, so that the next scan knows it."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def create(
        self, workspace: WorkspaceId, code: CodeId, draft: ChannelDraft, now: datetime, once: Once[ChannelRecord]
    ) -> ChannelRecord:
        """Make a channel, under the slug it asks for or one of our own.

        Raises: as `Editing.edit`; Refusal `bad_slug`, `reserved_slug`, `slug_taken`, `too_many_channels`.
        """
        slug = make_slug() if draft.slug is None else chosen_slug(draft.slug)
        async with self._editing.edit(workspace, lambda tx: codes.lock(tx, workspace, code), now, once=once) as edit:
            there = await channels.measure(edit.tx, workspace, code)
            if there.count >= limits.CHANNELS_PER_CODE or there.last >= limits.OPTION_NUMBER_MAX:
                raise Refusal("too_many_channels", f"A code has at most {limits.CHANNELS_PER_CODE} channels.")
            number = there.last + 1
            channel = ChannelRecord(code, workspace, number, draft.name, draft.state, slug, now)
            channel = await _insert(edit, channel, drawn=draft.slug is None)
            await once.keep(edit.tx, channel)
            await self._editing.print_slug(edit.tx, channel.slug, workspace, code)
        if draft.slug is not None:
            await self._editing.announce_slug()
        return channel

    async def list_all(self, workspace: WorkspaceId, code: CodeId) -> tuple[CodeRecord, list[ChannelRecord]]:
        """Show the channels of a code, and the code, in a version no newer than they are.

        Raises: Refusal `not_found`; StoreAway.
        """
        async with self._editing.database.viewing(workspace) as connection:
            found = await codes.find(connection, workspace, code)
            if found is None:
                raise not_found()
            return found, await channels.list_all(connection, workspace, code)

    async def change(
        self,
        workspace: WorkspaceId,
        code: CodeId,
        number: int,
        values: Mapping[str, object],
        now: datetime,
        seen: Versions,
    ) -> tuple[CodeRecord, ChannelRecord]:
        """Change the name or the state of a channel; answer with its code, too, whose version counts the edit.

        Raises: as `Editing.edit`.
        """
        async with self._editing.edit(workspace, lambda tx: codes.lock(tx, workspace, code), now, seen=seen) as edit:
            channel = await _there(edit, number)
            await channels.update(edit.tx, channel, values)
            return edit.code, await _there(edit, number)

    async def remove(self, workspace: WorkspaceId, code: CodeId, number: int, now: datetime, seen: Versions) -> None:
        """Remove a channel: its print leads nowhere from the next scan on, and its slug is never given again.

        Raises: as `Editing.edit`.
        """
        async with self._editing.edit(workspace, lambda tx: codes.lock(tx, workspace, code), now, seen=seen) as edit:
            await channels.update(edit.tx, await _there(edit, number), {"removed_at": now})


async def _insert(edit: Edit, channel: ChannelRecord, *, drawn: bool) -> ChannelRecord:
    for _ in range(SLUG_TRIES):
        if await channels.insert(edit.tx, channel):
            return channel
        if not drawn:
            raise slug_taken()
        channel = replace(channel, slug=make_slug())
    raise RuntimeError("every slug that was drawn is taken")


async def _there(edit: Edit, number: int) -> ChannelRecord:
    found = await channels.find(edit.tx, edit.code.workspace_id, edit.code.id, number)
    if found is None:
        raise not_found()
    return found
