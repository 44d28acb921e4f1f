"""Fail when the documentation lies: regenerate docs/reference.md, follow links, look up every name that is mentioned.

Law: what can be read from the code is read from the code. `--write` writes the reference anew.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
REFERENCE: Final = ROOT / "docs" / "reference.md"
TRANSLATIONS: Final = (
    ("README.md", "README.zh-CN.md"),
    ("docs/mini-program.md", "docs/mini-program.zh-CN.md"),
)
ADR_HEADINGS: Final = ("Context", "Decision", "Consequences", "Alternatives", "Enforced by")
# One page; what needs more is two decisions.
ADR_LINES: Final = 60
# A changelog names what is gone, and so is asked for links only.
OF_THE_PAST: Final = frozenset({"CHANGELOG.md"})

_FENCE: Final = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)[^)]*\)")
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:|#")
_SETTING: Final = re.compile(r"\bHUOMA_[A-Z][A-Z_]*[A-Z]")
_MAKE: Final = re.compile(r"(?:^|[\s;&|(])make ([a-z][a-z0-9-]*)", re.MULTILINE)
_HUOMA: Final = re.compile(
    r"(?:^|[;&|]|\$)[ \t]*(?:huoma|\S*python3? -m app\.cli) ([a-z-]+)(?: ([a-z-]+))?", re.MULTILINE
)
_PATH: Final = re.compile(r"(?:app|bench|chaos|deploy|docs|migrations|requirements|tests)/[\w./-]*")
_TEST: Final = re.compile(r"test_\w+")
_RULE: Final = re.compile(r"\|(?: *:?-+:? *\|)+")


@dataclass(frozen=True)
class Page:
    """Hold one Markdown file; code in it is what stands between backticks or fences."""

    path: Path
    text: str

    @cached_property
    def name(self) -> str:
        """Name the file from the top of the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """List fenced blocks as (language, content)."""
        return [(found[2].strip(), found[3]) for found in _FENCE.finditer(self.text)]

    @cached_property
    def prose(self) -> str:
        """Give the text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def spans(self) -> list[str]:
        """List what stands between backticks within a line."""
        return [found[2].strip() for found in _SPAN.finditer(self.prose)]

    @cached_property
    def code(self) -> list[str]:
        """List all that is meant to be typed or called; `text` is what something else has printed."""
        return [content for language, content in self.blocks if language != "text"] + self.spans


def main() -> int:
    """Check everything, or write the reference; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="docs/check.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write docs/reference.md anew")
    # The interpreter put docs/ on the path, and the code is one above.
    sys.path.insert(0, str(ROOT))
    if parser.parse_args().write:
        REFERENCE.write_text(reference(), encoding="utf-8")
    lies = list(_lies())
    for lie in lies:
        print(lie, file=sys.stderr)
    if lies:
        print(f"docs: {len(lies)} to put right.", file=sys.stderr)
    return 1 if lies else 0


def pages() -> list[Page]:
    """Read every Markdown file of ours."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [Page(path, path.read_text(encoding="utf-8")) for path in sorted(found)]


def _lies() -> Iterator[str]:
    yield from _stale_reference()
    known = _Known()
    for page in pages():
        yield from _dead_links(page)
        yield from _broken_tables(page)
        if page.name not in OF_THE_PAST:
            yield from known.unknown_names(page)
    for path in sorted((ROOT / "docs" / "adr").glob("*.md")):
        yield from _odd_adr(Page(path, path.read_text(encoding="utf-8")))
    for original, translation in TRANSLATIONS:
        yield from _different_blocks(original, translation)


def _stale_reference() -> Iterator[str]:
    if not REFERENCE.exists() or REFERENCE.read_text(encoding="utf-8") != reference():
        yield "docs/reference.md does not say what the code says; write it anew with docs/check.py --write"


def _dead_links(page: Page) -> Iterator[str]:
    for found in _LINK.finditer(_SPAN.sub("", page.prose)):
        goal = found[1]
        if not _ELSEWHERE.match(goal) and not (page.path.parent / goal.partition("#")[0]).exists():
            yield f"{page.name}: the link to {goal} leads nowhere"


def _broken_tables(page: Page) -> Iterator[str]:
    """Name rows that no head stands above: an empty line ends a table, and what follows is raw text."""
    within = False
    lines = page.prose.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        row = line.startswith("|")
        if row and not within and not _RULE.fullmatch(following):
            yield f"{page.name}: no head of a table is above the row {line[:60]}"
        within = row


class _Known:
    """Know every name that documentation may mention."""

    def __init__(self) -> None:
        from app.settings import PREFIX, Settings

        self._settings = {PREFIX + knob.name.upper() for knob in fields(Settings)}
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        self._targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
        self._commands = {command.words for command in _commands()}
        tests = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
        self._tests = {name for text in tests for name in re.findall(r"def (test_\w+)", text)}
        self._tests |= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}

    def unknown_names(self, page: Page) -> Iterator[str]:
        """Name what a page mentions and nobody has."""
        code = "\n".join(page.code)
        for name in sorted(set(_SETTING.findall(page.text)) - self._settings):
            yield f"{page.name}: there is no setting {name}"
        for name in sorted(set(_MAKE.findall(code)) - self._targets):
            yield f"{page.name}: there is no target make {name}"
        for first, second in sorted(set(_HUOMA.findall(code))):
            if (first,) not in self._commands and (first, second) not in self._commands:
                yield f"{page.name}: there is no command huoma {first} {second}".rstrip()
        for span in page.spans:
            if _PATH.fullmatch(span) and not (ROOT / span).exists():
                yield f"{page.name}: there is no file {span}"
            if _TEST.fullmatch(span) and span not in self._tests:
                yield f"{page.name}: there is no test {span}"


def _odd_adr(page: Page) -> Iterator[str]:
    headings = tuple(re.findall(r"^## (.+?)\s*$", page.prose, re.MULTILINE))
    if headings != ADR_HEADINGS:
        yield f"{page.name}: has the headings {', '.join(headings)}; an ADR has {', '.join(ADR_HEADINGS)}"
    number = page.path.name.partition("-")[0]
    if not re.fullmatch(r"\d{4}", number) or not page.text.startswith(f"# {int(number)}. "):
        yield f"{page.name}: a file NNNN-title.md begins with the line '# N. Title'"
    if page.text.count("\n") > ADR_LINES:
        yield f"{page.name}: is longer than a page of {ADR_LINES} lines"


def _different_blocks(original: str, translation: str) -> Iterator[str]:
    one, other = (Page(ROOT / name, (ROOT / name).read_text(encoding="utf-8")) for name in (original, translation))
    if len(one.blocks) != len(other.blocks):
        yield f"{translation}: has {len(other.blocks)} code blocks, {original} has {len(one.blocks)}"
    for number, (block, copy) in enumerate(zip(one.blocks, other.blocks, strict=False), 1):
        if block != copy:
            yield f"{translation}: code block {number} is not that of {original}"


def reference() -> str:
    """Spell docs/reference.md."""
    sections = (
        ("Settings", _settings()),
        ("Commands", _command_rows()),
        ("Error codes", _error_codes()),
        ("Metrics", _metrics()),
        ("Limits", _limits()),
        ("Reserved slugs", _reserved_slugs()),
        ("Event kinds", _event_kinds()),
        ("Redis keys", _redis_keys()),
        ("Lua scripts", _lua_scripts()),
    )
    head = "# Reference\n\nRead from the code by `docs/check.py`, which `make check-docs` runs. Do not edit.\n"
    return head + "".join(f"\n## {title}\n\n{body.strip()}\n" for title, body in sections)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _settings() -> str:
    from app.settings import PREFIX, Settings, bounds_of

    rows = []
    for knob in fields(Settings):
        empty = knob.default in ("", None)
        between = knob.metadata["between"]
        name, default = f"`{PREFIX}{knob.name.upper()}`", "" if empty else f"`{knob.default}`"
        rows.append([name, default, bounds_of(*between) if between else "", knob.metadata["says"]])
    said = (
        "Environment variables, read once at the start. A variable `HUOMA_…` that is not in this table is refused,\n"
        "and so is a number out of its bounds: the command says which, runs nothing, and exits with 2.\n"
    )
    return f"{said}\n{_table(('variable', 'default', 'between', 'what it says'), rows)}"


@dataclass(frozen=True)
class _Command:
    words: tuple[str, ...]
    takes: str
    says: str


def _commands() -> list[_Command]:
    from app import cli

    # The parser is the one place where commands are named; nobody else needs it.
    return list(_leaves(cli._parser(), (), ""))  # noqa: SLF001


def _leaves(parser: argparse.ArgumentParser, words: tuple[str, ...], says: str) -> Iterator[_Command]:
    actions = parser._actions  # noqa: SLF001 - argparse has no other door to what it was told
    below = [action for action in actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    for group in below:
        helps = {choice.dest: choice.help or "" for choice in group._choices_actions}  # noqa: SLF001
        for name, child in group.choices.items():
            yield from _leaves(child, (*words, name), helps.get(name, ""))
    if not below:
        takes = [_argument(action) for action in actions if action.dest != "help"]
        yield _Command(words, " ".join(takes), says)


def _argument(action: argparse.Action) -> str:
    name = action.dest.upper()
    if not action.option_strings:
        return name
    return f"[{action.option_strings[0]}]" if action.nargs == 0 else f"[{action.option_strings[0]} {name}]"


def _command_rows() -> str:
    rows = [(f"`{' '.join(filter(None, ('huoma', *c.words, c.takes)))}`", f"{c.says}.") for c in _commands()]
    said = (
        "`huoma` is `python -m app.cli`. Exit status: 0 when it did what it says, 2 when it refuses;\n"
        "`huoma verify` and `huoma check-migrations` answer 1 when they have found differences.\n"
    )
    return f"{said}\n{_table(('command', 'what it does'), rows)}"


def _error_codes() -> str:
    from app.web.edge import STATUS

    said = "The field `code` of a problem (RFC 9457, `application/problem+json`). A code never changes its meaning.\n"
    rows = [(f"`{code}`", status) for code, status in STATUS.items()]
    return f"{said}\n{_table(('code', 'status'), rows)}"


def _metrics() -> str:
    from prometheus_client.metrics import MetricWrapperBase

    from app import telemetry

    rows = []
    for metric in vars(telemetry).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - told nowhere else
            rows.append((f"`{name}`", family.type, labels, family.documentation))
    return _table(("metric", "type", "labels", "what it counts"), rows)


def _limits() -> str:
    from app.domain import limits

    rows = [(f"`{name}`", f"{value:,}") for name, value in vars(limits).items() if isinstance(value, int)]
    said = "Bounds that are no settings, by their names in `app/domain/limits.py`.\n"
    return f"{said}\n{_table(('limit', 'value'), rows)}"


def _reserved_slugs() -> str:
    from app.domain.code import RESERVED_SLUGS

    return "Refused in any case of letters: " + ", ".join(f"`{slug}`" for slug in sorted(RESERVED_SLUGS)) + ".\n"


def _event_kinds() -> str:
    from app.domain.event import EventKind

    rows = [(f"`{kind.value}`", kind.name.lower().replace("_", " ")) for kind in EventKind]
    return _table(("letter", "what happened"), rows)


def _redis_keys() -> str:
    from app.counters import keys

    items = [
        f"- `{found[2]}`: {' '.join(line.removeprefix('# ') for line in found[0].splitlines())}"
        for found in _constants(keys)
    ]
    said = "`WORKSPACE`, `CODE` and `DAY` stand for ids and a number.\n"
    for name, spell in vars(keys).items():
        if inspect.isfunction(spell) and spell.__module__ == keys.__name__:
            spelled = spell(*(parameter.upper() for parameter in inspect.signature(spell).parameters))
            all_of = (spelled,) if isinstance(spelled, str) else spelled
            doc = re.sub(r"^Name (the )?", "", " ".join(inspect.cleandoc(spell.__doc__ or name).split()))
            items.append(f"- {', '.join(f'`{key}`' for key in all_of)}: {doc}")
    return said + "\n" + "\n".join(items)


def _constants(module: ModuleType) -> list[tuple[str, str, str]]:
    """List (comment, name, text) of every constant of a module that has a comment above it."""
    return re.findall(r'((?:^# .*\n)+)^([A-Z_]+) = "(.+)"$', inspect.getsource(module), re.MULTILINE)


def _lua_scripts() -> str:
    from app.counters import scripts

    headers: Mapping[str, Any] = {script.name: script.text.partition("\n\n")[0] for script in scripts.ALL}
    said = "Each declares all its keys. Where `KEYS` or `ARGV` repeat, the header says by what.\n"
    return said + "".join(f"\n### {name}.lua\n\n```text\n{_bare(text)}\n```\n" for name, text in headers.items())


def _bare(header: str) -> str:
    return "\n".join(line.removeprefix("--").removeprefix(" ").rstrip() for line in header.splitlines())


if __name__ == "__main__":
    sys.exit(main())
