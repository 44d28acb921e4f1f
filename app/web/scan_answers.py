"""Shape the answer in JSON to a scan. `web/outcomes.py` writes it, and the OpenAPI document is read from here.

Law: plain dictionaries that mypy checks where they are written; nothing of pydantic runs in a scan.
"""

from typing import Annotated

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from app.domain.code import CodeKind
from app.domain.openings import Shortage
from app.domain.payload import TargetKind

_EXACT = with_config(ConfigDict(extra="forbid"))
SpeltInstant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time", "pattern": "Z$"})]


@_EXACT
class ScanCodeOut(TypedDict):
    """The code that answered: where a fallback or an option leads to another code, that one."""

    name: str
    kind: CodeKind


@_EXACT
class ScanTargetOut(TypedDict):
    """The group, person or link that the visitor was given."""

    id: str
    name: str
    kind: TargetKind
    expires_at: SpeltInstant | None


@_EXACT
class ScanOptionOut(TypedDict):
    """One choice of a menu. `url` is asked as the first address was."""

    label: str
    hint: str | None
    url: str


@_EXACT
class ScanOut(TypedDict):
    """What a scan ends with. Every field is always there."""

    outcome: Annotated[str, Field(description="What happened; the header `X-Huoma-Outcome` says the same.")]
    code: Annotated[ScanCodeOut | None, Field(description="null for `unknown`, `closed` and `unavailable`.")]
    target: Annotated[ScanTargetOut | None, Field(description="What was given; null when there is no place.")]
    qr_image: Annotated[
        str | None,
        Field(
            description="The picture to show. Loading it makes the place the visitor's, so load it when it is shown, "
            "and within the code's `hold_seconds` of this answer; later, ask again."
        ),
    ]
    url: Annotated[str | None, Field(description="Where a link leads; then there is no picture.")]
    message: Annotated[str | None, Field(description="What the marketer says beside the picture of a fallback.")]
    reason: Annotated[Shortage | None, Field(description="Why a code is `full`.")]
    opens_at: Annotated[
        SpeltInstant | None, Field(description="When a `full` or `not_open` code next gives something, if known.")
    ]
    seat: Annotated[
        str | None,
        Field(description="The place, signed. Keep it, and send it as `X-Huoma-Seat` with the next request."),
    ]
    options: Annotated[list[ScanOptionOut], Field(description="The choices of a menu, in order; else empty.")]
