"""A data directory that was copied, or is another's, starts or says in one sentence what to do."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded import EmbeddedServers, ForeignDirectoryError, PostgresServer, ServerFailedError
from app.embedded.ownership import claim
from tests.test_embedded import OWNER, on_linux, place, remember, remembered

__all__ = ["place"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
OTHER = 54_321


def test_a_copy_that_everybody_may_read_starts(place: Path) -> None:
    with EmbeddedServers(place / "first") as first:
        remember(first.servers, "kept")
    shutil.copytree(place / "first", place / "second", symlinks=True)
    (place / "second" / "postgres" / "data").chmod(0o755)
    with EmbeddedServers(place / "second") as second:
        assert remembered(second.servers) == ("kept", "kept")
    assert stat.S_IMODE((place / "second" / "postgres" / "data").stat().st_mode) == 0o700


@as_root
def test_a_copy_that_belongs_to_another_user_starts_for_root(place: Path) -> None:
    with EmbeddedServers(place / "first") as first:
        remember(first.servers, "kept")
    # Copied without owners, as by `cp -r`: all of it is root's.
    shutil.copytree(place / "first", place / "second", symlinks=True)
    assert (place / "second" / "postgres" / "data").stat().st_uid == 0
    with EmbeddedServers(place / "second") as second:
        assert remembered(second.servers) == ("kept", "kept")


@as_root
def test_a_directory_of_another_user_is_refused_with_what_to_do(place: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from app.embedded.ownership import claim; "
        f"os.setuid({OTHER}); claim(Path(sys.argv[1]))"
    )
    place.chmod(0o755)
    failed = subprocess.run(
        [sys.executable, "-c", program, str(place)], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    last = failed.stderr.strip().splitlines()[-1]
    assert f"{place} belongs to root and this is user {OTHER}: as root, run `chown -R {OTHER} {place}`." in last


def test_what_is_no_directory_is_refused(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(ForeignDirectoryError, match="is no directory"):
        EmbeddedServers(place / "file").start()
    claim(place)


@on_linux
def test_a_copy_made_while_it_runs_leaves_the_original_alone(place: Path) -> None:
    # So long a path that sockets are elsewhere, behind a link that a copy has, too.
    original = place / ("long" * 30)
    command = [sys.executable, "-c", OWNER, str(original)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        try:
            sockets = (original / "postgres" / "sockets").resolve()
            copy = place / ("copy" * 30)
            shutil.copytree(original, copy, symlinks=True, ignore=shutil.ignore_patterns("*.sock", ".s.PGSQL*"))
            with EmbeddedServers(copy) as second:
                remember(second.servers, "copied")
                assert (copy / "postgres" / "sockets").resolve() != sockets
            assert list(sockets.glob(".s.PGSQL*")), "the sockets of the original"
        finally:
            owner.kill()


def test_data_of_another_postgresql_is_named(place: Path) -> None:
    server = PostgresServer(place / "postgres")
    server.start()
    server.stop()
    (place / "postgres" / "data" / "PG_VERSION").write_text("99\n")
    with pytest.raises(ServerFailedError, match="was made by PostgreSQL 99, and here is ") as refused:
        PostgresServer(place / "postgres").start()
    assert "\n" not in str(refused.value)


def test_a_server_that_does_not_start_says_why_in_one_line(place: Path) -> None:
    server = PostgresServer(place / "postgres")
    server.start()
    server.stop()
    (place / "postgres" / "data" / "postgresql.conf").write_text("shared_buffers = nonsense\n")
    with pytest.raises(ServerFailedError, match=r"did not start.*log$") as refused:
        server.start()
    assert "\n" not in str(refused.value)
    assert "configuration file" in str(refused.value)
