"""Turn what a marketer uploads (上传) into a QR: a picture is read, a payload classified."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from app.domain import limits
from app.domain.errors import Refusal, UploadRefusal
from app.domain.expiry import natural_expiry
from app.domain.payload import TargetKind, classify
from app.domain.workspace import Workspace
from app.qr.reader import Reader


@dataclass(frozen=True, slots=True)
class Qr:
    """Hold one QR that leads somewhere; `printed_on` and `name` are what a picture said around it."""

    payload: str
    kind: TargetKind
    printed_on: date | None = None
    name: str | None = None
    picture: bytes | None = None
    picture_media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Hold what was uploaded: exactly one of a picture, the text of a QR, or a link."""

    image: bytes | None = None
    payload: str | None = None
    url: str | None = None


async def read_source(reader: Reader, source: Source, workspace: Workspace, now: datetime) -> Qr:
    """Read whatever was uploaded.

    Raises: UploadRefusal — every code that one can have; Refusal `url_not_for_group`.
    """
    if source.image is None:
        return qr_of_text(source)
    day = now.astimezone(ZoneInfo(workspace.time_zone)).date()
    try:
        seen = await reader.read(source.image, day)
    except UploadRefusal as refusal:
        raise UploadRefusal(refusal.code, refusal.detail, "image") from refusal
    name = _one_line(seen.name)
    qr = Qr(seen.payload, seen.kind, seen.expires_on, name, seen.picture, seen.picture_media_type)
    return _checked(qr, "image")


def qr_of_text(source: Source) -> Qr:
    """Classify an uploaded text; a picture is none.

    Raises: as `read_source`.
    """
    if source.payload is None:
        raise Refusal("url_not_for_group", "A group code shows QR codes; give an image or a payload instead.", "url")
    try:
        return _checked(Qr(source.payload, classify(source.payload)), "payload")
    except UploadRefusal as refusal:
        raise UploadRefusal(refusal.code, refusal.detail, "payload") from refusal


def expiry_of(qr: Qr, workspace: Workspace, now: datetime) -> datetime | None:
    """Tell when a QR uploaded now dies by itself; None when nothing says that it does."""
    margin = timedelta(seconds=workspace.defaults.expiry_margin_seconds)
    return natural_expiry(qr.kind, now, qr.printed_on, ZoneInfo(workspace.time_zone), margin)


def _checked(qr: Qr, where: str) -> Qr:
    if len(qr.payload) > limits.QR_PAYLOAD_LENGTH:
        raise UploadRefusal("unsupported_qr_kind", "The text of this QR code is longer than any real one.", where)
    return qr


def _one_line(name: str | None) -> str | None:
    """Keep of a name read from a picture what a marketer could have typed."""
    text = "".join(c for c in name or "" if c.isprintable()).strip()
    return text[: limits.NAME_LENGTH].strip() or None
