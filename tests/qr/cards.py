"""Draw the cards on which WeChat and WeCom print a group's QR, with invented names, in the layouts of their clients."""

import random
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import pytest
import qrcode
from PIL import Image, ImageDraw, ImageFilter, ImageFont

GROUP: Final = "https://weixin.qq.com/g/AwYAAExampleExampleExampleExampleExampleExampleExampleExample_"
WECOM: Final = "https://work.weixin.qq.com/gm/0123456789abcdef0123456789abcd"

ZH: Final = "该二维码7天内({month}月{day}日前)有效，重新进入将更新"
ZH_TRADITIONAL: Final = "該二維碼7天內({month}月{day}日前)有效，重新進入將更新"
EN: Final = "Valid until {month}/{day} and will update upon joining group"

_FONTS: Final = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-{weight}.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-{weight}.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-{weight}.ttc",
    "/Library/Fonts/NotoSansCJK-{weight}.ttc",
)


def font(size: float, weight: str = "Regular") -> ImageFont.FreeTypeFont:
    """Load the font for Chinese; a machine without it cannot draw a card."""
    for pattern in _FONTS:
        path = Path(pattern.format(weight=weight))
        if path.exists():
            # The third face of the collection is the one for simplified Chinese.
            return ImageFont.truetype(str(path), round(size), index=2)
    pytest.skip("Noto Sans CJK is not installed, so no card can be drawn.")


@dataclass(frozen=True)
class Look:
    """Say how a card is drawn.

    Units: all in sides of the QR but `qr`, which is in pixels. `avatar` is the side of the group's picture.
    """

    layout: Literal["over", "beside"] = "over"
    prefix: str = "群聊："
    qr: int = 420
    width: float = 1.47
    title: float = 0.07
    caption: float = 0.045
    avatar: float = 0.4
    gap: float = 0.09
    caption_gap: float = 0.14
    leading: float = 1.3
    weight: str = "Regular"
    dark: bool = False
    dots: bool = False
    face: Literal["grid", "photo", "text", "plain"] = "grid"
    subtitle: str = ""
    seed: int = 1


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Break a text as a phone does: Chinese anywhere, words at blanks."""
    lines, line, word = [], "", ""
    for letter in [*text, ""]:
        if letter and letter.isascii() and letter != " ":
            word += letter
            continue
        for piece in (word, letter):
            if line and face.getlength((line + piece).rstrip()) > width:
                lines.append(line.strip())
                line = ""
            line += piece
        word = ""
    return [*lines, line.strip()]


def code(payload: str, side: int, *, dots: bool, paper: str = "#ffffff") -> Image.Image:
    """Draw a QR without its quiet zone, with a logo in its middle as WeChat does."""
    made = qrcode.QRCode(border=0, error_correction=qrcode.constants.ERROR_CORRECT_M)
    made.add_data(payload)
    matrix = made.get_matrix()
    count = len(matrix)
    image = Image.new("RGB", (count * 16, count * 16), paper)
    draw = ImageDraw.Draw(image)
    for y, row in enumerate(matrix):
        for x, dark in enumerate(row):
            corner = ((x < 7 or x >= count - 7) and y < 7) or (x < 7 and y >= count - 7)
            if dark and dots and not corner:
                draw.ellipse((x * 16, y * 16, x * 16 + 14, y * 16 + 14), fill="#000000")
            elif dark:
                draw.rectangle((x * 16, y * 16, x * 16 + 15, y * 16 + 15), fill="#000000")
    middle = count * 8
    draw.rounded_rectangle((middle - 40, middle - 40, middle + 40, middle + 40), 12, fill="#2ba245")
    return image.resize((side, side), Image.Resampling.LANCZOS)


def avatar(side: int, look: Look) -> Image.Image:
    """Draw the picture of a group: nine members, a photo, a sign with letters, or one colour."""
    chance = random.Random(look.seed)

    def colour() -> tuple[int, int, int]:
        return chance.randrange(30, 220), chance.randrange(30, 220), chance.randrange(30, 220)

    image = Image.new("RGB", (side, side), "#dcdcdc")
    draw = ImageDraw.Draw(image)
    if look.face == "grid":
        third = side / 3
        for number in range(9):
            x, y = number % 3 * third, number // 3 * third
            draw.rectangle((x + 2, y + 2, x + third - 2, y + third - 2), fill=colour())
    elif look.face == "photo":
        for y in range(side):
            draw.line((0, y, side, y), fill=(90 + y * 90 // side, 140, 210 - y * 120 // side))
        draw.ellipse((side * 0.3, side * 0.2, side * 0.7, side * 0.6), fill=colour())
    elif look.face == "text":
        image.paste("#c8102e", (0, 0, side, side))
        draw.text((side / 2, side / 2), "山野", font=font(side * 0.38, "Bold"), fill="white", anchor="mm")
    else:
        image.paste("#3f7fbf", (0, 0, side, side))
    return image


def card(name: str, caption: str, look: Look, payload: str = GROUP) -> Image.Image:
    """Draw one card: avatar and title, the QR, the caption."""
    ground, ink, soft = ("#2c2c2c", "#d5d5d5", "#8b8b8b") if look.dark else ("#ffffff", "#111111", "#a6a6a6")
    qr, width = look.qr, round(look.qr * look.width)
    side = round(look.avatar * qr)
    margin = round((width - qr) / 2)
    title, small = font(look.title * qr, look.weight), font(look.caption * qr)
    room = width * 0.9 if look.layout == "over" else width - margin - side - 0.12 * qr
    lines = wrapped(look.prefix + name, title, room)
    step = title.size * look.leading
    height = round(qr * 2.9 + len(lines) * step + 400)
    image = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(image)
    y = 0.14 * qr
    block = len(lines) * step + (title.size * 1.1 if look.subtitle else 0)
    if look.layout == "over":
        image.paste(avatar(side, look), ((width - side) // 2, round(y)))
        x, anchor, y = width / 2, "ma", y + side + 0.07 * qr
        after = y + block
    else:
        left = round(margin * 0.8)
        image.paste(avatar(side, look), (left, round(y)))
        x, anchor, after = left + side + 0.05 * qr, "la", y + max(side, block)
        y += max(0, (side - block) / 2)
    for number, line in enumerate(lines):
        draw.text((x, y + number * step), line, font=title, fill=ink, anchor=anchor)
    if look.subtitle:
        draw.text((x, y + len(lines) * step), look.subtitle, font=font(title.size * 0.72), fill=soft, anchor=anchor)
    y = after + look.gap * qr
    if look.dark:
        plate = round(0.06 * qr)
        draw.rectangle((margin - plate, y - plate, margin + qr + plate, y + qr + plate), fill="#ffffff")
    image.paste(code(payload, qr, dots=look.dots), (margin, round(y)))
    y += qr + look.caption_gap * qr
    for line in wrapped(caption, small, width * 0.88) if caption else []:
        draw.text((width / 2, y), line, font=small, fill=soft, anchor="ma")
        y += small.size * look.leading
    return image.crop((0, 0, width, round(y + 0.12 * qr)))


def phone(inside: Image.Image, *, title: str, buttons: tuple[str, ...] = (), dark: bool = False) -> Image.Image:
    """Put a card on the screen of a phone, below its bars and above its buttons."""
    width = round(inside.width * 1.16)
    unit = width / 390
    ground, ink = ("#111111", "#d5d5d5") if dark else ("#ededed", "#111111")
    top = round(130 * unit)
    image = Image.new("RGB", (width, max(round(844 * unit), top + inside.height + round(190 * unit))), ground)
    draw = ImageDraw.Draw(image)
    draw.text((32 * unit, 16 * unit), "09:41", font=font(15 * unit, "Bold"), fill=ink)
    draw.text((width - 70 * unit, 16 * unit), "5G 87", font=font(14 * unit), fill=ink)
    draw.text((width / 2, 58 * unit), title, font=font(17 * unit, "Bold"), fill=ink, anchor="ma")
    draw.line((16 * unit, 68 * unit, 24 * unit, 60 * unit, 24 * unit, 76 * unit), fill=ink, width=2)
    image.paste(inside, ((width - inside.width) // 2, top))
    for number, label in enumerate(buttons):
        y = top + inside.height + (30 + 46 * number) * unit
        draw.text((width / 2, y), label, font=font(16 * unit), fill="#576b95", anchor="ma")
    return image


def poster(inside: Image.Image, above: str, below: str, ground: str = "#f6d8b8") -> Image.Image:
    """Paste a card on a poster with words of its own."""
    width = round(inside.width * 1.5)
    large, small = font(inside.width * 0.12, "Bold"), font(inside.width * 0.05)
    image = Image.new("RGB", (width, inside.height + round(inside.width * 0.9)), ground)
    draw = ImageDraw.Draw(image)
    draw.text((width / 2, inside.width * 0.1), above, font=large, fill="#8a2b06", anchor="ma")
    draw.text((width / 2, inside.width * 0.27), "长按识别二维码 马上进群", font=small, fill="#8a2b06", anchor="ma")
    image.paste(inside, ((width - inside.width) // 2, round(inside.width * 0.42)))
    y = inside.height + inside.width * 0.5
    draw.text((width / 2, y), below, font=small, fill="#8a2b06", anchor="ma")
    return image


def photo(image: Image.Image, degrees: float = 4, *, blur: float = 0.8, quality: int = 60) -> bytes:
    """Take a picture of a screen: tilted, out of focus, compressed, on a table."""
    table = Image.new("RGB", (round(image.width * 1.3), round(image.height * 1.3)), "#6f6a62")
    table.paste(image, (image.width * 3 // 20, image.height * 3 // 20))
    turned = table.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="#6f6a62")
    return saved(turned.filter(ImageFilter.GaussianBlur(blur)), "JPEG", quality=quality)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode a picture."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
