"""Open a picture from outside: told by its content, measured before it is decoded, decoded by what reads its format.

Law: no decoder sees a file whose header asks for more pixels than are allowed.
"""

import math
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from typing import Final, cast

from PIL import AvifImagePlugin, Image, ImageOps

from app.domain.errors import UploadRefusal

# What every browser shows and Pillow decodes with its oldest codecs; the process that serves the API opens no others.
PLAIN: Final = frozenset({"JPEG", "PNG", "WEBP"})
# What phones, scanners and desktops store besides, opened in a child only.
ALL: Final = PLAIN | {"AVIF", "BMP", "GIF", "HEIF", "TIFF"}
# What a camera writes; anything else is a drawing or a screenshot.
PHOTOGRAPHS: Final = frozenset({"JPEG", "MPO", "HEIF", "AVIF"})
# A second picture in one of these is a depth map, a layer for bright screens, or a burst; the first one is the photo.
_FIRST_COUNTS: Final = frozenset({"JPEG", "HEIF"})
_WANTED: Final = {PLAIN: "JPEG, PNG or WebP", ALL: "JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP or TIFF"}
_BMP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})
# Brands of still pictures. Source: ISO/IEC 23008-12:2022, annex B and clause 10; AV1 Image File Format 1.1, section 6.
_HEIF: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1"})
_META_BYTES: Final = 256 * 1024


def open_picture(data: bytes, *, max_bytes: int, max_pixels: int, kinds: frozenset[str] = PLAIN) -> Image.Image:
    """Decode a picture (图片) of one of ``kinds``, told by its content, upright and in its own mode.

    Raises: UploadRefusal — ``image_too_large`` before a pixel is decoded, ``unsupported_media_type``,
    ``unreadable_image``.
    """
    if len(data) > max_bytes:
        raise UploadRefusal("image_too_large", f"The file is too large; upload at most {max_bytes // 1024} kB.")
    kind = _sniff(data, kinds)
    # Some formats reserve memory for a picture, or give up on a large one, already when they are opened.
    if kind == "WEBP":
        _check_pixels(webp_size(data), max_pixels)
    elif kind in {"AVIF", "HEIF"}:
        _check_pixels(_iso_size(data), max_pixels)
    _prepare(kind)
    with _refusing_damage():
        image: Image.Image = Image.open(BytesIO(data), formats=[kind])
    _check_pixels(image.size, max_pixels)
    with _refusing_damage():
        moves = kind not in _FIRST_COUNTS and getattr(image, "n_frames", 1) > 1
    if moves:
        raise UploadRefusal("unreadable_image", "The file holds several pictures; upload a still screenshot.")
    with _refusing_damage():
        image.load()
    # What a header says of a HEIF is not always what its stream holds.
    _check_pixels(image.size, max_pixels)
    kept = image.format
    # Broken notes about a picture are no reason to refuse its pixels; it then lies as it was stored.
    with suppress(Exception):
        image = ImageOps.exif_transpose(image)
    with _refusing_damage():
        image = _with_bytes(image)
    image.format = kept
    return image


def _with_bytes(image: Image.Image) -> Image.Image:
    """Bring numbers beyond a byte, as scanners and programs of science write them, to grey of a byte.

    Pillow would cut them off. Shapes: floats go to 1 or as far as integers do: to 255, 65,535 or the largest.
    """
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    if image.mode != "F":
        image = image.convert("I")
    # A picture of one band has one pair.
    low, high = cast("tuple[float, float]", image.getextrema())
    tops = (1, 255, 65_535) if image.mode == "F" and low >= 0 else (255, 65_535)
    top = next((top for top in tops if high <= top), high)
    return image.point(lambda value: value * (255 / top)).convert("L")


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    if math.prod(size) > max_pixels:
        raise UploadRefusal("image_too_large", f"The image is too large; upload at most {max_pixels:,} pixels.")


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UploadRefusal("image_too_large", "The image has too many pixels; upload a smaller one.") from error
    # Decoders written in three languages raise what they like at broken files; none of it is a fault of ours.
    except Exception as error:
        raise UploadRefusal("unreadable_image", "The image is damaged or cut short; upload it again.") from error


def _sniff(data: bytes, kinds: frozenset[str]) -> str:
    kind = _kind(data)
    if kind not in kinds:
        wanted = _WANTED[kinds]
        raise UploadRefusal("unsupported_media_type", f"The file is no {wanted} picture; upload one of those.")
    return kind


def _kind(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp":
        length = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[at : at + 4] for at in (8, *range(16, length, 4))}
        return _of_brands(brands)
    return ""


def _of_brands(brands: Collection[bytes]) -> str:
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIF" if _HEIF & set(brands) else ""


def webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height from a WebP header; (0, 0) when there is none, which the decoder will refuse.

    Source: RFC 9649, WebP Image Format, sections 2.5 to 2.7 (November 2024).
    """
    chunk, head = data[12:16], data[20:30].ljust(10, b"\0")
    if chunk == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    return 0, 0


def _iso_size(data: bytes) -> tuple[int, int]:
    """Read the largest size that the properties of an AVIF or HEIF name; (0, 0) when they name none.

    Source: ISO/IEC 23008-12:2022, 6.5.3: the box `ispe` has four bytes of version and flags, then width and height.
    """
    sizes = [
        (int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big"))
        for found in re.finditer(rb"ispe\0{4}(.{4})(.{4})", data[:_META_BYTES], re.DOTALL)
    ]
    return max(sizes, key=math.prod, default=(0, 0))


@cache
def _prepare(kind: str) -> None:
    """Keep a decoder to one thread, as its child is meant to use one core, and to the picture itself."""
    if kind == "AVIF":
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
