"""Where Redis is, as `HUOMA_REDIS_URL` says it."""

from typing import Any

import pytest
from redis.asyncio.connection import SSLConnection

from app.counters.address import Kind, read_address
from app.settings import Settings


def test_one_server_is_what_redis_py_makes_of_it() -> None:
    address = read_address("redis://user:p%40ss@cache:7000/3")
    assert (address.kind, address.hosts) == (Kind.ONE, ())
    assert address.options == {"username": "user", "password": "p@ss", "host": "cache", "port": 7000, "db": 3}


@pytest.mark.parametrize(
    ("text", "hosts", "options"),
    [
        ("redis+cluster://a", (("a", 6379),), {}),
        ("redis+cluster://a:1,b:2,[::1]:3/0", (("a", 1), ("b", 2), ("::1", 3)), {}),
        ("redis+cluster://:pw@a:1,b", (("a", 1), ("b", 6379)), {"password": "pw"}),
        (
            "rediss+cluster://u:p%2Fw@a?ssl_check_hostname=false",
            (("a", 6379),),
            {"username": "u", "password": "p/w", "ssl_check_hostname": False, "connection_class": SSLConnection},
        ),
    ],
)
def test_a_cluster_is_named_by_some_of_its_nodes(text: str, hosts: object, options: dict[str, Any]) -> None:
    address = read_address(text)
    assert (address.kind, address.hosts, address.options) == (Kind.CLUSTER, hosts, options)


def test_sentinels_are_named_with_what_they_call_the_master() -> None:
    address = read_address("redis+sentinel://u:p@a,b:2/main/4?sentinel_username=s&sentinel_password=q")
    assert (address.kind, address.hosts, address.master) == (Kind.SENTINEL, (("a", 26379), ("b", 2)), "main")
    assert address.options == {"username": "u", "password": "p", "db": 4}
    assert address.sentinel_options == {"username": "s", "password": "q"}


def test_sentinels_behind_tls_are_asked_with_the_same_certificates() -> None:
    address = read_address("rediss+sentinel://a/main?ssl_ca_certs=/ca.pem")
    assert address.tls
    assert address.sentinel_options == {"ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cache:6379", "must look like redis://"),
        ("http://cache", "must look like redis://"),
        ("redis-cluster://secret@a,b", "must look like redis://"),
        ("redis://secret@a:1,b:2", "names several servers"),
        ("redis+cluster://", "where host:port should be"),
        ("redis+cluster://:secret@a:1,", "where host:port should be"),
        ("redis+cluster://a:0", "where host:port should be"),
        ("redis+cluster://a:65536", "where host:port should be"),
        ("redis+cluster://a:port", "where host:port should be"),
        ("redis+cluster://:secret@a/2", "only database 0"),
        ("redis+cluster://:secret@a?db=2", "only database 0"),
        ("redis+sentinel://:secret@a:1", "name of the master"),
        ("redis+sentinel://:secret@a:1/main/zero", "name of the master"),
        ("redis+cluster://:secret@a?colour=red", "options that nobody knows"),
        ("redis://:secret@a?colour=red", "options that nobody knows"),
    ],
)
def test_an_address_that_cannot_be_one_stops_the_start_and_keeps_the_password(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        Settings.read({"HUOMA_REDIS_URL": text})
    assert "HUOMA_REDIS_URL" in str(refused.value)
    assert "secret" not in str(refused.value)
