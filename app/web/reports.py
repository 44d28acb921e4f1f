"""Shape a report: as JSON, and as CSV for spreadsheets."""

import csv
import io
import re
from typing import Any, Final

from pydantic import BaseModel, Field

from app.services.reporting import CodeBy, Report, WorkspaceBy
from app.store.reports import MEASURES, Counts
from app.web.fields import ShownInstant
from app.web.schemas import example

# Excel takes a file without it for one in the encoding of the country.
_BOM: Final = "\ufeff"
# A cell that begins so is a formula to a spreadsheet. Those of full width are, too, where people type in Chinese.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_QUALITY: Final = re.compile(r"q=([01](?:\.\d{0,3})?)")

_COUNTS: Final = {
    "scans": 120, "visitors": 80, "claimed": 84, "returned": 21, "seen": 79, "released": 5, "fallback": 3, "full": 2,
    "limited": 0, "menu": 0, "option": 0, "preview": 8, "outside_wechat": 2, "turned_away": 0,
}  # fmt: skip
CSV_EXAMPLE: Final = ",".join(("key", "name", *_COUNTS)) + "\r\n2026-11-21,," + ",".join(map(str, _COUNTS.values()))


class _Keyed(BaseModel):
    key: str = Field(
        description="The instant an hour begins, a day of the workspace's calendar, an id, a number or a client; "
        "'' where what was counted has none."
    )
    name: str | None = Field(
        description="What people call it, for an hour its beginning on the workspace's clocks; null where they have no "
        "word for it."
    )


class StatsCounts(BaseModel):
    """What was counted. `scans` is the sum of `claimed`, `returned` and all from `fallback` on."""

    model_config = example(**_COUNTS)

    scans: int
    visitors: int = Field(description="People given a place for the first time; `claimed` has those again, too.")
    claimed: int = Field(description="Places given.")
    returned: int = Field(description="Came back to the place they had.")
    seen: int = Field(description="Places whose QR was loaded, or whose link was followed.")
    released: int = Field(description="Places that came back because nobody saw their QR.")
    fallback: int = Field(description="Nobody had room, and the code's fallback was shown.")
    full: int = Field(description="Nobody had room, and there was no fallback.")
    limited: int = Field(description="Too many new visitors from one network.")
    menu: int = Field(description="Shown the options of a menu.")
    option: int = Field(description="Chose an option of a menu.")
    preview: int = Field(description="Bots and prefetches.")
    outside_wechat: int = Field(description="Asked to open WeChat.")
    turned_away: int = Field(description="The code was disabled, not open yet, or over.")


class StatsRow(StatsCounts, _Keyed):
    """What was counted under one key."""

    model_config = example(key="2026-11-21", name=None, **_COUNTS)


class StatsOut(BaseModel):
    """What happened in whole hours of the workspace's time zone. The rows add up to `total`, whatever `by` is."""

    model_config = example(**{
        "from": "2026-11-20T16:00:00Z", "to": "2026-11-21T16:00:00Z", "by": "day",
        "time_zone": "Asia/Shanghai", "rows": [{"key": "2026-11-21", "name": None} | _COUNTS], "total": _COUNTS,
    })  # fmt: skip

    since: ShownInstant = Field(alias="from", description="The range that was counted, in whole hours.")
    until: ShownInstant = Field(alias="to", description="The first instant that is left out, whatever was asked for.")
    by: CodeBy | WorkspaceBy
    time_zone: str
    rows: list[StatsRow]
    total: StatsCounts

    @classmethod
    def of(cls, report: Report) -> "StatsOut":
        """Show a report."""
        return cls.model_validate(
            {
                "from": report.since,
                "to": report.until,
                "by": report.by,
                "time_zone": report.time_zone,
                "rows": [{"key": row.key, "name": row.name} | _named(row.counts) for row in report.rows],
                "total": _named(report.total),
            }
        )


def spell_csv(report: Report) -> str:
    """Spell the rows of a report as CSV (RFC 4180), after a line with their names.

    Shapes: begins with a byte order mark; what a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.StringIO(_BOM, newline="")
    text.seek(0, io.SEEK_END)
    lines = csv.writer(text)
    lines.writerow(("key", "name", *MEASURES))
    lines.writerows((_cell(row.key), _cell(row.name or ""), *row.counts) for row in report.rows)
    return text.getvalue()


def wants_csv(accept: str) -> bool:
    """Tell whether an `Accept` header likes CSV at least as well as JSON."""
    likes = {}
    for part in accept.lower().split(","):
        media_type, _, parameters = part.partition(";")
        quality = _QUALITY.search(parameters)
        likes[media_type.strip()] = float(quality[1]) if quality else 1.0
    csv_liked = likes.get("text/csv", 0.0)
    return csv_liked > 0 and csv_liked >= likes.get("application/json", 0.0)


def file_name(report: Report, code: str | None) -> str:
    """Name a file for a report; letters, digits, - and . only."""
    return f"stats-{code or 'workspace'}-by-{report.by}-{report.since:%Y%m%dT%H%M}-{report.until:%Y%m%dT%H%M}.csv"


def _named(counts: Counts) -> dict[str, Any]:
    return dict(zip(MEASURES, counts, strict=True))


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
