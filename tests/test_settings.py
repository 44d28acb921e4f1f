import math
import re
from dataclasses import Field, fields
from pathlib import Path

import pytest

from app.cli import main
from app.settings import Settings


def test_what_is_not_set_has_a_default() -> None:
    settings = Settings.read({"PATH": "/bin"})
    assert (settings.port, settings.url) == (8000, "http://127.0.0.1:8000")


def test_what_is_set_is_read_in_its_own_type() -> None:
    settings = Settings.read({"HUOMA_PORT": "81", "HUOMA_DATA_DIR": "/d", "HUOMA_REDIS_TIMEOUT_SECONDS": "0.5"})
    assert (settings.port, settings.data_dir, settings.redis_timeout_seconds) == (81, Path("/d"), 0.5)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [("HUOMA_PROT", "81", "no setting HUOMA_PROT"), ("HUOMA_PORT", "http", "HUOMA_PORT='http'")],
)
def test_a_mistake_is_named(name: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Settings.read({name: text})


def test_a_public_url_is_printed_without_its_last_slash() -> None:
    assert Settings.read({"HUOMA_PUBLIC_URL": "https://qr.example/"}).url == "https://qr.example"


@pytest.mark.parametrize(
    "url", ["192.168.1.20:8345", "foo", "http://x/base", "https://", "ftp://x", "https://a b", "https://u@x", "//x"]
)
def test_a_public_url_that_would_print_dead_posters_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must look like https"):
        Settings.read({"HUOMA_PUBLIC_URL": url})


def test_a_service_that_listens_everywhere_is_reached_on_loopback() -> None:
    assert Settings.read({"HUOMA_HOST": "0.0.0.0"}).url == "http://127.0.0.1:8000"


def test_an_ipv6_host_makes_a_url() -> None:
    assert Settings.read({"HUOMA_HOST": "::1"}).url == "http://[::1]:8000"


def test_a_child_is_told_every_setting() -> None:
    settings = Settings.read({"HUOMA_PORT": "81", "HUOMA_SECRET": "s" * 16})
    assert Settings.read({k: v for k, v in settings.environment().items() if k.startswith("HUOMA_")}) == settings


def test_a_secret_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    made = settings.kept_secret()
    assert len(made) >= 32
    assert settings.kept_secret() == made
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0


def test_no_secret_is_a_mistake_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="HUOMA_SECRET"):
        Settings().secrets()


def test_several_secrets_are_split_at_commas() -> None:
    assert Settings(secret="the first of two, and the other one").secrets() == [
        b"the first of two",
        b"and the other one",
    ]


NUMBERS = [knob for knob in fields(Settings) if knob.type in (int, float)]


def test_every_number_has_bounds_that_hold_its_default() -> None:
    assert len(NUMBERS) >= 15
    for knob in NUMBERS:
        least, most = knob.metadata["between"]
        assert 0 <= least <= knob.default <= most < math.inf, knob.name


@pytest.mark.parametrize("knob", NUMBERS, ids=lambda knob: knob.name)
def test_a_number_out_of_its_bounds_is_refused(knob: Field[float]) -> None:
    name = f"HUOMA_{knob.name.upper()}"
    least, most = knob.metadata["between"]
    step = 1 if knob.type is int else 0.001
    for value in (least, most):
        assert getattr(Settings.read({name: str(value)}), knob.name) == value
    odd = (-1, least - step, most + step) if knob.type is int else (-1, least - step, most + step, "nan", "inf")
    for text in odd:
        with pytest.raises(ValueError, match=rf"^{name}=.* must lie between {least:,} and {most:,}\.$"):
            Settings.read({name: str(text)})


@pytest.mark.parametrize("text", ["short", "a secret for tests only,short", "a secret for tests only,"])
def test_a_secret_that_can_be_guessed_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="16 characters or more") as raised:
        Settings.read({"HUOMA_SECRET": text})
    assert "tests" not in str(raised.value)


@pytest.mark.parametrize("command", ["up", "serve", "serve --port 70000", "worker", "migrate", "verify", "rebuild"])
def test_nothing_runs_with_a_number_out_of_its_bounds(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HUOMA_DATA_DIR", str(tmp_path / "none"))
    if "--port" in command:
        # Servers that answer are not needed to refuse it.
        monkeypatch.setenv("HUOMA_DATABASE_URL", "postgresql+asyncpg://huoma@127.0.0.1:1/huoma")
        monkeypatch.setenv("HUOMA_REDIS_URL", "redis://127.0.0.1:1")
    else:
        monkeypatch.setenv("HUOMA_EVENTS_DAYS", "-1")
    assert main(command.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"huoma: HUOMA_\w+=\S+ must lie between .*\.\n", said.err)
    assert not (tmp_path / "none").exists()
