"""Draw QR codes (画码): the print, the code on the page, the one in the terminal.

Nothing leaves here that a decoder could not read back. Drawing depends on nothing but its arguments: the same text,
style and font give the same bytes, today and on every machine with the same libraries. An SVG depends on no font.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Final, Literal, get_args

import qrcode
from PIL import Image, ImageColor, ImageDraw, ImageFilter, ImageFont
from qrcode.exceptions import DataOverflowError

from app.domain.errors import Refusal
from app.qr.lettering import CaptionFont, Setting, check_letters, draw_lines, is_line, lay_out, svg_lines
from app.qr.opening import open_picture
from app.qr.read import flatten, read_codes

ErrorCorrection = Literal["L", "M", "Q", "H"]
_LEVELS: Final = {
    "L": qrcode.constants.ERROR_CORRECT_L,
    "M": qrcode.constants.ERROR_CORRECT_M,
    "Q": qrcode.constants.ERROR_CORRECT_Q,
    "H": qrcode.constants.ERROR_CORRECT_H,
}
# Source: ISO/IEC 18004, 9.1 (2015): four modules of quiet zone on every side.
QUIET_ZONE_MODULES: Final = 4
_MAX_LOGO_BYTES: Final = 2 * 1024 * 1024
_MAX_LOGO_PIXELS: Final = 16_000_000
_LOGO_SHARE: Final = 0.22
_SVG_LOGO_PX: Final = 256
_SMALLEST_MODULE_PX: Final = 2
# Ours: cameras in bad light need this much of the way from black to white. WeChat's own green has half of it on white.
_LEAST_CONTRAST: Final = 0.4

# Sixteen shades take half a byte a pixel.
_DARKEST: Final = 15
_LATIN: Final = CaptionFont()

Matrix = list[list[bool]]


@dataclass(frozen=True, slots=True)
class PrintStyle:
    """Say how a print (印刷样式) should look; one that cannot exist or cannot be scanned is refused at once.

    Units: ``size`` px of the width, ``border`` modules.
    Shapes: ``dark`` and ``light`` are ``#rrggbb``; ``logo`` is a JPEG, PNG or WebP picture, and makes ``ec``
    count as H; ``caption`` is one line of text, which makes the print higher than wide.
    Raises: Refusal — ``bad_style`` for a value that means nothing, ``unreadable_style`` for colours too near each other
    or light on dark; ``where`` names the field.
    """

    size: int = 1024
    border: int = QUIET_ZONE_MODULES
    ec: ErrorCorrection = "M"
    dark: str = "#000000"
    light: str = "#ffffff"
    logo: bytes | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        if not 200 <= self.size <= 4096:
            raise Refusal("bad_style", "The size must be between 200 and 4096 pixels.", "size")
        if not 0 <= self.border <= 16:
            raise Refusal("bad_style", "The border must be between 0 and 16 modules.", "border")
        if self.ec not in get_args(ErrorCorrection):
            raise Refusal("bad_style", "The error correction must be L, M, Q or H.", "ec")
        for where, colour in (("dark", self.dark), ("light", self.light)):
            if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
                raise Refusal(
                    "bad_style", "A colour is six hex digits, such as 1a2b3c (in a URL without the #).", where
                )
        # Many cameras read an inverted code, many do not, and a print cannot be taken back.
        if _luma(self.light) - _luma(self.dark) < _LEAST_CONTRAST:
            raise Refusal(
                "unreadable_style", "Make the dark colour much darker, or the light one much lighter.", "dark"
            )
        if self.caption and not is_line(self.caption):
            raise Refusal("bad_style", "A caption is one line of 40 or fewer characters that can be seen.", "caption")
        if self.logo is not None:
            _logo(self.logo)


def draw_png(text: str, style: PrintStyle, font: CaptionFont = _LATIN) -> bytes:
    """Draw a print as PNG, exactly ``style.size`` wide, every module the same whole number of pixels.

    Raises: Refusal — ``unreadable_style``: the text is too long for the size, or the result cannot be read back;
    ``no_font``: the font lacks letters of the caption; ``bad_style``: the caption does not fit.
    Cost: 0.05 s at 1024 px, 0.6 s at 4096 px.
    """
    matrix = _matrix(text, style.ec if style.logo is None else "H")
    unit = style.size // (len(matrix) + 2 * style.border)
    if unit < _SMALLEST_MODULE_PX:
        raise Refusal("unreadable_style", "So much text needs a larger size or a smaller border.", "size")
    image = _raster(matrix, style, unit, style.size)
    if style.caption:
        setting = _set(len(matrix), style)
        check_letters(style.caption, setting, style.size, font)
        image = _captioned(image, style, setting, _clear_of(matrix, style, unit, style.size), font)
    png = _encoded(image)
    with Image.open(BytesIO(png)) as drawn:
        _prove(drawn, unit, text)
    return png


def draw_svg(text: str, style: PrintStyle, font: CaptionFont = _LATIN) -> bytes:
    """Draw a print as SVG, one unit per module, so that it is sharp at any size.

    Shapes: UTF-8, self-contained; a logo is a PNG of its own inside, drawn anew from its pixels; a caption is text, and
    ``font`` only draws it to be read back.
    Raises: Refusal — ``unreadable_style``: the text is too long, or what is drawn in pixels for a proof cannot be read
    back; ``bad_style``: the caption does not fit.
    """
    matrix = _matrix(text, style.ec if style.logo is None else "H")
    side = len(matrix) + 2 * style.border
    unit = 8
    image = _raster(matrix, style, unit, side * unit)
    words, height = "", f"{side}"
    if style.caption:
        setting, top = _set(len(matrix), style), _clear_of(matrix, style, 1, side)
        image = _captioned(image, style, setting, top * unit, font)
        words, height = svg_lines(setting, style.dark, side, top), f"{top + setting.height * side:.6g}"
    _prove(image, unit, text)
    height_px = f"{style.size * float(height) / side:.7g}"
    path = "".join(f"M{x} {y}h{run}v1h-{run}z" for x, y, run in _runs(matrix, style.border))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' width="{style.size}" height="{height_px}" viewBox="0 0 {side} {height}" shape-rendering="crispEdges">'
        f'<rect width="{side}" height="{height}" fill="{style.light}"/><path fill="{style.dark}" d="{path}"/>'
        f"{_svg_logo(style, side)}{words}</svg>\n"
    ).encode()


@lru_cache(maxsize=1024)
def target_png(payload: str) -> bytes:
    """Draw a target's code (子码图) for the page: one bit a pixel, error correction M, full quiet zone, 600 px or more.

    Raises: Refusal ``unreadable_style`` — no QR code can hold the payload.
    Cost: 20 ms for a new payload, 2 kB each for the last 1,024 ones, which are remembered.
    """
    matrix = _matrix(payload, "M")
    unit = -(-600 // (len(matrix) + 2 * QUIET_ZONE_MODULES))
    side = unit * (len(matrix) + 2 * QUIET_ZONE_MODULES)
    image = Image.new("1", (side, side), 1)
    image.paste(0, (unit * QUIET_ZONE_MODULES,) * 2, _enlarged(matrix, unit))
    _prove(image, unit, payload)
    return _encoded(image)


def terminal(text: str) -> str:
    """Draw a code for a terminal, two modules a character, black on white whatever the terminal's own colours are.

    Shapes: lines end in a newline; a full block is two light modules, so that it also reads as plain text on black.
    """
    matrix = _matrix(text, "M")
    side = len(matrix) + 2 * QUIET_ZONE_MODULES
    dark = [[False] * side for _ in range(side + 1)]
    for y, row in enumerate(matrix):
        dark[y + QUIET_ZONE_MODULES][QUIET_ZONE_MODULES : QUIET_ZONE_MODULES + len(row)] = row
    glyphs = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    lines = ("".join(glyphs[pair] for pair in zip(dark[y], dark[y + 1], strict=True)) for y in range(0, side, 2))
    # Colours 231 and 16 are white and black in every theme; the first sixteen are what the theme makes of them.
    return "".join(f"\x1b[38;5;231;48;5;16m{line}\x1b[0m\n" for line in lines)


def _matrix(text: str, ec: str) -> Matrix:
    code = qrcode.QRCode(error_correction=_LEVELS[ec], border=0)
    try:
        code.add_data(text.encode())
        code.make(fit=True)
    # The library raises ValueError for the version 41 that it was about to try.
    except (DataOverflowError, ValueError) as error:
        raise Refusal("unreadable_style", "The text is too long for a QR code; shorten it.", "text") from error
    matrix: Matrix = code.get_matrix()
    return matrix


def _enlarged(matrix: Matrix, unit: int) -> Image.Image:
    """Draw dark modules as 255 and light ones as 0, without a border."""
    mask = Image.frombytes("L", (len(matrix),) * 2, bytes(255 * dark for row in matrix for dark in row))
    return mask.resize((len(matrix) * unit,) * 2, Image.Resampling.NEAREST)


def _raster(matrix: Matrix, style: PrintStyle, unit: int, side_px: int) -> Image.Image:
    """Draw a print in two colours, or in all of them if there is a logo; pixels too few for a module go around it."""
    mask = _enlarged(matrix, unit)
    offset = (side_px - mask.width) // 2
    image = Image.new("P", (side_px, side_px), 0)
    image.putpalette((*ImageColor.getrgb(style.light), *ImageColor.getrgb(style.dark)))
    image.paste(1, (offset, offset), mask)
    if style.logo is None:
        return image
    image = image.convert("RGB")
    modules = _logo_modules(len(matrix))
    start = offset + (len(matrix) - modules) // 2 * unit
    plate = Image.new("RGB", (modules * unit,) * 2, style.light)
    logo = flatten(_logo(style.logo), style.light)
    logo.thumbnail(((modules - 1) * unit,) * 2, Image.Resampling.LANCZOS)
    plate.paste(logo, ((plate.width - logo.width) // 2, (plate.height - logo.height) // 2))
    image.paste(plate, (start, start))
    return image


def _set(modules: int, style: PrintStyle) -> Setting:
    return lay_out(style.caption, style.border / (modules + 2 * style.border))


def _clear_of(matrix: Matrix, style: PrintStyle, unit: int, side_px: int) -> int:
    """Give where a caption may begin: below the square, and outside the quiet zone also where the border is none."""
    margin = (side_px - len(matrix) * unit) // 2
    return max(side_px, margin + len(matrix) * unit + max(QUIET_ZONE_MODULES, style.border) * unit)


def _captioned(square: Image.Image, style: PrintStyle, setting: Setting, top: int, font: CaptionFont) -> Image.Image:
    """Set a caption below a print; one of two colours gets the shades between them, which smooth the letters."""
    block = draw_lines(setting, square.width, font)
    size = (square.width, top + block.height)
    if square.mode == "RGB":
        image = Image.new("RGB", size, style.light)
        image.paste(square)
        image.paste(style.dark, (0, top), block)
        return image
    image = Image.new("P", size, 0)
    light, dark = ImageColor.getrgb(style.light), ImageColor.getrgb(style.dark)
    image.putpalette(
        [
            round(low + (high - low) * shade / _DARKEST)
            for shade in range(_DARKEST + 1)
            for low, high in zip(light, dark, strict=True)
        ]
    )
    image.paste(square.point(lambda index: index * _DARKEST))
    image.paste(block.point(lambda value: round(value * _DARKEST / 255)), (0, top))
    return image


def _encoded(image: Image.Image) -> bytes:
    out = BytesIO()
    # A palette of two colours takes one bit a pixel, one of sixteen four.
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _prove(image: Image.Image, unit: int, text: str) -> None:
    """Read a drawing back as it is, and small and soft as a phone sees it from afar.

    Raises: Refusal ``unreadable_style`` — either shows anything but the text, or shows it only light on dark.
    """
    near = image.convert("L")
    afar = (
        near.resize((near.width * 4 // unit, near.height * 4 // unit), Image.Resampling.BILINEAR) if unit > 4 else near
    )
    for view in (near, afar.filter(ImageFilter.GaussianBlur(0.8))):
        if [code.bytes for code in read_codes(view, inverted=False)] != [text.encode()]:
            raise Refusal(
                "unreadable_style", "A decoder cannot read this style back; use a border of 4 and a plain logo."
            )


def _luma(colour: str) -> float:
    """Give the brightness a decoder sees, from 0 to 1.

    Source: ITU-R BT.601-7 (2011), 2.5.1, which is also how Pillow makes grey.
    """
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def _logo(data: bytes) -> Image.Image:
    try:
        return open_picture(data, max_bytes=_MAX_LOGO_BYTES, max_pixels=_MAX_LOGO_PIXELS)
    except Refusal as refusal:
        raise Refusal("bad_style", f"The logo cannot be used. {refusal.detail}", "logo") from refusal


def _logo_modules(side: int) -> int:
    """Give the odd number of modules that a logo and its plate hide, so that they hide no half module."""
    return int(side * _LOGO_SHARE - 1) // 2 * 2 + 1


def _svg_logo(style: PrintStyle, side: int) -> str:
    if style.logo is None:
        return ""
    modules = _logo_modules(side - 2 * style.border)
    plate, inner = (side - modules) // 2, modules - 1
    logo = flatten(_logo(style.logo), style.light)
    logo.thumbnail((_SVG_LOGO_PX, _SVG_LOGO_PX), Image.Resampling.LANCZOS)
    href = "data:image/png;base64," + base64.b64encode(_encoded(logo)).decode()
    return (
        f'<rect x="{plate}" y="{plate}" width="{modules}" height="{modules}" fill="{style.light}"/>'
        f'<image x="{plate + 0.5}" y="{plate + 0.5}" width="{inner}" height="{inner}" xlink:href="{href}"/>'
    )


def _runs(matrix: Matrix, border: int) -> Iterator[tuple[int, int, int]]:
    """Give x, y and length of every unbroken row of dark modules."""
    for y, row in enumerate(matrix):
        start = None
        for x, dark in enumerate([*row, False]):
            if dark and start is None:
                start = x
            elif not dark and start is not None:
                yield start + border, y + border, x - start
                start = None


# The characters below, drawn 112 px wide from Noto Sans CJK SC Regular (SIL Open Font License 1.1), since a server has
# no Chinese font and a whole one is 16 MB.
_GLYPHS: Final = "请刷新页面"
_GLYPH_PX: Final = 112
_GLYPH_SHEET: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAjAAAABwAQAAAAAoTXeHAAAEdUlEQVR42u1ZS47jNhB9RQkjLRojLXsRtH2EWfYiQOsok1tk1xpkDpAjzE2GAfoA"
    "cwQ5yKJXAR1MANqQVVlQH1IiJXnaTtLA1MYWKT9WvfqQLAPfZVES7R3mctWvRXCGGuex/EZtDMyjbKerJW3k3Hw3eZ8DbMlIuRi0nV3HzJI8jMaj"
    "2nr4TUDc2rOZWax/bm25Q7xgVDz/Qg4AVM34wsCkYpn/u2WHa5qbVymAqAL+WoCpUWLDrBObEldqAL8u6EMsseGO2YFiEzeJBiJm7v3yoFpP2e6X"
    "Agyfx9mswDoxOj4NZpqPExERFTvzIYAyX+b4VHTfCme8sKI4tSd2RDQl/SPGkTRJhipeVGYfTMyqh1GLgXPKlzJdAJqwI0oPPmNmknUMU6+tJR4p"
    "+wxHM2Lf8rpRL7KjbLSm7LXhmdXugR/XFtEyWLiiJyCS07j01+IgN80k3lyv9iYKAJ/nlZUT5KnEACpTERmHdJGEOLzcn8EfsWvxhllHbOe7y1Sb"
    "9RrIKjPLplAwwEP17uoJ10PVZmZWELiITGzd8ChK+WWbb+/T9TAnk5ppOGleqo1oLgAjcSFt3CpIROQzfgmmiOswZr4n2u4ox6XiZgKzI3EaqikX"
    "0KtgEitDpvI70vVRbPZZBva55yDHTxED2G0v5qnLwWT6/6TNVWFia1t7CcyBkr9DkwdCtsvdI/BZlX50oojp5LU+Y2B3aW6cyGWA8eFVO1y0Z2Nm"
    "Zq5edxTvqb2NXU2bvThR8V+mZvDoZ05PH1drw0R0vilho/IrOrx+lTl1jjfP32BORPmeqPy3w48YaMvqguTranF1BYoJwNsLeEqtjOuFfsoN8NOo"
    "LaTWwGzPTYM1GR6bg7r2tBPOjRtZpEFXrq3F2nOJeL9GG2lfXFIA1dYNAfnDNzlcjd//JQRDci7yc5f0D5CH2Asjgo6oAI28U2iXI4XAu4A2we1h"
    "2xE06McxbgIwt6EDeCHHEbhtjk7rw4bZmiOF9N8KHV2LmkvPZU0AQBFKv7IEGjtBqNT45CFHALCrZGkTTe0rlfW6wrOHHAFA4Muop1BavQPnHn6D"
    "Cj5yhO9mWrqxaQXBO0hw6b1WJ8z9oY2aRFH92DYzkxqZws+Psm+sMwPYcOXtUfCoUEin3OjhOQEDeMat16ijr+HSj38prVbXEcARb7wwepypnQna"
    "JY4kngHwtHEhgNROYgPw1DPq9OjetkWr8HULMpaGwYcKUZ0oMuFvxjIF4v5Ph7YxnbEaUWw6Nj1MUgNjmKhpH/q7dsR66qktr9wKNPBHa/mbKTfF"
    "TGvlQQ2pGQH41EY5DX0PIpORrAajMt0aFTE3ADasjKENQEP/YMNA1jsmUxBAqea2AtWXLQa+doM8NUpWncOqSbNRuXx1BeVrE+xWagDQkxCqBgXL"
    "/u+cpp6WtsrK16OnLXXscCRNKokld4bBhFkCsosbZg0ga8z2QA2Ae7tgTOTGvBUxl0AxwPT2vZ/8A+eTtINpX+1g7LyhVW07A6MdmFXNqCnMd7mS"
    "/ANwzvtq+r5KwAAAAABJRU5ErkJggg=="
)
_INK: Final = "#4a5560"


@lru_cache(maxsize=8)
def placeholder_png(text_lines: tuple[str, ...] = ("请刷新页面", "Please reload")) -> bytes:
    """Draw the picture that stands where a code would be, had there been a place: an arrow, words, and no QR.

    Shapes: 640 x 640 px, the same size on the page as a code; ``text_lines`` are ASCII, or made of the characters
    「请刷新页面」; a line with any other character is left out, since no font for it is at hand.
    """
    # Drawn larger and shrunk, which is all the smoothing that it needs.
    image = Image.new("L", (960, 960), 0)
    pen = ImageDraw.Draw(image)
    pen.arc((330, 190, 630, 490), start=-15, end=270, fill=255, width=36)
    pen.polygon([(478, 118), (478, 298), (600, 208)], fill=255)
    top = 580
    for line in text_lines:
        drawn = _line(line)
        if drawn is not None:
            image.paste(drawn, ((image.width - drawn.width) // 2, top))
            top += drawn.height + 32
    small = image.resize((640, 640), Image.Resampling.LANCZOS)
    page = Image.new("RGB", small.size, "#f3f4f6")
    page.paste(_INK, mask=small)
    return _encoded(page)


def _line(text: str) -> Image.Image | None:
    if text and set(text) <= set(_GLYPHS):
        sheet = Image.open(BytesIO(base64.b64decode(_GLYPH_SHEET))).convert("L")
        line = Image.new("L", (len(text) * (_GLYPH_PX + 8), _GLYPH_PX), 0)
        for place, character in enumerate(text):
            left = _GLYPHS.index(character) * _GLYPH_PX
            line.paste(sheet.crop((left, 0, left + _GLYPH_PX, _GLYPH_PX)), (place * (_GLYPH_PX + 8), 0))
        return line
    if text.isascii() and text.isprintable():
        font = ImageFont.load_default(72)
        line = Image.new("L", (max(1, int(font.getlength(text))), 96), 0)
        ImageDraw.Draw(line).text((0, 0), text, fill=255, font=font)
        return line
    return None
