"""Spell every Redis key. The only file that does.

All keys of one workspace carry `{workspace}`, a hash tag: Redis Cluster puts them into one slot, so that one script may
touch them together.
"""

import re
from functools import lru_cache
from typing import Final

from app.domain.code import CodeId, Slug, WorkspaceId

# The field of `adds` that counts what was given back; no account is called so.
FREED = ":freed"

# What is known of all slugs: a hash and two strings. The tag is no workspace's, and keeps the three in one slot.
# The hash: life (of the server in which the sieve was made), size (bits), slugs (about as many as are in it), made (how
# often a chosen slug was made), and draft, draft_size, draft_life of one that is being made.
SIEVE_HEAD = "huoma:{slugs}:head"
# The bits by which slugs that were made are told from most that never were.
SIEVE = "huoma:{slugs}:sieve"
# The sieve that is being made; kept a minute without news.
SIEVE_DRAFT = "huoma:{slugs}:draft"

# How long the owner of a new slug is kept. A failover loses the last commits, and a restored dump is younger.
SLUG_OWNED_SECONDS: Final = 30 * 86_400

# The set of workspaces in which something happened lately: a hint for workers, which look at these often.
ACTIVE = "huoma:{active}:workspaces"
# The set of workspaces that the record did not have when their events were to be recorded: a hint for those who watch
# what stands aside, since nothing else names such a workspace.
LACKING = "huoma:{active}:lacking"

# Matches the meta of every code that is in Redis; `META` reads workspace and code out of one.
METAS = "huoma:{*}:code:*:meta"
META: Final = re.compile(r"huoma:\{(.+)\}:code:(.+):meta")
# Matches what belongs to a workspace; `STREAM` reads the workspace out of the name of a stream.
WORKSPACES = "huoma:{*}:*"
STREAM: Final = re.compile(r"huoma:\{(.+)\}:(?:events|unreadable)")


def probe(number: int) -> str:
    """Name the key that is written and deleted at once to see whether Redis permits it; one number for each master."""
    return f"huoma:{{probe-{number}}}:probe"


def slug_owner(slug: Slug) -> str:
    """Name the string of a workspace and a code, a blank between: for which a slug was made, in whatever case.

    Kept 30 days.
    """
    return f"huoma:{{slugs}}:owner:{slug.lower()}"


def events(workspace: WorkspaceId) -> str:
    """Name the stream of what happened, in order; fields `now` (ms) and `events`, one a line."""
    return f"huoma:{{{workspace}}}:events"


def unreadable(workspace: WorkspaceId) -> str:
    """Name the stream of entries that could not be recorded (dead letters); never trimmed.

    Fields as in `events`; also `entry`, where it stands under another name than in the stream, and `lines`, the numbers
    of the lines that are left when the record has the others.
    """
    return f"huoma:{{{workspace}}}:unreadable"


def epoch(workspace: WorkspaceId) -> str:
    """Name the string that names this life of the stream; gone when Redis has lost it."""
    return f"huoma:{{{workspace}}}:epoch"


def eras(workspace: WorkspaceId) -> str:
    """Name the string of the eras (as `CapDays` names them) whose local days may have adds, blanks between.

    Gone while the time zone was never changed.
    """
    return f"huoma:{{{workspace}}}:eras"


def recorded(workspace: WorkspaceId) -> str:
    """Name the string of two entries, a blank between: from where to where the record last moved, or was about to."""
    return f"huoma:{{{workspace}}}:recorded"


def adds(workspace: WorkspaceId, day: int) -> str:
    """Name the hash account → adds on one local day (as `CapDays` numbers it), `:freed` → adds given back.

    Kept three days.
    """
    return f"huoma:{{{workspace}}}:adds:{day}"


def freed(workspace: WorkspaceId, day: int) -> str:
    """Name the sorted set of the accounts last given an add back on one local day, by its number that day.

    Kept three days, the last thousand.
    """
    return f"huoma:{{{workspace}}}:freed:{day}"


def due(workspace: WorkspaceId) -> str:
    """Name the sorted set of codes by the deadline (ms) of their first open hold."""
    return f"huoma:{{{workspace}}}:due"


def meta(workspace: WorkspaceId, code: CodeId) -> str:
    """Name the hash: state (version, or `!` and a mark while an edit runs), seats, base, seq, floor.

    Also rest (the last attempt to let the code rest) and, when its counters were thrown away, dropped.
    """
    return f"huoma:{{{workspace}}}:code:{code}:meta"


def code_keys(workspace: WorkspaceId, code: CodeId) -> tuple[str, str, str, str, str]:
    """Name what one code's counters are kept in: meta, counts, holds, seen, reopened.

    Shapes: counts is a hash target → places taken and `target:held` → those of them only
    held, `target:members` → the head count last reported,
    `target:question` → which request reported it; holds a sorted set
    seat → deadline (ms); seen a bitmap by seat number above `base`; reopened a sorted set target → seq.
    """
    stem = f"huoma:{{{workspace}}}:code:{code}:"
    return stem + "meta", stem + "counts", stem + "holds", stem + "seen", stem + "reopened"


def news(workspace: WorkspaceId, code: CodeId, minute: int) -> str:
    """Name the hash network → seats newly given in one minute (so many since 1970); kept two minutes."""
    return f"huoma:{{{workspace}}}:code:{code}:news:{minute}"


def shares(workspace: WorkspaceId, hour: int) -> str:
    """Name the hash `network.account` → adds that a network took in one hour (so many since 1970); kept two hours.

    Shapes: only accounts of which one network may take no more than a share.
    """
    return f"huoma:{{{workspace}}}:shares:{hour}"


@lru_cache(maxsize=1024)
def shared_keys(workspace: WorkspaceId, day: int, hour: int) -> tuple[str, ...]:
    """Name what all scans of a workspace share on a local day and in an hour.

    Shapes: events, adds of the day and of the day before, due, freed, shares.
    """
    before = adds(workspace, day - 1)
    return (
        events(workspace),
        adds(workspace, day),
        before,
        due(workspace),
        freed(workspace, day),
        shares(workspace, hour),
    )


@lru_cache(maxsize=4096)
def scanned_keys(workspace: WorkspaceId, code: CodeId, minute: int) -> tuple[str, ...]:
    """Name what scans of one code touch in one minute: `code_keys` and `news`."""
    return *code_keys(workspace, code), news(workspace, code, minute)
