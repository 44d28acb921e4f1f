"""Say when something is, as people say it: today, tomorrow, a day of the week, a date."""

from datetime import datetime

from app.domain.shifts import zone
from app.web.language import Language
from app.web.rendering import WORDS


def say_when(at: datetime, now: datetime, time_zone: str, language: Language) -> str:
    """Write an instant for somebody who reads it at `now`, on the clocks of a zone.

    Whoever does not read Chinese may well be elsewhere, so English names the zone.
    """
    words, local = WORDS[language], at.astimezone(zone(time_zone))
    ahead = (local.date() - now.astimezone(zone(time_zone)).date()).days
    form = {0: "today", 1: "tomorrow"}.get(ahead, "weekday" if 1 < ahead < 7 else "date")
    said = words[f"when_{form}"].format(
        time=f"{local:%H:%M}",
        weekday=words["weekdays"].split()[local.weekday()],
        month=local.month,
        day=f"{local.day}",
    )
    return f"{said} ({time_zone})" if language is Language.EN else said
