"""Routes of the print (印刷码): the QR of a code's URL, in the marketer's own style."""

import hashlib
from dataclasses import replace
from typing import Annotated, Any, Final, cast
from urllib.parse import quote

from fastapi import APIRouter, Depends, File, Form, Header, Query, Response, UploadFile

from app.qr.draw import ErrorCorrection, PrintStyle
from app.services.printing import Format, Print
from app.web.api.asking import CodePath, Context, Reading
from app.web.api.docs import problems

router = APIRouter(prefix="/codes/{code_id}", tags=["print"])

_MEDIA_TYPES: Final[dict[Format, str]] = {"png": "image/png", "svg": "image/svg+xml"}
_PLAIN: Final = PrintStyle()
# What some file system does not take in a name.
_NOT_IN_NAMES: Final = frozenset('/\\:*?"<>|')
_REFUSALS = ("not_found", "closed", "bad_style", "unreadable_style", "invalid")
_SIZE = "Pixels of the whole square, 200 to 4096."
_BORDER = "Modules of quiet zone, 0 to 16; scanners want 4."
_COLOUR = "#rrggbb, with or without the #."
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
) -> PrintStyle:
    return _style(size, border, ec, dark, light)


def _form_style(
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
) -> PrintStyle:
    return _style(size, border, ec, dark, light)


QueryStyle = Annotated[PrintStyle, Depends(_query_style)]
FormStyle = Annotated[PrintStyle, Depends(_form_style)]
Logo = Annotated[UploadFile, File(description="JPEG, PNG or WebP, at most 2 MB.")]
PrintFormat = Annotated[Format, Form(examples=["png"])]
IfNoneMatch = Annotated[str | None, Header(description="An ETag you have: 304 when it is still the one.")]


def _image(*forms: Format) -> Any:
    content = {
        _MEDIA_TYPES[form]: {"schema": {"type": "string", "contentMediaType": _MEDIA_TYPES[form]}} for form in forms
    }
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
    logo: Logo,
    format: PrintFormat = "png",  # noqa: A002 - the word that callers know
) -> Response:
    """Draw the print with a picture in its middle. Changes nothing, and so needs no Idempotency-Key."""
    drawn = await context.printer.draw(caller.workspace, code_id, replace(style, logo=await logo.read()), format)
    return answer_print(drawn, format, None)


def _style(size: int, border: int, ec: str, dark: str, light: str) -> PrintStyle:
    # PrintStyle itself refuses what is no error correction.
    return PrintStyle(size, border, cast("ErrorCorrection", ec), "#" + dark.lstrip("#"), "#" + light.lstrip("#"))


def file_name(name: str, form: Format) -> str:
    """Name a print for whoever saves it, as RFC 6266 has it: in UTF-8, and in ASCII for what cannot read that.

    Shapes: percent-encoded but for letters, digits and `-._~`, so that no name can end the header or leave a folder.
    """
    kept = "".join(" " if c in _NOT_IN_NAMES or not c.isprintable() else c for c in name)
    whole = " ".join(kept.split()).strip(". ") or "qr"
    plain = "".join(c for c in whole if c.isascii() and (c.isalnum() or c in "-_")) or "qr"
    encoded = quote(f"{whole}.{form}", safe="-._~", errors="replace")
    return f"inline; filename=\"{plain}.{form}\"; filename*=UTF-8''{encoded}"


def answer_print(drawn: Print, form: Format, if_none_match: str | None) -> Response:
    """Answer with a print, or with 304 when it is known."""
    tag = f'"{hashlib.sha256(drawn.data).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, max-age=86400",
        "Vary": "Authorization",
        "Content-Disposition": file_name(drawn.name, form),
        # A logo inside an SVG is a picture of its own.
        "Content-Security-Policy": "default-src 'none'; img-src data:; frame-ancestors 'none'",
    }
    known = (if_none_match or "").replace("W/", "").split(",")
    if tag in {one.strip() for one in known}:
        return Response(status_code=304, headers=headers)
    return Response(drawn.data, media_type=_MEDIA_TYPES[form], headers=headers)
