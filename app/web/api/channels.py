"""Routes of channels (渠道): where a code is printed."""

from fastapi import APIRouter, Response

from app.services.once import Once
from app.services.printing import Printer
from app.store.channels import ChannelRecord
from app.web.api.asking import CodePath, Context, IfMatch, NumberPath, Reading, Repeating, Writing, tag
from app.web.api.docs import problems
from app.web.api.prints import add_prints
from app.web.code_answers import ChannelOut, ChannelsOut
from app.web.code_schemas import ChannelChange, NewChannel

router = APIRouter(prefix="/codes/{code_id}/channels", tags=["channels"])


@router.post(
    "",
    status_code=201,
    summary="Make a channel",
    responses=problems(
        "not_found", "closed", "bad_slug", "reserved_slug", "slug_taken", "too_many_channels", "body", "idempotency",
        "counters_away",
    ),
)  # fmt: skip
async def create_channel(
    code_id: CodePath, body: NewChannel, context: Context, caller: Writing, ask: Repeating
) -> ChannelOut:
    """Make a channel: a place where the code is printed under a slug of its own. All channels share the code's targets.

    Its slug never changes and is never given again, not even after the channel was removed.
    """
    once: Once[ChannelRecord] = await ask.once(
        body.model_dump(mode="json"), lambda made: ChannelOut.of(made, context.printer).model_dump(mode="json")
    )
    made = await context.channels.create(caller.workspace, code_id, body.draft(), context.clock(), once)
    return ChannelOut.of(made, context.printer)


@router.get("", summary="List the channels of a code", responses=problems("not_found"))
async def list_channels(code_id: CodePath, context: Context, caller: Reading, response: Response) -> ChannelsOut:
    """List all channels of a code by their numbers. The ETag is that of the code."""
    code, found = await context.channels.list_all(caller.workspace, code_id)
    tag(response, code.version)
    return ChannelsOut(items=[ChannelOut.of(channel, context.printer) for channel in found])


@router.patch(
    "/{number}",
    summary="Change a channel",
    responses=problems("not_found", "closed", "changed_meanwhile", "body", "counters_away"),
)
async def change_channel(
    code_id: CodePath,
    number: NumberPath,
    body: ChannelChange,
    context: Context,
    caller: Writing,
    seen: IfMatch,
    response: Response,
) -> ChannelOut:
    """Change the name or the state of a channel. The ETag is that of the code."""
    code, channel = await context.channels.change(
        caller.workspace, code_id, number, body.values(), context.clock(), seen
    )
    tag(response, code.version)
    return ChannelOut.of(channel, context.printer)


@router.delete(
    "/{number}",
    status_code=204,
    summary="Remove a channel",
    responses=problems("not_found", "closed", "changed_meanwhile", "counters_away"),
)
async def remove_channel(
    code_id: CodePath, number: NumberPath, context: Context, caller: Writing, seen: IfMatch
) -> None:
    """Remove a channel for good: its print answers 410 from the next scan on."""
    await context.channels.remove(caller.workspace, code_id, number, context.clock(), seen)


add_prints(router, "a channel", "the channel's URL", Printer.draw_channel)
