"""Say what a field of a request may hold. Bounds come from `domain/limits.py`; what passes here is safe to store."""

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.domain import ids, limits
from app.domain.hours import in_utc
from app.domain.placement import Allowance

# Overrides of writing direction: a name that holds one is read as another name.
_DIRECTION: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# These two turn what follows around, and are no remains of copying.
_OVERRIDES: Final = frozenset("\u202d\u202e")
# Control characters, lone surrogates, line and paragraph separators.
_FORBIDDEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LOST_PLUS: Final = re.compile(r"(T.+) ([0-9]{2}:?[0-9]{2})$")


def _bare(text: Any) -> Any:
    """Take away what copying leaves around a text unseen: blanks, byte order marks, joiners, marks of direction."""
    if not isinstance(text, str):
        return text
    seen = [at for at, c in enumerate(text) if not c.isspace() and (unicodedata.category(c) != "Cf" or c in _OVERRIDES)]
    return text[seen[0] : seen[-1] + 1] if seen else text.strip()


def _clean(text: Any, allowed: str = "") -> Any:
    if not isinstance(text, str):
        return text
    text = _bare(text)
    if any(c not in allowed and (unicodedata.category(c) in _FORBIDDEN or c in _DIRECTION) for c in text):
        raise PydanticCustomError("bad_characters", "Control characters are not allowed")
    if text and all(unicodedata.category(c) == "Cf" or c.isspace() for c in text):
        raise PydanticCustomError("bad_characters", "Nothing of this text is visible")
    return text


def _chosen(text: Any) -> Any:
    if isinstance(text, str) and any(unicodedata.category(c) == "Cs" for c in text):
        raise PydanticCustomError("bad_characters", "Half a character is none")
    return _bare(text)


def _caption(text: Any) -> Any:
    """Clean a text that is drawn: accents become part of their letters, and several blanks one, as in an SVG."""
    text = _clean(text)
    return re.sub(" +", " ", unicodedata.normalize("NFC", text)) if isinstance(text, str) else text


def _clean_lines(text: Any) -> Any:
    return _clean(text.replace("\r\n", "\n") if isinstance(text, str) else text, "\n\t")


def _instant(value: Any) -> datetime:
    """Read RFC 3339 with an offset; numbers and local times are refused, since they are read in more than one way."""
    try:
        moment = datetime.fromisoformat(value)
        # Years that no zone and no day more can push out of the calendar.
        if moment.tzinfo is not None and limits.YEAR_MIN <= moment.year <= limits.YEAR_MAX:
            return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise PydanticCustomError("bad_instant", "Give a date and time with an offset, such as 2026-12-01T10:00:00+08:00")


def _asked_instant(value: Any) -> datetime:
    """Read an instant out of a query, where a + that nobody escaped has arrived as a space."""
    return _instant(_LOST_PLUS.sub(r"\1+\2", value) if isinstance(value, str) else value)


def _moment(value: Any) -> date | datetime:
    """Read a date, or an instant as above; a + that nobody escaped has arrived as a space."""
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            moment: date | datetime = date.fromisoformat(value)
        else:
            moment = _asked_instant(value)
        if limits.YEAR_MIN <= moment.year <= limits.YEAR_MAX:
            return moment
    except ValueError:
        pass
    raise PydanticCustomError("bad_moment", "Give a date such as 2026-11-22, or an instant with an offset")


Name = Annotated[str, BeforeValidator(_clean), Field(min_length=1, max_length=limits.NAME_LENGTH)]
Title = Annotated[str, BeforeValidator(_clean), Field(min_length=1, max_length=limits.NAME_LENGTH)]
Notice = Annotated[str, BeforeValidator(_clean_lines), Field(min_length=1, max_length=limits.NOTICE_LENGTH)]
Caption = Annotated[str, BeforeValidator(_caption), Field(max_length=limits.CAPTION_LENGTH)]
Chosen = Annotated[str, BeforeValidator(_chosen), Field(max_length=100)]
Payload = Annotated[str, BeforeValidator(_clean), Field(min_length=1, max_length=limits.QR_PAYLOAD_LENGTH)]
Link = Annotated[str, BeforeValidator(_clean), Field(min_length=1, max_length=limits.LINK_LENGTH)]
Id = Annotated[str, Field(pattern=ids.PATTERN)]
Instant = Annotated[
    datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation")
]
# What both APIs give: always in UTC, so that instants can be compared as texts.
ShownInstant = Annotated[
    datetime,
    PlainSerializer(in_utc, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": "Z$"}, mode="serialization"),
]
StatsMoment = Annotated[
    date | datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string"}, mode="validation")
]
AskedInstant = Annotated[
    datetime,
    BeforeValidator(_asked_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation"),
]

Allowed = Annotated[
    list[Allowance],
    # Without an example: the page would choose it, and so override a refusal that was not read.
    Field(max_length=len(Allowance), description="Refusals that you override, by their code."),
]
Flag = Annotated[bool, Field(strict=True)]
HoldSeconds = Annotated[int, Field(strict=True, ge=limits.HOLD_SECONDS_MIN, le=limits.HOLD_SECONDS_MAX)]
StickyDays = Annotated[int, Field(strict=True, ge=0, le=limits.STICKY_DAYS_MAX)]
Places = Annotated[int, Field(strict=True, ge=0, le=limits.MEMBER_LIMIT_MAX)]
Adds = Annotated[int, Field(strict=True, ge=0, le=limits.DAILY_CAP_MAX)]
Weight = Annotated[int, Field(strict=True, ge=1, le=limits.WEIGHT_MAX)]
Position = Annotated[int, Field(strict=True, ge=0, le=limits.POSITION_MAX)]
SeatsPerMinute = Annotated[int, Field(strict=True, ge=0, le=limits.NEW_SEATS_PER_MINUTE_MAX)]
OptionNumber = Annotated[int, Field(strict=True, ge=1, le=limits.OPTION_NUMBER_MAX)]
ChannelState = Annotated[str, BeforeValidator(_clean), Field(min_length=1, max_length=limits.CHANNEL_STATE_LENGTH)]
MarginSeconds = Annotated[int, Field(strict=True, ge=0, le=limits.EXPIRY_MARGIN_SECONDS_MAX)]
