"""Find what events name and the record does not have, where no foreign key would: events that move no total."""

from typing import Any, Final

from app.domain.code import WorkspaceId
from app.domain.tally import Tally


async def first_lacking(driver: Any, workspace: WorkspaceId, tally: Tally) -> str | None:
    """Name one code or target of some events that the record lacks; None when it has all of them.

    A target whose places moved is left out, and so is its code: `target_totals` has a foreign key to it.
    Cost: one query by primary key, on as many rows as codes and targets are named by events that moved nothing.
    """
    moved = tally.moves.targets
    codes = {code for code, _ in tally.named if code} - {move.code for move in moved.values()}
    targets = {target for _, target in tally.named if target} - moved.keys()
    if not codes and not targets:
        return None
    found = await driver.fetchval(_LACKING, workspace, list(codes), list(targets))
    return None if found is None else str(found)


_LACKING: Final = """
    select 'code ' || m.id from unnest($2::text[]) as m (id)
    where not exists (select from codes as c where c.id = m.id and c.workspace_id = $1)
    union all
    select 'target ' || m.id from unnest($3::text[]) as m (id)
    where not exists (select from targets as t where t.id = m.id and t.workspace_id = $1)
    limit 1
"""
