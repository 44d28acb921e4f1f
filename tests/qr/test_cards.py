"""Names and days are read by their place on the card, in the layouts of every client."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Final

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.domain.payload import TargetKind
from app.qr.read import read_screenshot

from .cards import (
    EN,
    GROUP,
    WECOM,
    ZH,
    ZH_TRADITIONAL,
    Look,
    card,
    code,
    font,
    phone,
    photo,
    poster,
    saved,
)

DAY: Final = date(2026, 11, 25)
LAST: Final = date(2026, 11, 30)
PRINTED: Final = {"month": 11, "day": 30}
CAPTION, TRADITIONAL, ENGLISH = (shape.format(**PRINTED) for shape in (ZH, ZH_TRADITIONAL, EN))
OVER: Final = Look()
BESIDE: Final = Look(layout="beside", prefix="", avatar=0.22, width=1.3)
GROUP_EN: Final = Look(prefix="Group: ")

Drawing = Callable[[str], bytes]


def large(look: Look) -> Look:
    return replace(look, title=0.11, caption=0.08)


def zh(look: Look, **options: int) -> Drawing:
    return lambda name: saved(card(name, CAPTION, look), "JPEG" if options else "PNG", **options)


def other(caption: str, look: Look) -> Drawing:
    return lambda name: saved(card(name, caption, look))


def screen(caption: str, look: Look, title: str, *buttons: str) -> Drawing:
    return lambda name: saved(phone(card(name, caption, look), title=title, buttons=buttons, dark=look.dark))


def on_a_poster(look: Look, ground: str = "#f6d8b8") -> Drawing:
    return lambda name: saved(
        poster(card(name, CAPTION, look), "春日市集", "活动12月3日前报名有效", ground), "JPEG", quality=80
    )


def photographed(look: Look, degrees: float, quality: int = 60) -> Drawing:
    return lambda name: photo(card(name, CAPTION, replace(look, qr=600)), degrees, quality=quality)


def in_bad_light(look: Look, degrees: float) -> Drawing:
    def draw(name: str) -> bytes:
        pixels = np.asarray(card(name, CAPTION, replace(look, qr=600))).astype(float)
        pixels += np.random.default_rng(3).normal(0, 8, pixels.shape)
        pixels *= 1 - 0.25 * np.linspace(0, 1, pixels.shape[1])[None, :, None]
        return photo(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), degrees, quality=70)

    return draw


def seen_from_the_side(look: Look) -> Drawing:
    def draw(name: str) -> bytes:
        inside = card(name, CAPTION, replace(look, qr=600))
        width, height = round(inside.width * 1.3), round(inside.height * 1.3)
        table = Image.new("RGB", (width, height), "#777777")
        table.paste(inside, (width // 9, height // 9))
        quad = (-0.08 * width, -0.04 * height, 0.02 * width, height, width, 1.05 * height, 1.03 * width, 0.08 * height)
        return saved(table.transform(table.size, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC), "JPEG")

    return draw


def with_an_emoji(look: Look) -> Drawing:
    def draw(name: str) -> bytes:
        # The emoji stands between the title's prefix and the name, where the blank of a full width is.
        inside = card("　" + name, CAPTION, replace(look, qr=600))
        letters = font(look.title * 600)
        left = inside.width / 2 - letters.getlength(look.prefix + "　" + name) / 2 + letters.getlength(look.prefix)
        top, side = 0.14 * 600 + look.avatar * 600 + 42 + letters.size * 0.28, letters.size * 0.95
        pen = ImageDraw.Draw(inside)
        pen.ellipse((left, top, left + side * 0.55, top + side * 0.55), fill="#e0245e")
        pen.ellipse((left + side * 0.45, top, left + side, top + side * 0.55), fill="#e0245e")
        pen.polygon((left, top + side * 0.4, left + side, top + side * 0.4, left + side / 2, top + side), "#e0245e")
        return saved(inside)

    return draw


CARDS: Final[dict[str, tuple[str, Drawing]]] = {
    "ios": ("桥西羽毛球搭子", zh(OVER)),
    "ios with dots": ("城南早市拼菜群", zh(Look(dots=True, prefix="群聊: "), quality=85)),
    "ios over two lines": ("老城区周末手作市集摊主互助交流群", zh(Look(qr=700, title=0.08), quality=80)),
    "ios over three lines": ("老城区周末手作市集摊主互助交流与旧物置换报名通知一群", zh(Look(title=0.11), quality=80)),
    "ios, one letter on the second line": ("夜跑打卡小分队一起跑", zh(large(replace(OVER, dark=True)))),
    "ios on its screen": ("山野徒步同好会", screen(CAPTION, BESIDE, "群二维码名片", "保存到手机", "重置二维码")),
    "ios on its dark screen": ("夜跑打卡小分队", screen(CAPTION, replace(OVER, dark=True), "群二维码名片")),
    "android": ("亲子绘本共读营", zh(replace(BESIDE, avatar=0.18, title=0.062, face="photo"), quality=75)),
    "android over two lines": ("湖畔新村宝妈二手闲置互换与拼团群", zh(replace(BESIDE, title=0.08), quality=75)),
    "android over three lines": (
        "湖畔新村宝妈二手闲置互换与拼团以及周末遛娃活动报名群",
        zh(replace(BESIDE, title=0.1)),
    ),
    "android, bold": ("周末咖啡拉花练习与器材团购小组", zh(replace(BESIDE, weight="Bold", title=0.085))),
    "android on its dark screen": ("夜跑打卡小分队", screen(CAPTION, replace(BESIDE, dark=True), "群二维码名片")),
    "beside, with a prefix": ("旧书交换角", zh(replace(BESIDE, prefix="群聊：", avatar=0.2))),
    "beside a picture with letters": ("山野徒步同好会", zh(replace(BESIDE, face="text"))),
    "beside a plain picture": ("河岸钓友交流群", zh(replace(BESIDE, face="plain"))),
    "below the picture, without a prefix": ("烘焙新手交流群", zh(replace(OVER, prefix="", avatar=0.25))),
    "desktop": ("前端读书会", zh(replace(BESIDE, qr=200, width=1.9, title=0.08, caption=0.06, avatar=0.25))),
    "desktop, dark": ("开源硬件折腾群", zh(Look(qr=260, width=1.6, caption=0.055, avatar=0.3, dark=True))),
    "large type": ("山野徒步同好会", zh(large(OVER))),
    "large type beside": ("小区团购接龙通知群", zh(large(BESIDE))),
    "huge type": ("山野徒步同好会与城郊骑行联合群", zh(Look(qr=720, title=0.13, caption=0.1))),
    "small type": ("山野徒步同好会与城郊骑行联合群", zh(Look(qr=720, title=0.05, caption=0.035))),
    "traditional": ("港島西區讀書會", other(TRADITIONAL, OVER)),
    "traditional, over two lines": ("週末單車同樂會與器材交換群", other(TRADITIONAL, replace(BESIDE, title=0.08))),
    "english": ("VIP skincare club", other(ENGLISH, GROUP_EN)),
    "english, over two lines": ("Saturday Riverside Runners", other(ENGLISH, replace(GROUP_EN, title=0.1))),
    "english beside, on its screen": ("Riverside Runners", screen(ENGLISH, BESIDE, "Group QR Code", "Save Image")),
    "english, large type": ("Home Bakers Exchange", other(ENGLISH, large(GROUP_EN))),
    "two scripts and blanks": ("AI 绘画交流 2群", zh(Look(qr=600))),
    "a day in the name": ("满减 11月10日前有效", zh(OVER)),
    "a day in the name, beside": ("12月3日前有效 团购群", zh(BESIDE)),
    "a colon in the name": ("读书会：第二期", zh(OVER)),
    "an emoji in the name": ("夜跑小分队", with_an_emoji(OVER)),
    "on a poster": ("社区花园共建群", on_a_poster(OVER)),
    "beside, on a dark poster": ("社区花园共建群", on_a_poster(BESIDE, "#203040")),
    "photographed": ("老城区周末手作市集摊主互助群", photographed(OVER, 6)),
    "photographed beside": ("河岸钓友交流群", photographed(BESIDE, -9, 45)),
    "photographed, turned": ("旧书交换角", photographed(OVER, 94)),
    "photographed in bad light": ("老城区周末手作市集摊主互助群", in_bad_light(OVER, 3)),
    "seen from the side": ("河岸钓友交流群", seen_from_the_side(BESIDE)),
    "a line below the title": ("桥西护肤会员群", zh(replace(BESIDE, subtitle="共 128 人"))),
}


@pytest.mark.parametrize(("name", "draw"), CARDS.values(), ids=CARDS)
def test_a_card_says_its_name_and_its_day(name: str, draw: Drawing) -> None:
    seen = read_screenshot(draw(name), DAY)
    assert (seen.name, seen.expires_on) == (name, LAST)


@pytest.mark.parametrize(("caption", "day"), [("", None), (CAPTION, LAST)])
def test_a_card_of_wecom_says_its_name_without_a_caption(caption: str, day: date | None) -> None:
    look = replace(BESIDE, avatar=0.2, subtitle="桥西护肤有限公司")
    seen = read_screenshot(saved(card("春季新品体验官社群", caption, look, WECOM)), DAY)
    assert (seen.kind, seen.name, seen.expires_on) == (TargetKind.WECOM_GROUP, "春季新品体验官社群", day)


def words_over_a_code(words: str) -> Image.Image:
    page = Image.new("RGB", (700, 900), "white")
    pen = ImageDraw.Draw(page)
    page.paste(code(GROUP, 400, dots=False), (150, 250))
    pen.text((350, 150), words, font=font(44, "Bold"), fill="#aa0000", anchor="ma")
    pen.text((350, 690), CAPTION, font=font(18), fill="#999999", anchor="ma")
    return page


def cut(image: Image.Image, *, left: float = 0, top: float = 0) -> Image.Image:
    return image.crop((round(left * image.width), round(top * image.height), image.width, image.height))


UNCERTAIN: Final = {
    "words of a poster": lambda: words_over_a_code("春日市集欢迎你"),
    "a call": lambda: words_over_a_code("扫码进群领福利"),
    "a title of which the first line is cut off": lambda: cut(
        card("老城区周末手作市集摊主互助群", CAPTION, OVER), top=0.335
    ),
    "a title that is cut at its side": lambda: cut(card("老城区周末手作市集摊", CAPTION, Look(title=0.09)), left=0.15),
}


@pytest.mark.parametrize("draw", UNCERTAIN.values(), ids=UNCERTAIN)
def test_what_may_be_no_title_is_no_name(draw: Callable[[], Image.Image]) -> None:
    seen = read_screenshot(saved(draw()), DAY)
    assert (seen.name, seen.expires_on) == (None, LAST)
