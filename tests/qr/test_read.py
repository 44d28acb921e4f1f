"""Screenshots: every sample, hostile files, and the process they are read in."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from app.domain.errors import Refusal, UploadRefusal
from app.domain.payload import TargetKind
from app.qr.draw import target_png
from app.qr.opening import webp_size
from app.qr.read import MAX_BYTES, Screenshot, read_codes, read_screenshot
from app.qr.reader import WAITING_MAX, Reader

SAMPLES = Path(__file__).parents[1] / "samples"
MANIFEST: dict[str, Any] = json.loads((SAMPLES / "manifest.json").read_text())
DRAWN_ON = date.fromisoformat(MANIFEST["drawn_on"])
CONTACT = "https://u.wechat.com/MExampleExample_Example"
CARD = "https://work.weixin.qq.com/u/vc0123456789abcdef?v=5.0.8.70675"


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def code_picture(payload: str = CONTACT) -> Image.Image:
    return opened(target_png(payload))


def outcome(data: bytes) -> Screenshot | str:
    try:
        return read_screenshot(data, DRAWN_ON)
    except UploadRefusal as refusal:
        return refusal.code


def understood(data: bytes) -> Screenshot:
    answer = outcome(data)
    assert isinstance(answer, Screenshot), answer
    return answer


@pytest.mark.parametrize("entry", MANIFEST["images"], ids=lambda entry: entry["file"])
def test_every_sample_yields_what_the_manifest_says(entry: dict[str, str]) -> None:
    answer = outcome(sample(entry["file"]))
    if "refuse" in entry:
        assert answer == entry["refuse"]
        return
    assert isinstance(answer, Screenshot)
    assert (answer.kind, answer.payload) == (entry["kind"], entry["payload"])
    assert answer.expires_on == (date.fromisoformat(entry["expires_on"]) if "expires_on" in entry else None)
    if "name" in entry:
        assert answer.name == entry["name"]
    assert [code.text for code in read_codes(opened(answer.picture))] == [entry["payload"]]
    assert Image.open(BytesIO(answer.picture)).get_format_mimetype() == answer.picture_media_type


def test_captions_are_read_without_a_network_and_without_writing_a_file(tmp_path: Path) -> None:
    script = """
import sys
from datetime import date
from pathlib import Path

def refuse(event, arguments):
    if event.startswith("socket.") or (event == "open" and arguments[1] and set(arguments[1]) & set("wax+")):
        raise RuntimeError(f"{event} {arguments}")

sys.dont_write_bytecode = True
sys.addaudithook(refuse)
from app.qr.read import read_screenshot
print(read_screenshot(Path(sys.argv[1]).read_bytes(), date.fromisoformat(sys.argv[2])).expires_on)
"""
    told = subprocess.run(
        [sys.executable, "-c", script, str(SAMPLES / "group_zh.jpg"), DRAWN_ON.isoformat()],
        capture_output=True,
        text=True,
        check=False,
        # Compiled code escapes the hook, but one that reports home keeps its notes there. Under "CI" it would lie low.
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        cwd=tmp_path,
    )
    assert told.stdout.split() == ["2026-11-28"], told.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("degrees", [90, 187])
def test_a_turned_screenshot_has_the_same_caption(degrees: int) -> None:
    turned = opened(sample("group_zh.jpg")).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="#776f66")
    seen = understood(saved(turned, "JPEG", quality=90))
    assert (seen.name, seen.expires_on) == ("春日护肤交流群", date(2026, 11, 28))


def test_a_caption_cut_off_is_no_error() -> None:
    cropped = opened(sample("group_zh.jpg")).crop((200, 440, 946, 1180))
    seen = understood(saved(cropped, "PNG"))
    assert (seen.kind, seen.name, seen.expires_on) == (TargetKind.WECHAT_GROUP, None, None)


def test_where_a_photo_was_taken_is_not_in_the_picture_we_keep() -> None:
    data = sample("group_with_gps_exif.jpg")
    assert b"SecretPhoneMaker" in data
    seen = understood(data)
    assert b"SecretPhoneMaker" not in seen.picture
    assert b"Exif" not in seen.picture
    assert not Image.open(BytesIO(seen.picture)).getexif()


def test_comments_profiles_and_hidden_pixels_are_not_in_the_picture_we_keep() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Author", "secret")
    notes.add_itxt("XML:com.adobe.xmp", "secret")
    picture = code_picture().convert("RGBA")
    picture.putpixel((0, 0), (83, 69, 67, 0))
    for data in (
        saved(picture, "PNG", pnginfo=notes, icc_profile=b"secret"),
        saved(code_picture(), "JPEG", comment=b"secret", icc_profile=b"secret", xmp=b"secret"),
        saved(code_picture(), "WEBP", icc_profile=b"secret", xmp=b"secret", exif=b"Exif\0\0secret"),
    ):
        seen = understood(data)
        kept = Image.open(BytesIO(seen.picture))
        assert b"secret" not in seen.picture
        assert not set(kept.info) - {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert kept.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_photo_taken_sideways_is_kept_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = opened(sample("group_zh.jpg")).transpose(Image.Transpose.ROTATE_90)
    seen = understood(saved(sideways, "JPEG", quality=92, exif=exif))
    width, height = Image.open(BytesIO(seen.picture)).size
    assert height > width
    assert read_codes(opened(seen.picture))[0].orientation == 0


def test_the_same_code_twice_is_one_and_two_codes_are_too_many() -> None:
    def side_by_side(one: str, other: str) -> bytes:
        page = Image.new("RGB", (1500, 700), "white")
        page.paste(code_picture(one), (20, 20))
        page.paste(code_picture(other), (760, 20))
        return saved(page, "PNG")

    assert understood(side_by_side(CONTACT, CONTACT)).payload == CONTACT
    assert outcome(side_by_side(CONTACT, CARD)) == "several_qr_codes"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_png_modes_are_all_read(mode: str) -> None:
    if mode == "I;16":
        grey = code_picture().convert("L")
        wide = b"".join(bytes((value, value)) for value in grey.tobytes())
        picture = Image.frombytes("I;16", grey.size, wide)
    else:
        picture = code_picture().convert(mode)
    seen = understood(saved(picture, "PNG"))
    assert seen.payload == CONTACT
    assert [code.text for code in read_codes(opened(seen.picture))] == [CONTACT]


def test_a_code_on_nothing_is_read_as_on_paper() -> None:
    paper = code_picture().convert("RGBA")
    clear = Image.new("RGBA", paper.size, (0, 0, 0, 0))
    ink = paper.convert("L").point(lambda value: 255 - value)
    clear.paste((0, 0, 0, 255), mask=ink)
    assert understood(saved(clear, "WEBP", lossless=True)).payload == CONTACT


def test_a_phone_photo_with_a_second_picture_inside_is_a_photo() -> None:
    photo, depth = code_picture(), Image.new("RGB", (64, 64))
    data = saved(photo, "MPO", save_all=True, append_images=[depth])
    seen = understood(data)
    assert (seen.payload, seen.picture_media_type) == (CONTACT, "image/jpeg")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [code_picture(), code_picture(CARD)]
    assert outcome(saved(frames[0], kind, save_all=True, append_images=frames[1:])) == "unreadable_image"


def test_a_picture_is_what_it_is_and_not_what_it_is_called() -> None:
    for kind in ("PPM", "ICO", "TGA"):
        assert outcome(saved(code_picture(), kind)) == "unsupported_media_type"
    assert outcome(b"") == "unsupported_media_type"
    assert outcome(b"\x89PNG\r\n\x1a\n") == "unreadable_image"


def test_a_large_photo_is_kept_no_larger_than_a_phone_can_show() -> None:
    photo = opened(sample("personal.jpg")).crop((100, 100, 1046, 1300)).resize((5000, 6343))
    seen = understood(saved(photo, "JPEG", quality=60))
    assert max(Image.open(BytesIO(seen.picture)).size) == 2048
    assert seen.kind is TargetKind.WECHAT_PERSONAL


def png_bomb() -> bytes:
    return sample("bomb_30000px.png")


def jpeg_bomb() -> bytes:
    data = bytearray(saved(code_picture(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xea\x60\xea\x60"
    return bytes(data)


def webp_bomb() -> bytes:
    """Make a sound file of a few bytes whose canvas Pillow lets pass, and reserves a gigabyte for."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)

    side, small = (12_000 - 1).to_bytes(3, "little"), (16 - 1).to_bytes(3, "little")
    frame = saved(Image.new("RGB", (16, 16), "red"), "WEBP")[12:]
    body = (
        b"WEBP"
        + chunk(b"VP8X", b"\x02\0\0\0" + side + side)
        + chunk(b"ANIM", bytes(6))
        + chunk(b"ANMF", bytes(6) + small + small + b"\x64\0\0\0" + frame)
    )
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def slightly_too_large() -> bytes:
    return saved(Image.new("1", (8000, 6300)), "PNG")


@pytest.mark.parametrize("bomb", [png_bomb, jpeg_bomb, webp_bomb, slightly_too_large])
def test_a_bomb_is_refused_by_its_header(bomb: Callable[[], bytes]) -> None:
    assert outcome(bomb()) == "image_too_large"


def test_a_file_too_long_is_refused_unopened() -> None:
    assert outcome(b"\0" * (MAX_BYTES + 1)) == "image_too_large"


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0x"}])
def test_webp_headers_tell_the_size_that_the_decoder_finds(options: dict[str, Any]) -> None:
    data = saved(Image.new("RGB", (321, 123), "red"), "WEBP", **options)
    assert webp_size(data) == Image.open(BytesIO(data)).size == (321, 123)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["personal.jpg", "wecom_contact.png", "no_code.jpg", "two_codes.png"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=20),
    st.floats(0, 1),
)
def test_a_damaged_file_is_read_or_refused(name: str, damage: list[tuple[float, int]], kept: float) -> None:
    data = bytearray(sample(name))
    for place, value in damage:
        data[int(place * len(data))] = value
    answer = outcome(bytes(data[: int(len(data) * max(kept, 0.001))]))
    assert isinstance(answer, (Screenshot, str))


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    await reader.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def refused(reader: Reader, data: bytes) -> str:
    with pytest.raises(UploadRefusal) as refusal:
        await reader.read(data, DRAWN_ON)
    return refusal.value.code


async def test_a_child_reads_as_well_as_we_do_within_its_memory(reader: Reader) -> None:
    here = read_screenshot(sample("group_zh.jpg"), DRAWN_ON)
    there = await reader.read(sample("group_zh.jpg"), DRAWN_ON)
    assert there == here
    assert there.name == "春日护肤交流群"


async def test_refusals_come_back_from_the_child_and_it_reads_on(reader: Reader) -> None:
    assert await refused(reader, sample("two_codes.png")) == "several_qr_codes"
    pids = reader.pids
    assert (await reader.read(sample("personal.jpg"), DRAWN_ON)).kind is TargetKind.WECHAT_PERSONAL
    assert reader.pids == pids


async def test_the_event_loop_runs_on_while_a_picture_is_read(reader: Reader) -> None:
    reading = asyncio.create_task(reader.read(sample("wecom_contact.png"), DRAWN_ON))
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert (await reading).kind is TargetKind.WECOM_CONTACT
    assert turns > 100


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_bombs_use_no_memory(reader: Reader) -> None:
    for bomb in (png_bomb(), jpeg_bomb(), webp_bomb()):
        assert await refused(reader, bomb) == "image_too_large"
    (pid,) = reader.pids
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert int(status["VmHWM"].split()[0]) < 120 * 1024
    assert int(status["VmPeak"].split()[0]) < 400 * 1024


async def test_too_little_memory_refuses_the_picture_and_spares_the_service() -> None:
    reader = Reader(memory_limit_bytes=200 * 1024 * 1024)
    photo = saved(opened(sample("personal.jpg")).resize((5800, 8400)), "JPEG", quality=50)
    assert await refused(reader, photo) == "unreadable_image"
    assert (await reader.read(sample("personal.jpg"), DRAWN_ON)).kind is TargetKind.WECHAT_PERSONAL
    await reader.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_child_is_told_no_secret(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUOMA_SECRET", "never tell")
    await reader.read(sample("personal.jpg"), DRAWN_ON)
    (pid,) = reader.pids
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"PYTHONPATH" in environment
    assert b"never tell" not in environment


async def test_a_child_that_hangs_is_killed_and_replaced() -> None:
    reader = Reader(time_limit_s=1.0)
    await reader.read(sample("personal.jpg"), DRAWN_ON)
    (stuck,) = reader.pids
    os.kill(stuck, signal.SIGSTOP)
    assert await refused(reader, sample("personal.jpg")) == "unreadable_image"
    assert not alive(stuck)
    assert (await reader.read(sample("personal.jpg"), DRAWN_ON)).kind is TargetKind.WECHAT_PERSONAL
    assert stuck not in reader.pids
    await reader.close()


async def test_a_child_that_died_idle_costs_nobody_an_upload(reader: Reader) -> None:
    await reader.read(sample("personal.jpg"), DRAWN_ON)
    (child,) = reader._alive
    child.process.kill()
    await child.process.wait()
    assert (await reader.read(sample("personal.jpg"), DRAWN_ON)).kind is TargetKind.WECHAT_PERSONAL


async def test_an_upload_given_up_leaves_no_child_and_no_wrong_answer(reader: Reader) -> None:
    await reader.read(sample("personal.jpg"), DRAWN_ON)
    (before,) = reader.pids
    os.kill(before, signal.SIGSTOP)
    reading = asyncio.create_task(reader.read(sample("wecom_contact.png"), DRAWN_ON))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not alive(before)
    assert (await reader.read(sample("personal.jpg"), DRAWN_ON)).kind is TargetKind.WECHAT_PERSONAL


async def test_a_child_is_replaced_after_its_share_of_pictures() -> None:
    reader = Reader(reads_per_child=1)
    await reader.read(sample("personal.jpg"), DRAWN_ON)
    assert not reader.pids
    await reader.read(sample("personal.jpg"), DRAWN_ON)
    await reader.close()


async def test_closing_leaves_no_process_behind_and_takes_no_more() -> None:
    reader = Reader(children=2)
    await asyncio.gather(*(reader.read(sample("personal.jpg"), DRAWN_ON) for _ in range(3)))
    pids = reader.pids
    assert len(pids) == 2
    await reader.close()
    assert not any(alive(pid) for pid in pids)
    with pytest.raises(RuntimeError):
        await reader.read(sample("personal.jpg"), DRAWN_ON)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_child_ends_with_a_parent_that_was_killed() -> None:
    script = """
import asyncio, os, signal, sys
from datetime import date
from pathlib import Path
from app.qr.reader import WAITING_MAX, Reader

async def main():
    reader = Reader()
    await reader.read(Path(sys.argv[1]).read_bytes(), date(2026, 11, 21))
    print(*reader.pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    parent = subprocess.run(
        [sys.executable, "-c", script, str(SAMPLES / "personal.jpg")],
        stdout=subprocess.PIPE,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    child = Path("/proc") / parent.stdout.decode().strip()
    assert child.name.isdigit()
    for _ in range(200):
        if not child.exists() or ") Z " in (child / "stat").read_text():
            return
        await asyncio.sleep(0.02)
    pytest.fail("the child lives on")


async def test_only_so_many_pictures_wait_for_their_turn(reader: Reader) -> None:
    asked = [reader.read(b"no picture", date(2026, 11, 21), f"owner {n}") for n in range(WAITING_MAX + 10)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    codes = Counter(one.code for one in told if isinstance(one, Refusal))
    assert codes == {"unsupported_media_type": WAITING_MAX + 1, "too_many_uploads": 9}
    assert await refused(reader, b"no picture") == "unsupported_media_type"
