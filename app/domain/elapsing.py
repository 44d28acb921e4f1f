"""Judge how long something lasts by a clock that may be set back.

Law: what was to last for a minute never lasts for an hour since the clock was an hour ahead when it began.
"""

from datetime import datetime, timedelta
from typing import Final

# By less, the time of a process may go back whenever it hears of the servers' clocks.
STEP: Final = timedelta(seconds=1)


def lasts(since: datetime, now: datetime, span: timedelta) -> bool:
    """Return whether a span that began at `since` goes on; not so once the clock was set back behind its beginning."""
    return now < since + span and not was_set_back(since, now)


def was_set_back(before: datetime, now: datetime) -> bool:
    """Return whether the clock was set back since it showed `before`."""
    return now < before - STEP
