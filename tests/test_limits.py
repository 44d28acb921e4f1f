"""Hold the page of limits against the code: whatever is bounded is named there, and what is named there is."""

import re
from dataclasses import fields
from pathlib import Path

import app
from app.domain import limits
from app.settings import PREFIX, Settings

PAGE = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Limits and timeouts\n")[2].partition("\n## ")[0]
NAMED = set(re.findall(r"`([A-Z][A-Z_]+)`", SECTION))
# Settings that bound nothing: where things are, and who may do what.
NO_BOUNDS = {
    "database_url", "redis_url", "data_dir", "host", "port", "public_url", "bootstrap_key", "secret", "server",
    "trusted_proxies", "verification_files", "caption_font",
}  # fmt: skip
# A bound that a root, a service, an adapter or the web keeps for itself: by its name, a number in capitals.
_BOUND = re.compile(
    r"^([A-Z][A-Z_]*(?:_MAX|_SECONDS|_BYTES_A_SECOND|_TRIES)|BACKLOG|MAX_[A-Z]+)(?:: Final)? = ", re.MULTILINE
)
# Inside of private servers: how often they are looked at, and what their system allows.
NO_NEWS = {
    "WATCH_SECONDS",
    "POLL_SECONDS",
    "GLANCE_SECONDS",
    "LOCK_POLL_SECONDS",
    "PREDECESSOR_SECONDS",
    "MAX_URL_CHARACTERS",
}


def test_every_limit_is_on_the_page() -> None:
    names = {name for name, value in vars(limits).items() if isinstance(value, int)}
    assert names - NAMED == set()


def test_every_setting_that_bounds_is_on_the_page() -> None:
    bounding = {PREFIX + one.name.upper() for one in fields(Settings) if one.name not in NO_BOUNDS}
    assert bounding - NAMED == set()


def test_every_bound_of_a_module_is_on_the_page() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(app.__file__).parent.rglob("*.py")]
    assert {name for source in sources for name in _BOUND.findall(source)} - NO_NEWS - NAMED == set()


def test_what_is_on_the_page_is_in_the_code() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in Path(app.__file__).parent.rglob("*.py"))
    settings = {PREFIX + one.name.upper() for one in fields(Settings)}
    gone = {name for name in NAMED - settings if not re.search(rf"^{name}(?:: Final)? = ", source, re.MULTILINE)}
    assert gone == set()
