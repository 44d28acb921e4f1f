"""Fonts for tests: one of Latin letters only, which comes with Pillow, and the machine's own with Chinese ones."""

import os
import struct
from io import BytesIO
from pathlib import Path

import pytest
from PIL import ImageFont

from app.qr.lettering import CaptionFont, find_font


def latin(folder: Path) -> Path:
    """Write a font file that has no Chinese letter."""
    face = ImageFont.load_default(10)
    assert isinstance(face, ImageFont.FreeTypeFont)
    assert isinstance(face.path, BytesIO)
    path = folder / "latin.ttf"
    path.write_bytes(face.path.getvalue())
    return path


def chinese() -> CaptionFont:
    """Find a font with Chinese letters; without one a test is skipped, and fails where `CI` is set."""
    font = find_font()
    if font.path is None:
        reason = "No font with Chinese letters (apt-get install fonts-noto-cjk)."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return font


def letters_of(font: CaptionFont) -> frozenset[int]:
    """Read from the table `cmap` which letters a face has (OpenType 1.9.1, formats 4 and 12)."""
    assert font.path is not None
    data = font.path.read_bytes()
    start = struct.unpack_from(">I", data, 12 + 4 * font.face)[0] if data[:4] == b"ttcf" else 0
    tables = struct.unpack_from(">H", data, start + 4)[0]
    records = (struct.unpack_from(">4sIII", data, start + 12 + 16 * i) for i in range(tables))
    cmap = next(offset for tag, _, offset, _ in records if tag == b"cmap")
    found: set[int] = set()
    for i in range(struct.unpack_from(">H", data, cmap + 2)[0]):
        table = cmap + struct.unpack_from(">I", data, cmap + 8 + 8 * i)[0]
        match struct.unpack_from(">H", data, table)[0]:
            case 4:
                found |= _format_4(data, table)
            case 12:
                groups = struct.unpack_from(">I", data, table + 12)[0]
                for first, last, _ in struct.iter_unpack(">III", data[table + 16 : table + 16 + 12 * groups]):
                    found |= set(range(first, last + 1))
    return frozenset(found)


def _format_4(data: bytes, table: int) -> set[int]:
    count = struct.unpack_from(">H", data, table + 6)[0] // 2
    ends, starts, deltas, offsets = (
        struct.unpack_from(f">{count}H", data, table + 14 + 2 * count * part + (2 if part else 0)) for part in range(4)
    )
    place = table + 16 + 6 * count
    found = set()
    for i, (first, last) in enumerate(zip(starts, ends, strict=True)):
        for code in range(first, last + 1):
            glyph = code + deltas[i]
            if offsets[i]:
                glyph = struct.unpack_from(">H", data, place + 2 * i + offsets[i] + 2 * (code - first))[0]
            if glyph % 0x10000:
                found.add(code)
    return found
