"""Upload what no phone would send: any bytes, broken samples, forms that are none. It is refused in time.

More of them with FUZZ_EXAMPLES=1000.
"""

import io
import itertools
import os
import random
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
import pillow_heif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.running import KEY, Service, running_service, server_folder, web_processes

from .conftest import PATIENT

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "30"))
SAMPLES: Final = sorted((Path(__file__).parents[1] / "samples").glob("*_*.*"))
GOOD: Final = Path(__file__).parents[1] / "samples" / "wecom_contact.png"
REFUSED: Final = {400, 409, 413, 415, 422}
# What a picture may take, and the time that a busy machine needs beside.
PATIENCE_SECONDS: Final = 120
GROWTH_BYTES: Final = 256 * 1024 * 1024
CHILD_BYTES: Final = 2 * 1024**3

MORE_KINDS: Final = ("AVIF", "BMP", "GIF", "HEIF", "TIFF")

quietly = settings(
    max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with server_folder() as folder, running_service(folder, **PATIENT) as service:
        yield service


@pytest.fixture(scope="module")
def url(service: Service) -> str:
    """Make a code of staff and tell where its targets go; one good picture has been read."""
    with service.api as api:
        code = api.post("/codes", json={"name": "n", "kind": "staff"}).raise_for_status().json()
        path = f"{service.url}/api/v1/codes/{code['id']}/targets"
        api.post(path, files={"image": GOOD.read_bytes()}, timeout=PATIENCE_SECONDS).raise_for_status()
    return path


def send(url: str, content: bytes, media_type: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": media_type}
    return httpx.post(url, content=content, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)


def upload(url: str, image: bytes) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(url, files={"image": image}, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)


def memory(pid: int) -> int:
    """Read the most memory that a process ever had. Units: bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def readers(service: Service) -> list[int]:
    """Name the children that read pictures."""
    [parent], found = web_processes(service), []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(stat[1]) == parent and "app.qr.reader" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


def mutated(sample: bytes, chance: random.Random) -> bytes:
    """Damage a sample in one of the ways in which files are damaged, by accident or on purpose."""
    data, at = bytearray(sample), chance.randrange(len(sample))
    match chance.randrange(7):
        case 0:
            for _ in range(chance.choice((1, 8, 200))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            del data[at:]
        case 2:
            del data[at : at + chance.randrange(1, 5000)]
        case 3:
            piece = data[at : at + chance.randrange(1, 5000)]
            data[at:at] = piece * chance.choice((1, 50))
        case 4:
            data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0"))
        case 5:
            data = bytearray(resized(sample, chance.choice(((1, 2**31 - 1), (65_535, 65_535), (0, 0), (7000, 7000)))))
        case _:
            data += chance.choice((sample, b"<script>alert(1)</script>", b"PK\x03\x04" + bytes(2000), b"%PDF-1.7"))
    return bytes(data)


def resized(sample: bytes, size: tuple[int, int]) -> bytes:
    """Let a picture say that it is of another size, and the rest of it be right."""
    if sample.startswith(b"\x89PNG"):
        head = b"IHDR" + struct.pack(">II", *size) + sample[24:29]
        return sample[:12] + head + struct.pack(">I", zlib.crc32(head)) + sample[33:]
    found = re.search(rb"\xff[\xc0-\xc2]\0.\x08", sample, re.DOTALL)
    if found:
        width, height = (min(one, 65_535) for one in size)
        return sample[: found.end()] + struct.pack(">HH", height, width) + sample[found.end() + 4 :]
    return sample[:24] + struct.pack("<HH", *(min(one, 16_383) for one in size)) + sample[28:]


def in_more_formats() -> dict[str, bytes]:
    """Write the good picture in the formats that are read beside JPEG, PNG and WebP."""
    pillow_heif.register_heif_opener()
    found = {}
    for kind in MORE_KINDS:
        out = io.BytesIO()
        Image.open(GOOD).convert("RGB").save(out, kind)
        found[kind] = out.getvalue()
    return found


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_whatever_is_uploaded_is_read_or_refused_and_the_next_picture_is_read(service: Service, url: str) -> None:
    """Memory stays bounded, here and in the child, and pictures go on being read."""
    [web] = web_processes(service)
    before = memory(web)
    sample = GOOD.read_bytes()
    bombs = {
        "text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(300_000_000))),
        "profile": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(300_000_000))),
        "frames": chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
        "exif": chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + bytes(60_000)),
        "no end": chunk(b"IDAT", b"") * 20_000,
    }
    for name, bomb in bombs.items():
        answer = upload(url, sample[:33] + bomb + sample[33:])
        assert answer.status_code in REFUSED | {201}, (name, answer.text)
    chance = random.Random(EXAMPLES)
    originals = {path.name: path.read_bytes() for path in SAMPLES} | in_more_formats()
    for number, (name, original) in zip(range(EXAMPLES), itertools.cycle(originals.items()), strict=False):
        answer = upload(url, mutated(original, chance))
        assert answer.status_code in REFUSED | {201}, (number, name, answer.text)
    assert upload(url, sample).status_code in {201, 409}
    assert memory(web) - before < GROWTH_BYTES
    [child] = readers(service)
    assert memory(child) < CHILD_BYTES


@quietly
@given(
    st.binary(max_size=4000),
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"RIFF\xff\xff\0\0WEBPVP8 ",
            b"GIF89a",
            b"II*\0\x08\0\0\0",
            b"BM\xff\xff\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
        ]
    ),
)
def test_bytes_of_any_kind_are_refused(url: str, data: bytes, magic: bytes) -> None:
    assert upload(url, magic + data).status_code in REFUSED


PART = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
FORM: Final = "multipart/form-data; boundary=b"
ONE: Final = b"--b\r\n" + PART + b"x\r\n"
END: Final = b"--b--\r\n"
FIELD: Final = b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n'
ENCODED: Final = b"--b\r\nContent-Disposition: form-data; name=image; filename*=utf-8''%ff%00%0d%0aX: y\r\n\r\nx\r\n"
MIXED: Final = PART.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
ODD = {
    "no boundary": (ONE + END, "multipart/form-data"),
    "an empty boundary": (b"--\r\n" + PART + b"x\r\n----\r\n", "multipart/form-data; boundary="),
    "a boundary of 5,000 characters": (b"--" + b"b" * 5000 + b"\r\n" + PART, FORM + "b" * 4999),
    "a boundary in quotes that do not end": (ONE + END, 'multipart/form-data; boundary="b'),
    "two boundaries": (ONE + END, "multipart/form-data; boundary=c; boundary=b"),
    "a boundary that is everywhere": (b"--b\r\n" * 20_000, FORM),
    "a boundary never reached": (b"-" * 3_000_000, "multipart/form-data; boundary=" + "-" * 60),
    "no name": (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", FORM),
    "a head without an end": (b"--b\r\nX: " + b"a" * 2_000_000, FORM),
    "10,000 heads": (b"--b\r\n" + b"X: y\r\n" * 10_000 + b"\r\n\r\n--b--\r\n", FORM),
    "10,000 fields": (
        b"".join(FIELD % i for i in range(10_000)) + END,
        FORM,
    ),
    "a picture twice": ((b"--b\r\n" + PART + b"x\r\n") * 2 + b"--b--\r\n", FORM),
    "a path as its name": (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="../../etc/passwd\0.png"\r\n\r\nx\r\n--b--\r\n',
        FORM,
    ),
    "a name that is no text": (
        ENCODED + END,
        FORM,
    ),
    "a form within a form": (
        b"--b\r\n" + MIXED + b"--b\r\n" + END,
        FORM,
    ),
    "an unknown character set": (ONE + END, FORM + "; charset=nowhere"),
    "JSON that says it is a form": (b'{"payload": "x"}', FORM),
    "a form that says it is JSON": (ONE + END, "application/json"),
    "JSON in UTF-16": ('{"payload": "x"}'.encode("utf-16"), "application/json"),
    "JSON with half a pair": (b'{"payload": "\\ud800"}', "application/json"),
    "deep JSON": (b'{"a":' * 100_000, "application/json"),
    "a large number": (b'{"payload": "x", "members": 1' + b"0" * 100_000 + b"}", "application/json"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "media_type"), ODD.values(), ids=ODD)
def test_a_form_that_is_none_is_refused(url: str, content: bytes, media_type: str) -> None:
    answer = send(url, content, media_type)
    assert answer.status_code in REFUSED, answer.text
    assert answer.json()["code"]


@quietly
@given(st.data())
def test_a_damaged_form_is_refused_or_read(url: str, data: st.DataObject) -> None:
    form = bytearray(
        b"--b\r\n" + PART + b"\x89PNG\r\n\x1a\nx\r\n--b\r\n" + PART.replace(b"image", b"name") + b"n\r\n--b--\r\n"
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(form) - 1))
        form[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert send(url, bytes(form), FORM).status_code in REFUSED
