"""Keep live codes (活码): make them, change them, close them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.code import CodeId, CodeKind, Fallback, Slug, Strategy, WorkspaceId
from app.domain.errors import Refusal
from app.services.editing import SLUG_TRIES, Editing, Versions, chosen_slug, make_slug, new_id, slug_taken
from app.services.leading import check_fallback
from app.services.once import Once
from app.services.uploading import accept_fallback
from app.store import codes, edges, workspaces
from app.store.codes import CodeRecord
from app.store.database import Writing


@dataclass(frozen=True, slots=True)
class CodeDraft:
    """Hold what a marketer says about a new code."""

    name: str
    kind: CodeKind
    strategy: Strategy
    slug: str | None
    hold_seconds: int
    sticky_days: int
    wechat_only: bool | None
    landing_title: str | None
    landing_notice: str | None
    fallback: Fallback | None
    disabled: bool
    opens_at: datetime | None
    closes_at: datetime | None
    new_seats_per_minute: int
    pass_query: bool


class CodeEditor:
    """Create, change and close codes."""

    def __init__(self, editing: Editing, public_url: str) -> None:
        self._editing = editing
        self._public_url = public_url

    async def create(
        self, workspace: WorkspaceId, draft: CodeDraft, now: datetime, once: Once[CodeRecord]
    ) -> CodeRecord:
        """Create a code, under the slug it asks for or one of our own.

        Raises: Refusal `bad_slug`, `reserved_slug`, `slug_taken`, as `accept_fallback`, `check_fallback` and
        `check_access`; StoreAway; CountersAway — nothing was made.
        """
        if draft.fallback is not None:
            draft = replace(draft, fallback=accept_fallback(draft.fallback, self._public_url))
        for _ in range(SLUG_TRIES):
            slug = make_slug() if draft.slug is None else chosen_slug(draft.slug)
            code = _new_code(workspace, draft, slug, now)
            check_access(code)
            if await self._insert(code, once):
                break
            if draft.slug is not None:
                raise slug_taken()
        else:
            raise RuntimeError("every slug that was drawn is taken")
        await self._editing.introduce(code.id)
        if draft.slug is not None:
            await self._editing.announce_slug()
        return code

    async def change(
        self, workspace: WorkspaceId, code: CodeId, values: Mapping[str, object], now: datetime, seen: Versions
    ) -> CodeRecord:
        """Change what a marketer may change of a code.

        Raises: as `Editing.edit`, `accept_fallback`, `check_fallback` and `check_access`.
        """
        fallback = values.get("fallback")
        if isinstance(fallback, Fallback):
            values = {**values, "fallback": accept_fallback(fallback, self._public_url)}

        async def lock(tx: Writing) -> CodeRecord | None:
            if _leads_on(fallback):
                await edges.lock(tx, workspace)
            return await codes.lock(tx, workspace, code)

        async with self._editing.edit(workspace, lock, now, seen=seen, values=values) as edit:
            check_access(edit.code)
            if "fallback" in values:
                await check_fallback(edit.tx, edit.code)
            return edit.code

    async def close(self, workspace: WorkspaceId, code: CodeId, now: datetime, seen: Versions) -> None:
        """Close a code for good: its print answers 410, and its slug is never given again.

        Raises: as `Editing.edit`.
        """
        await self.change(workspace, code, {"closed_at": now}, now, seen)

    async def _insert(self, code: CodeRecord, once: Once[CodeRecord]) -> bool:
        with suppress(_SlugTaken):
            async with self._editing.database.editing(code.workspace_id) as tx:
                await once.begin(tx)
                # A change of the zone is an edit of all codes there are: this one is among them, or made after it.
                await workspaces.share(tx, code.workspace_id)
                if _leads_on(code.fallback):
                    await edges.lock(tx, code.workspace_id)
                if not await codes.insert(tx, code):
                    raise _SlugTaken
                await check_fallback(tx, code)
                await once.keep(tx, code)
                await self._editing.print_slug(tx, code.slug, code.workspace_id, code.id)
            return True
        return False


class _SlugTaken(Exception):  # noqa: N818  # It undoes a transaction and is seen nowhere else.
    """Leave a transaction without a trace."""


def check_access(code: CodeRecord) -> None:
    """Insist that what is said about who may come in, and with what, can be.

    Raises: Refusal `bad_window`, `only_for_links`.
    """
    if code.opens_at is not None and code.closes_at is not None and code.opens_at >= code.closes_at:
        raise Refusal(
            "bad_window", "The code would close before it opens; closes_at must be after opens_at.", "closes_at"
        )
    if code.pass_query and code.kind is not CodeKind.LINK:
        raise Refusal("only_for_links", "Only link codes can hand a query on.", "pass_query")


def _leads_on(fallback: object) -> bool:
    return isinstance(fallback, Fallback) and fallback.code is not None


def _new_code(workspace: WorkspaceId, draft: CodeDraft, slug: Slug, now: datetime) -> CodeRecord:
    return CodeRecord(
        id=CodeId(new_id(now)),
        workspace_id=workspace,
        name=draft.name,
        kind=draft.kind,
        strategy=draft.strategy,
        slug=slug,
        hold_seconds=draft.hold_seconds,
        sticky_days=draft.sticky_days,
        wechat_only=draft.wechat_only,
        landing_title=draft.landing_title,
        landing_notice=draft.landing_notice,
        fallback=draft.fallback,
        disabled=draft.disabled,
        opens_at=draft.opens_at,
        closes_at=draft.closes_at,
        new_seats_per_minute=draft.new_seats_per_minute,
        pass_query=draft.pass_query,
        version=1,
        created_at=now,
        updated_at=now,
        closed_at=None,
    )
