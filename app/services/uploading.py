"""Turn what a marketer uploads (上传) into a QR: a picture is read, a payload classified, a link checked."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from app.domain import limits
from app.domain.code import CodeKind, Fallback, Origin
from app.domain.errors import Refusal, UploadRefusal
from app.domain.expiry import check_expiry, natural_expiry
from app.domain.payload import (
    FACTS,
    GROUPS,
    TargetKind,
    check_link,
    check_target_link,
    classify,
    leads_back,
    link_host,
    pictured,
)
from app.domain.placement import plainly
from app.domain.workspace import Workspace
from app.qr.reader import Reader


@dataclass(frozen=True, slots=True)
class Qr:
    """Hold one QR that leads somewhere; `printed_on` and `name` are what a picture said around it.

    Shapes: of a link, `payload` is its URL and `name` its host.
    """

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


@dataclass(frozen=True, slots=True)
class Taker:
    """Say for whom something was uploaded: a code of this kind, none of which leads back to `public_url`."""

    workspace: Workspace
    kind: CodeKind
    public_url: str

    def check(self, source: Source) -> None:
        """Insist on what codes of this kind take.

        Raises: Refusal `link_expected`, `qr_expected`, `needs_qr` of a payload that no link code takes as a url either.
        """
        if self.kind is CodeKind.LINK and source.url is None:
            where = "image" if source.payload is None else "payload"
            shown = pictured(source.payload or "")
            if shown is not None:
                raise needs_qr(shown.kind, where)
            raise Refusal("link_expected", "A link code leads to web addresses; give a url instead.", where)
        if self.kind is not CodeKind.LINK and source.url is not None:
            raise Refusal("qr_expected", "This code shows QR codes; give an image or a payload instead.", "url")


async def read_source(reader: Reader, source: Source, taker: Taker, now: datetime) -> Qr:
    """Read whatever was uploaded.

    Raises: UploadRefusal — every code that one can have; Refusal as `Taker.check` and `accept_link`.
    """
    if source.image is None:
        return qr_of_text(source, taker)
    taker.check(source)
    day = now.astimezone(ZoneInfo(taker.workspace.time_zone)).date()
    try:
        seen = await reader.read(source.image, day, taker.workspace.id)
    except UploadRefusal as refusal:
        raise UploadRefusal(refusal.code, refusal.detail, "image") from refusal
    name = _one_line(seen.name)
    qr = Qr(seen.payload, seen.kind, seen.expires_on, name, seen.picture, seen.picture_media_type)
    return _checked(qr, "image")


def qr_of_text(source: Source, taker: Taker) -> Qr:
    """Classify an uploaded text, or check a link; a picture is none.

    Raises: as `read_source`.
    """
    taker.check(source)
    if source.url is not None:
        url = accept_link(source.url, check_target_link, taker.public_url, "url")
        return Qr(url, TargetKind.LINK, name=_one_line(link_host(url)))
    assert source.payload is not None
    return accept_payload(source.payload, "payload")


def accept_payload(payload: str, where: str) -> Qr:
    """Accept the text of a QR that leads to a group or a contact.

    Raises: UploadRefusal `unsupported_qr_kind`.
    """
    try:
        return _checked(Qr(payload, classify(payload)), where)
    except UploadRefusal as refusal:
        raise UploadRefusal(refusal.code, refusal.detail, where) from refusal


def accept_link(url: str, check: Callable[[str], str], public_url: str, where: str) -> str:
    """Accept a link that leads away from here, fit for a header, to an address that opens from a redirect.

    Raises: Refusal `bad_link`, `own_address`, `needs_qr`.
    """
    try:
        link = check(url)
    except Refusal as refusal:
        raise Refusal(refusal.code, refusal.detail, where) from None
    if leads_back(link, public_url):
        raise Refusal(
            "own_address", "This link leads back to this service; use a fallback or an option to another code.", where
        )
    shown = pictured(link)
    if shown is not None:
        raise needs_qr(shown.kind, where)
    return link


def needs_qr(kind: TargetKind | None, where: str) -> Refusal:
    """Refuse to redirect to an address that has to be shown as a QR, and say where it can stand."""
    if kind is None:
        return Refusal(
            "needs_qr", "This address opens only when its QR code is scanned; give the address of a web page.", where
        )
    home = "group" if kind in GROUPS else "staff"
    if where in {"url", "payload"}:
        way = f"make a code of kind {home} and give the address there as the payload of a target"
    elif FACTS[kind].valid_for is None:
        way = "give it as fallback.payload, or put it behind a code and name that code as fallback.code_id"
    else:
        way = f"put it behind a code of kind {home} as a payload, and name that code as fallback.code_id"
    return Refusal(
        "needs_qr",
        f"This is the address of a {plainly(kind)}, which is shown as a QR, not redirected to; {way}.",
        where,
    )


def accept_fallback(fallback: Fallback, public_url: str) -> Fallback:
    """Accept the link or the QR that a code falls back to; which codes there are is not known here.

    Raises: Refusal `bad_link`, `own_address`, `needs_qr`; UploadRefusal `unsupported_qr_kind`.
    """
    if fallback.payload is not None:
        kind = accept_payload(fallback.payload, "fallback.payload").kind
        if FACTS[kind].valid_for is not None:
            raise UploadRefusal(
                "unsupported_qr_kind",
                "The QR code of a group dies within days; put it behind a code, and name that code instead.",
                "fallback.payload",
            )
    if fallback.url is None:
        return fallback
    return replace(fallback, url=accept_link(fallback.url, check_link, public_url, "fallback.url"))


def expiry_of(qr: Qr, workspace: Workspace, now: datetime) -> datetime | None:
    """Tell when a QR uploaded now dies by itself; None when nothing says that it does."""
    margin = timedelta(seconds=workspace.defaults.expiry_margin_seconds)
    return natural_expiry(qr.kind, now, qr.printed_on, ZoneInfo(workspace.time_zone), margin)


def lives_until(chosen: datetime | None, qr: Qr, dies_at: datetime | None, now: datetime) -> datetime | None:
    """Return when a target ends: what the marketer chose, else when its QR dies.

    Raises: Refusal `already_expired`, which names the day that was read; `expires_too_late`.
    """
    if chosen is not None:
        check_expiry(chosen, now)
        return chosen
    if dies_at is not None and dies_at <= now:
        raise Refusal(
            "already_expired",
            f"This QR code has expired: the day printed on it was read as {qr.printed_on}. "
            "Upload a fresh one, or give expires_at if the day was misread.",
            where_of(qr),
        )
    return dies_at


def name_source(chosen: str | None, qr: Qr) -> Origin:
    """Name where the name of a target comes from."""
    if chosen:
        return Origin.GIVEN
    # The host of a link is a name that this service chose.
    return Origin.PRINTED if qr.name and qr.kind is not TargetKind.LINK else Origin.ASSUMED


def expiry_source(chosen: datetime | None, qr: Qr, ends: datetime | None) -> Origin | None:
    """Name where the expiry `ends` of a target comes from; None when it has none."""
    if ends is None:
        return None
    if chosen is not None:
        return Origin.GIVEN
    return Origin.ASSUMED if qr.printed_on is None else Origin.PRINTED


def where_of(qr: Qr) -> str:
    """Name the field in which a QR was sent."""
    if qr.kind is TargetKind.LINK:
        return "url"
    return "payload" if qr.picture is None else "image"


def _checked(qr: Qr, where: str) -> Qr:
    if len(qr.payload) > limits.QR_PAYLOAD_LENGTH:
        raise UploadRefusal("unsupported_qr_kind", "The text of this QR code is longer than any real one.", where)
    return qr


def _one_line(name: str | None) -> str | None:
    """Keep of a name read from a picture what a marketer could have typed."""
    text = "".join(c for c in name or "" if c.isprintable()).strip()
    return text[: limits.NAME_LENGTH].strip() or None
