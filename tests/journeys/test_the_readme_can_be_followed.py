"""What README says to type does what README says: each of its commands is run, in both languages."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running import Service

ROOT = Path(__file__).parents[2]
# A refusal of the API ends the tour; scans may be told that there is nothing.
CURL = """
curl() {
  case "$*" in
    */api/v1*) command curl --fail-with-body "$@" ;;
    *) command curl "$@" ;;
  esac
}
"""


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_tour(service: Service, tmp_path: Path, readme: str) -> None:
    if shutil.which("curl") is None:
        if os.environ.get("CI"):
            pytest.fail("No curl on PATH (apt-get install curl).")
        pytest.skip("No curl on PATH (apt-get install curl).")
    made = service.run("workspaces", "create", "tour")
    key = made.stdout.split()[-1]
    steps = re.findall(r"```sh\n(.*?)```", _tour((ROOT / readme).read_text()), flags=re.DOTALL)
    assert len(steps) >= 15
    script = "\n".join(steps).replace("http://127.0.0.1:8000", service.url).replace("/tmp/", f"{tmp_path}/")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", CURL + script],
        input=key + "\n", capture_output=True, text=True, cwd=ROOT, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = re.findall(r'"outcome":\s*"(\w+)"', done.stdout)
    # The first scan is shown beside, and what `explain` says of the adviser depends on the hour.
    assert [one for one in told if one not in ("claimed", "fallback")] == ["returned", "returned", "full", "menu"]
    assert re.findall(r"(?i)x-huoma-outcome: (\w+)", done.stdout) == ["fallback", "claimed"]
    assert "utm_source=poster" in done.stdout
    assert re.search(r'"taken":\s*13\b', done.stdout)
    for name in ("poster.png", "poster.svg", "caption.png", "group.png", "card.png"):
        assert (tmp_path / name).stat().st_size > 500, name


def _tour(readme: str) -> str:
    """Return what stands between the first heading after running it and the promises."""
    begin = readme.index("curl", readme.index("## ", readme.index("make test")))
    return readme[readme.rindex("## ", 0, begin) : readme.index("| ---", begin)]
