"""Ask whether any pinned package has a known vulnerability; exit 1 names each.

Where nobody can be asked, it says so in one line and exits with 0: a check must work offline, too.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ANSWER_SECONDS: Final = 5
ALL_SECONDS: Final = 120


def main() -> int:
    """Ask about the packages of every file of pins."""
    if importlib.util.find_spec("pip_audit") is None:
        print("audit: skipped, since pip-audit is not installed")
        return 0
    found: set[str] = set()
    for pins in sorted(HERE.glob("*.txt")):
        told = ask(pins)
        if told is None:
            print("audit: skipped, since nobody who knows vulnerabilities can be reached from here")
            return 0
        found |= set(named(told))
    for line in sorted(found):
        print(f"audit: {line}")
    return 1 if found else 0


def ask(pins: Path, command: Sequence[str] = (sys.executable, "-m", "pip_audit")) -> list[Any] | None:
    """Ask about the packages of one file; None when no answer came about any of them."""
    options = ["--disable-pip", "--no-deps", "--require-hashes", "--progress-spinner=off", "--format=json"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own file
            [*command, *options, f"--timeout={ANSWER_SECONDS}", "--requirement", str(pins)],
            capture_output=True,
            text=True,
            timeout=ALL_SECONDS,
            check=False,
        )
        told: list[Any] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return told if any("vulns" in one for one in told) else None


def named(told: Sequence[Any]) -> list[str]:
    """Name every vulnerability, and the version that has it no more."""
    return [
        f"{one['name']} {one['version']}: {vulnerability['id']}"
        + (f", mended in {', '.join(vulnerability['fix_versions'])}" if vulnerability["fix_versions"] else "")
        for one in told
        for vulnerability in one.get("vulns", ())
    ]


if __name__ == "__main__":
    sys.exit(main())
