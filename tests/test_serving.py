"""What web servers are told, where nothing needs to run to see it."""

import resource
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config

from app import serving
from app.leaving import Mortal
from app.settings import Server, Settings


@pytest.fixture
def few_files() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield 1024
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_takes_no_more_connections_than_it_has_files_for(few_files: int) -> None:
    settings = Settings(redis_connections=100, database_connections=50)
    assert few_files // 2 < serving.connections_max(settings) < few_files - 150
    assert serving.connections_max(Settings(redis_connections=few_files)) > 0


def test_a_server_is_named_or_refused_with_the_names_there_are() -> None:
    assert Settings.read({}).server is Server.UVICORN
    assert Settings.read({"HUOMA_SERVER": "granian"}).server is Server.GRANIAN
    with pytest.raises(ValueError, match="HUOMA_SERVER='gunicorn' cannot be read as uvicorn, granian"):
        Settings.read({"HUOMA_SERVER": "gunicorn"})


def test_a_parent_of_any_version_knows_how_to_call_the_application() -> None:
    """On SIGHUP the processes of a new version are told by the old one how they are served."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        pass

    config = Config(Mortal(app))
    config.load()
    assert config.interface == "asgi3"
