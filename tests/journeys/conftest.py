from collections.abc import Iterator

import pytest

from tests.running import Service, running_service, server_folder


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Run everything with four web processes."""
    with server_folder() as folder, running_service(folder, workers=4) as service:
        yield service
