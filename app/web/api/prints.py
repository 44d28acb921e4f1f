"""Routes of the print (印刷码): the QR of a code's URL, in the marketer's own style."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Protocol, cast
from urllib.parse import quote

from fastapi import APIRouter, Depends, File, Form, Header, Query, Response, UploadFile

from app.domain.code import CodeId, WorkspaceId
from app.qr.draw import ErrorCorrection, PrintStyle
from app.services.printing import Format, Print, Printer
from app.web.api.asking import CodePath, Context, NumberPath, Reading
from app.web.api.docs import problems
from app.web.fields import Caption

router = APIRouter(prefix="/codes/{code_id}", tags=["print"])

_MEDIA_TYPES: Final[dict[Format, str]] = {"png": "image/png", "svg": "image/svg+xml"}
_PLAIN: Final = PrintStyle()
# What some file system does not take in a name.
_NOT_IN_NAMES: Final = frozenset('/\\:*?"<>|')
_REFUSALS = (
    "not_found",
    "closed",
    "bad_style",
    "unreadable_style",
    "no_font",
    "invalid",
    "too_many_prints",
    "too_many_reads",
)
_SIZE = "Pixels of the width, 200 to 4096. A caption makes the print higher than wide."
_BORDER = "Modules of quiet zone, 0 to 16; scanners want 4."
_COLOUR = "Six hex digits, such as 1a2b3c; in a URL without the #, which would end it."
_CAPTION = (
    "One line of text below the code. It shrinks, breaks into two lines, and is refused when it does not fit. PNG is "
    "drawn with a font of the server (`no_font` where that lacks a letter), SVG with one of the computer that opens it."
)
# For the document only: `PrintStyle` refuses what is none, in words of its own.
_STYLE: Final[dict[str, dict[str, Any]]] = {
    "size": {"minimum": 200, "maximum": 4096},
    "border": {"minimum": 0, "maximum": 16},
    "ec": {"enum": ["L", "M", "Q", "H"]},
    "colour": {"pattern": "^#?[0-9a-fA-F]{6}$"},
}


def _query_style(
    size: Annotated[int, Query(description=_SIZE, json_schema_extra=_STYLE["size"], examples=[1024])] = _PLAIN.size,
    border: Annotated[
        int, Query(description=_BORDER, json_schema_extra=_STYLE["border"], examples=[4])
    ] = _PLAIN.border,
    ec: Annotated[
        str, Query(description="Error correction: L, M, Q or H.", json_schema_extra=_STYLE["ec"], examples=["M"])
    ] = _PLAIN.ec,
    dark: Annotated[
        str, Query(description=_COLOUR, json_schema_extra=_STYLE["colour"], examples=["1a2b3c"])
    ] = _PLAIN.dark,
    light: Annotated[
        str, Query(description=_COLOUR, json_schema_extra=_STYLE["colour"], examples=["ffffff"])
    ] = _PLAIN.light,
    caption: Annotated[Caption, Query(description=_CAPTION, examples=["扫码进群"])] = _PLAIN.caption,
) -> PrintStyle:
    return _style(size, border, ec, (dark, light), caption)


async def _form_style(
    logo: Annotated[UploadFile, File(description="JPEG, PNG or WebP, at most 2 MB.")],
    size: Annotated[int, Form(description=_SIZE, json_schema_extra=_STYLE["size"], examples=[1024])] = _PLAIN.size,
    border: Annotated[int, Form(description=_BORDER, json_schema_extra=_STYLE["border"], examples=[4])] = _PLAIN.border,
    ec: Annotated[
        str, Form(description="Counts as H under a logo.", json_schema_extra=_STYLE["ec"], examples=["H"])
    ] = _PLAIN.ec,
    dark: Annotated[
        str, Form(description=_COLOUR, json_schema_extra=_STYLE["colour"], examples=["1a2b3c"])
    ] = _PLAIN.dark,
    light: Annotated[
        str, Form(description=_COLOUR, json_schema_extra=_STYLE["colour"], examples=["ffffff"])
    ] = _PLAIN.light,
    caption: Annotated[Caption, Form(description=_CAPTION, examples=["扫码进群"])] = _PLAIN.caption,
) -> PrintStyle:
    # The logo is decoded to be judged, which is no work for the event loop.
    return await asyncio.to_thread(_style, size, border, ec, (dark, light), caption, await logo.read())


QueryStyle = Annotated[PrintStyle, Depends(_query_style)]
FormStyle = Annotated[PrintStyle, Depends(_form_style)]
PrintFormat = Annotated[Format, Form(examples=["png"])]
IfNoneMatch = Annotated[str | None, Header(description="An ETag you have: 304 when it is still the one.")]


def _image(*forms: Format) -> Any:
    # Without a type: the page would spell a picture of its own as text.
    content: dict[str, Any] = {_MEDIA_TYPES[form]: {"schema": {}} for form in forms}
    return {200: {"description": "The print.", "content": content}}


def describe_print(form: Format) -> dict[str, Any]:
    """Describe a route that draws a print in the style that is asked for."""
    responses = {**_image(form), 304: {"description": "Unchanged."}, **problems(*_REFUSALS)}
    return {"response_class": Response, "responses": responses}


@router.get("/qr.png", summary="Draw the print as PNG", **describe_print("png"))
async def print_png(
    code_id: CodePath, context: Context, caller: Reading, style: QueryStyle, if_none_match: IfNoneMatch = None
) -> Response:
    """Draw the QR of the code's URL. The same style gives the same bytes; one that cannot be read back is refused."""
    drawn = await context.printer.draw(caller.workspace, code_id, style, "png")
    return answer_print(drawn, "png", if_none_match)


@router.get("/qr.svg", summary="Draw the print as SVG", **describe_print("svg"))
async def print_svg(
    code_id: CodePath, context: Context, caller: Reading, style: QueryStyle, if_none_match: IfNoneMatch = None
) -> Response:
    """Draw the QR of the code's URL, sharp at any size. No edit of the code changes a byte of it."""
    drawn = await context.printer.draw(caller.workspace, code_id, style, "svg")
    return answer_print(drawn, "svg", if_none_match)


def describe_logo_print() -> dict[str, Any]:
    """Describe a route that draws a print with a logo."""
    return {"response_class": Response, "responses": {**_image("png", "svg"), **problems(*_REFUSALS, "body")}}


@router.post("/qr", summary="Draw the print with a logo", **describe_logo_print())
async def print_with_logo(
    code_id: CodePath,
    context: Context,
    caller: Reading,
    style: FormStyle,
    format: PrintFormat = "png",  # noqa: A002 - the word that callers know
) -> Response:
    """Draw the print with a picture in its middle. Changes nothing, and so needs no Idempotency-Key."""
    drawn = await context.printer.draw(caller.workspace, code_id, style, format)
    return answer_print(drawn, format, None)


class NumberedDrawing(Protocol):
    """Draw what has a number within its code."""

    def __call__(
        self, printer: Printer, workspace: WorkspaceId, code: CodeId, number: int, style: PrintStyle, form: Format, /
    ) -> Awaitable[Print]:
        """Draw it in a style."""


def add_prints(router: APIRouter, noun: str, leads: str, draw: NumberedDrawing) -> None:
    """Add the three routes that print what has a number within its code.

    Shapes: `noun` has its article, and is part of the operations' names; `leads` completes "Draw the QR of …".
    """

    def route(form: Format) -> Callable[..., Awaitable[Response]]:
        async def plain(
            code_id: CodePath,
            number: NumberPath,
            context: Context,
            caller: Reading,
            style: QueryStyle,
            if_none_match: IfNoneMatch = None,
        ) -> Response:
            drawn = await draw(context.printer, caller.workspace, code_id, number, style, form)
            return answer_print(drawn, form, if_none_match)

        return plain

    async def with_logo(
        code_id: CodePath,
        number: NumberPath,
        context: Context,
        caller: Reading,
        style: FormStyle,
        format: PrintFormat = "png",  # noqa: A002 - the word that callers know
    ) -> Response:
        drawn = await draw(context.printer, caller.workspace, code_id, number, style, format)
        return answer_print(drawn, format, None)

    title = f"Draw the print of {noun}"
    name = "print_" + noun.rpartition(" ")[2]
    said: dict[Format, str] = {"png": "", "svg": ", sharp at any size"}
    for form, more in said.items():
        router.get(
            f"/{{number}}/qr.{form}", name=f"{name}_{form}", summary=f"{title} as {form.upper()}",
            description=f"Draw the QR of {leads}{more}.", **describe_print(form),
        )(route(form))  # fmt: skip
    router.post(
        "/{number}/qr", name=f"{name}_with_logo", summary=f"{title} with a logo",
        description=f"Draw the QR of {leads} with a picture in its middle. Changes nothing.", **describe_logo_print(),
    )(with_logo)  # fmt: skip


def _style(
    size: int, border: int, ec: str, colours: tuple[str, str], caption: str, logo: bytes | None = None
) -> PrintStyle:
    dark, light = ("#" + colour.lstrip("#") for colour in colours)
    # PrintStyle itself refuses what is no error correction.
    return PrintStyle(size, border, cast("ErrorCorrection", ec), dark, light, logo, caption)


def file_name(name: str, plain: str, form: Format) -> str:
    """Name a print for the file it is saved as, as RFC 6266 has it: in UTF-8, and `plain` for what cannot read that.

    Shapes: `plain` has letters, digits, `-` and `_` only; `name` is percent-encoded but for letters, digits and
    `-._~`, so that no name can end the header or leave a folder.
    """
    kept = "".join(" " if c in _NOT_IN_NAMES or not c.isprintable() else c for c in name)
    whole = " ".join(kept.split()).strip(". ") or plain
    encoded = quote(f"{whole}.{form}", safe="-._~", errors="replace")
    return f"inline; filename=\"{plain}.{form}\"; filename*=UTF-8''{encoded}"


def answer_print(drawn: Print, form: Format, if_none_match: str | None) -> Response:
    """Answer with a print, or with 304 when it is known."""
    tag = f'"{hashlib.sha256(drawn.data).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, max-age=86400",
        "Vary": "Authorization",
        "Content-Disposition": file_name(drawn.name, drawn.plain_name, form),
        # A logo inside an SVG is a picture of its own.
        "Content-Security-Policy": "default-src 'none'; img-src data:; frame-ancestors 'none'",
    }
    known = (if_none_match or "").replace("W/", "").split(",")
    if tag in {one.strip() for one in known}:
        return Response(status_code=304, headers=headers)
    return Response(drawn.data, media_type=_MEDIA_TYPES[form], headers=headers)
