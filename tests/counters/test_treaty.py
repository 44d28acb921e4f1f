"""Hold the headers of the Lua files against what stands below them, and against Python."""

import re
from pathlib import Path

import pytest

from app.counters import scripts
from app.domain.event import EventKind
from app.domain.rotation import Verdict

FOLDER = Path(scripts.__file__).parent / "lua"
FILES = sorted(path.stem for path in FOLDER.glob("*.lua"))


def test_every_script_is_a_file_and_every_file_a_script() -> None:
    assert sorted(script.name for script in scripts.ALL) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_header_says_keys_arguments_reply_and_cost(name: str) -> None:
    header = _header(name)
    words = re.findall(r"^-- ([A-Z]+) +", header, re.MULTILINE)
    assert words == ["KEYS", "ARGV", "REPLY", "COST"]


@pytest.mark.parametrize("name", FILES)
def test_a_script_touches_no_key_but_those_it_is_given(name: str) -> None:
    body = _body(name)
    spelled = re.findall(r"redis\.call\('(\w+)', ([^,)]+)", body)
    assert spelled
    given = {"KEYS[", "meta", "counts", "holds", "seen", "reopened", "news_key", "adds_key[day]", "sieve"}
    assert [key for _, key in spelled if not any(key.startswith(name) for name in given)] == []


@pytest.mark.parametrize("name", FILES)
def test_a_header_numbers_every_fixed_key_that_is_used(name: str) -> None:
    used = {int(n) for n in re.findall(r"KEYS\[(\d+)\]", _body(name))}
    keys = _header(name).split("-- ARGV")[0]
    assert used <= {int(n) for n in re.findall(r"(?:KEYS +|\| )(\d+) ", keys)}


@pytest.mark.parametrize("name", FILES)
def test_a_script_reads_no_clock_and_draws_no_chance(name: str) -> None:
    assert not re.search(r"'TIME'|math\.random|os\.", _body(name))


def test_verdicts_have_the_same_numbers_in_lua_header_and_python() -> None:
    names, numbers = re.search(r"local (STALE[A-Z, ]+) = ([\d, ]+)", _body("claim")).groups()  # type: ignore[union-attr]
    in_lua = dict(zip(names.split(", "), numbers.split(", "), strict=True)) | {"PASSED": "a"}
    assert "local PASSED = 'a'" in _body("claim"), "a digit of base 16, since there are more than ten"
    assert in_lua == {verdict.name: f"{verdict:x}" for verdict in Verdict}
    header = re.sub(r"\n--\s+", " ", _header("claim"))
    in_header = re.search(r"verdict: ((?:[0-9a-f] \w+ ?)+)", header)
    assert in_header
    assert dict(re.findall(r"([0-9a-f]) (\w+)", in_header[1])) == {f"{v:x}": v.name.lower() for v in Verdict}


def test_every_event_kind_that_lua_writes_is_one_of_ours() -> None:
    written = set(re.findall(r"(?:record\(|record\(hold > 0 and 'c' or )'(\w)'", _body("claim")))
    assert "record(hold > 0 and 'c' or 't'," in _body("claim")
    written |= {"c"}
    written |= {
        kind
        for name in ("rebase", "publish", "rebuild", "restore_adds")
        for kind in re.findall(r"'(\w)\|'", _body(name))
    }
    assert written == {"x", "l", "c", "t", "r", "s", "b", "k"}
    assert written <= {kind.value for kind in EventKind}


def _header(name: str) -> str:
    text = (FOLDER / f"{name}.lua").read_text()
    return text[: text.index("\n\n")]


def _body(name: str) -> str:
    text = (FOLDER / f"{name}.lua").read_text()
    return text[text.index("\n\n") :]
