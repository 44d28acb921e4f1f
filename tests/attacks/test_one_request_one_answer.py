"""Send what two programs would cut into requests in two ways: it is answered once at most, and cut off in doubt."""

from contextlib import closing

import pytest

from tests.running import KEY, Service

from .conftest import Stranger, told

HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /api/v1/codes HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
DOUBTFUL = {
    "a length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 35\r\n\r\n" + HIDDEN,
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}" + HIDDEN,
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + HIDDEN,
    "a length below nothing": POST + b"Content-Length: -2\r\n\r\n{}" + HIDDEN,
    "a length in hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}" + HIDDEN,
    "a length beyond numbers": POST + b"Content-Length: 99999999999999999999999999\r\n\r\n{}" + HIDDEN,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks that are not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a folded line": POST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a chunk size with 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n" + HIDDEN,
    "a chunk size beyond numbers": CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n" + HIDDEN,
    "a chunk size below nothing": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n" + HIDDEN,
    "chunks without carriage returns": CHUNKED + b"2\n{}\n0\n\n" + HIDDEN,
    "a chunk longer than it says": CHUNKED + b"2\r\n{}XX0\r\n\r\n" + HIDDEN,
    "a line break in an extension": CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n" + HIDDEN,
    "a body of a GET": b"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(HIDDEN)
    + HIDDEN,
    "a line that begins with a space": b"GET /healthz HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n",
    "a bare carriage return": b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: y\rZ: w\r\n\r\n",
    "a NUL in a value": b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
    "a NUL in a name": b"GET /healthz HTTP/1.1\r\nHost: h\r\nX\0: a\r\n\r\n",
    "a NUL in a path": b"GET /heal\0thz HTTP/1.1\r\nHost: h\r\n\r\n",
    "a space in a path": b"GET /heal thz HTTP/1.1\r\nHost: h\r\n\r\n",
    "an unknown version": b"GET /healthz HTTP/3.7\r\nHost: h\r\n\r\n",
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("sent", DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_could_be_cut_in_two_ways_is_answered_once_and_cut_off(service: Service, sent: bytes) -> None:
    with closing(Stranger(service)) as stranger:
        stranger.send(sent)
        answer = stranger.rest()
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert answer == b"" or answer[9:12] in {b"400", b"401", b"404"}, answer
    assert b'"ok"' not in answer


def test_requests_in_a_row_are_answered_in_a_row(service: Service) -> None:
    statuses, answer = told(service, HIDDEN * 3 + b"GET /nothing/at/all HTTP/1.1\r\nHost: h\r\n\r\n" + HIDDEN, 20)
    assert statuses == [200, 200, 200, 404, 200], answer


def test_what_cannot_be_read_never_overtakes_the_answer_before_it(service: Service) -> None:
    statuses, answer = told(service, HIDDEN * 2 + b"nonsense\r\n\r\n" + HIDDEN, 20)
    assert statuses[:2] == [200, 200][: len(statuses)], answer
    assert len(statuses) <= 3


def test_fields_after_a_body_are_nobodys(service: Service) -> None:
    """A trailer that names another key is not read, and neither is one that says how long the body was."""
    with_key = CHUNKED.replace(
        b"Host", b"Content-Type: application/json\r\nAuthorization: Bearer " + KEY.encode() + b"\r\nHost"
    )
    body = b'c\r\n{"name":"n"}\r\n0\r\nAuthorization: Bearer hm_other\r\nX-Forwarded-For: 8.8.8.8\r\n\r\n'
    statuses, answer = told(service, with_key + body + HIDDEN, 20)
    assert statuses == [201, 200], answer
    assert told(service, CHUNKED + body, 20)[0] == [401]


def test_more_requests_than_anybody_waits_for_are_not_kept(service: Service) -> None:
    statuses, answer = told(service, HIDDEN * 1000, 20)
    assert 1 <= len(statuses) <= 1000
    assert set(statuses) == {200}, answer[-500:]


@pytest.mark.parametrize("where", ["path", "value", "name", "fields"])
def test_a_head_has_an_end(service: Service, where: str) -> None:
    long = b"a" * 300_000
    sent = {
        "path": b"GET /" + long + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        "value": b"GET /healthz HTTP/1.1\r\nHost: h\r\nCookie: " + long + b"\r\n\r\n",
        "name": b"GET /healthz HTTP/1.1\r\nHost: h\r\n" + long + b": x\r\n\r\n",
        "fields": b"GET /healthz HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(100)) + b"\r\n",
    }[where]
    statuses, answer = told(service, sent, 20)
    assert statuses in ([], [400], [414], [431]), answer


def test_a_head_of_many_cookies_is_read(service: Service) -> None:
    sent = b"GET /healthz HTTP/1.1\r\nHost: h\r\nCookie: " + b"a" * 60_000 + b"\r\n"
    fields = b"".join(b"X-%d: y\r\n" % i for i in range(97))
    assert told(service, sent + fields + b"Connection: close\r\n\r\n", 20)[0] == [200]


def test_what_never_ends_to_be_no_body_is_cut_off(service: Service) -> None:
    """Extensions of chunks and trailers are neither head nor body, and are not kept for ever either."""
    for start, piece in ((CHUNKED + b"2;", b"x" * 65_536), (CHUNKED + b"0\r\nX: ", b"x" * 65_536)):
        with closing(Stranger(service)) as stranger:
            stranger.send(start)
            for _ in range(1000):
                if not stranger.send(piece):
                    break
            else:
                pytest.fail("64 MB of nothing were taken")
