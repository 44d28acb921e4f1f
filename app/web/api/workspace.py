"""Routes of the workspace (工作区) that a key belongs to. There is no way to name another."""

from fastapi import APIRouter, Response

from app.web.answers import WorkspaceOut
from app.web.api.asking import Administering, Context, IfMatch, Reading, tag
from app.web.api.docs import problems
from app.web.schemas import WorkspaceChange

router = APIRouter(prefix="/workspace", tags=["workspace"])


@router.get("", summary="Read the workspace", responses=problems())
async def get_workspace(context: Context, caller: Reading, response: Response) -> WorkspaceOut:
    """Read the name, the time zone and the defaults of the workspace."""
    workspace = await context.workspaces.read(caller.workspace)
    tag(response, workspace.version)
    return WorkspaceOut.of(workspace)


@router.patch(
    "",
    summary="Change the workspace",
    responses=problems("bad_time_zone", "too_many_zone_changes", "changed_meanwhile", "body", "counters_away"),
)
async def change_workspace(
    body: WorkspaceChange, context: Context, caller: Administering, seen: IfMatch, response: Response
) -> WorkspaceOut:
    """Change the workspace. A new time zone is an edit of every open code; defaults are for targets yet to come."""
    workspace = await context.workspaces.change(caller.workspace, body.values(), context.clock(), seen)
    tag(response, workspace.version)
    return WorkspaceOut.of(workspace)
