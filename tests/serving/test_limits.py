"""Clients that are too many or too slow, byte by byte; the others notice nothing."""

import socket
from collections.abc import Iterator

import pytest

from cotenant.serving.limits import Limits
from tests.serving.served import Served, Wire, served

_HEALTH = b"GET /v2/health/live HTTP/1.1\r\nhost: test\r\n\r\n"
_INFER = b"POST /v2/models/image/infer HTTP/1.1\r\nhost: test\r\n"
_QUICK = Limits(
    connections=3,
    turned_away=1,
    head_s=0.1,
    body_s=0.1,
    body_bytes_per_s=1e9,
    idle_s=0.2,
    stalled_s=0.2,
    tick_s=0.02,
)


@pytest.fixture(scope="module")
def quick() -> Iterator[Served]:
    """A server that loses its patience soon."""
    with served(limits=_QUICK) as one:
        yield one


@pytest.fixture
def patient() -> Iterator[Served]:
    """A server that waits for ever, but lets few in."""
    with served(limits=Limits(connections=3, turned_away=1)) as one:
        yield one


def _trickle(wire: Wire, content: bytes, more: bytes) -> None:
    """Send bytes one by one, until the server has had enough."""
    wire.send(content)
    wire.socket.settimeout(0.01)
    for _ in range(2000):
        try:
            wire.send(more)
            if wire.socket.recv(1, socket.MSG_PEEK):
                break
        except TimeoutError:
            continue
    else:
        raise AssertionError("the server never lost its patience")
    wire.socket.settimeout(10.0)


@pytest.mark.parametrize(
    ("content", "more", "says"),
    [
        (b"GET /", b"a", "head took over"),
        (_INFER + b"x-slow: ", b"a", "head took over"),
        (_INFER, b"x: y\r\n", "head took over"),
        (_INFER + b"content-length: 90000\r\n\r\n", b"a", "of the body came in"),
        (_INFER + b"content-length: 900000\r\n\r\n", b"a", "of the body came in"),
        (_INFER + b"transfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n", "of the body came in"),
    ],
)
def test_a_request_that_trickles(quick: Served, content: bytes, more: bytes, says: str) -> None:
    with Wire(quick.ports.http) as wire:
        wire.send(_HEALTH)  # one that comes quickly is answered on the same connection
        assert wire.reply().status == 200
        _trickle(wire, content, more)
        reply = wire.reply()
        assert (reply.status, says in reply.error) == (408, True)
        assert reply.headers["connection"] == "close"
    with Wire(quick.ports.http) as wire:
        assert wire.ask("GET", "/v2/health/live").status == 200


def test_a_connection_without_a_request_ends_without_a_word(quick: Served) -> None:
    with Wire(quick.ports.http) as silent, Wire(quick.ports.http) as blank:
        assert silent.ended()
        blank.socket.settimeout(10.0)
        assert blank.ended()
    quick.wait_until(lambda: not quick.server._http.connections)


def test_an_answer_that_nobody_takes_does_not_stay(quick: Served) -> None:
    size = 3 * 224 * 224
    shape = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3,224,224],"parameters":'
    header = shape + b'{"binary_data_size":%d}}]}' % (4 * size)
    body = header + bytes(4 * size)
    length = b"inference-header-content-length: %d\r\n" % len(header)
    head = _INFER + length + b"content-length: %d\r\n\r\n" % len(body)
    with Wire(quick.ports.http) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send(head + body)
        # Its answer is megabytes of text; the client reads none of it and stays.
        quick.wait_until(lambda: bool(quick.server._http.connections))
        quick.wait_until(lambda: not quick.server._http.connections)


def test_one_connection_too_many_is_told_so(patient: Served) -> None:
    http = patient.server._http
    first = [Wire(patient.ports.http) for _ in range(3)]
    for wire in first:
        assert wire.ask("GET", "/v2/health/live").status == 200
    with Wire(patient.ports.http) as fourth:
        reply = fourth.reply()
        assert (reply.status, "--max-connections" in reply.error) == (503, True)
        assert fourth.ended()
    patient.wait_until(lambda: len(http.connections) <= 3)
    # Those that are in go on, and one that leaves makes room.
    for wire in first:
        assert wire.ask("GET", "/v2/health/live").status == 200
    first.pop().socket.close()
    patient.wait_until(lambda: len(http.connections) == 2)
    with Wire(patient.ports.http) as wire:
        assert wire.ask("GET", "/v2/health/live").status == 200
    # Another port has limits of its own.
    with Wire(patient.ports.metrics) as wire:
        assert wire.ask("GET", "/metrics").status == 200
    for wire in first:
        wire.socket.close()


def test_a_flood_of_connections_is_cut_off(patient: Served) -> None:
    wires = [Wire(patient.ports.http) for _ in range(20)]
    first = [wire.ask("GET", "/v2/health/live").status for wire in wires[:3]]
    assert first == [200, 200, 200]
    told = cut = 0
    for wire in wires[3:]:
        try:
            if wire.socket.recv(1, socket.MSG_PEEK):
                told += wire.reply().status == 503
            else:
                cut += 1
        except ConnectionError:
            cut += 1
    assert told + cut == 17
    assert told >= 1
    assert cut >= 1
    assert len(patient.server._http.connections) <= 4
    for wire in wires:
        wire.socket.close()
