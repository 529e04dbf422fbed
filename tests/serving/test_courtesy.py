"""Bodies of best-effort requests stay unread while critical work fills a component."""

from collections.abc import Iterator

import numpy as np
import pytest

from cotenant.serving import courtesy
from tests.serving.served import Served, Wire

_FRAME = np.zeros((1, 3, 224, 224), np.float32).tobytes()
_NOTHING_MORE_S = 0.2


@pytest.fixture
def pressed(server: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(courtesy, "LONGEST_S", 30.0)
    server.runtime.pressed = True
    yield server
    server.call(server.runtime.ease)


def _send(wire: Wire, model: str, body: bytes) -> None:
    """A raw body: the model's only input."""
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\ncontent-length: {len(body)}\r\n"
        "inference-header-content-length: 0\r\n\r\n"
    )
    wire.send(head.encode() + body)


def test_a_held_body_is_read_when_critical_work_has_ended(pressed: Served, wire: Wire) -> None:
    _send(wire, "image", _FRAME)
    wire.socket.settimeout(_NOTHING_MORE_S)
    with pytest.raises(TimeoutError):
        wire.reply()
    assert pressed.runtime.asked == []
    pressed.call(pressed.runtime.ease)
    wire.socket.settimeout(10.0)
    assert wire.reply().status == 200
    assert [one["task"] for one in pressed.runtime.asked] == ["image"]


def test_a_body_is_held_for_a_bounded_time(
    pressed: Served, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courtesy, "LONGEST_S", 0.05)
    _send(wire, "image", _FRAME)
    assert wire.reply().status == 200
    assert pressed.runtime.pressed


def test_many_held_connections_are_all_answered(pressed: Served) -> None:
    wires = [Wire(pressed.ports.http) for _ in range(20)]
    for wire in wires:
        _send(wire, "image", _FRAME[: 4 * 40_000] if wire is wires[3] else _FRAME)
    wires.pop(5).socket.close()  # this one does not wait for its answer
    pressed.call(pressed.runtime.ease)
    statuses = [wire.reply().status for wire in wires]
    assert statuses == [200, 200, 200, 400, *[200] * 15]
    for wire in wires:
        wire.socket.close()


def test_critical_and_small_requests_are_never_held(pressed: Served, wire: Wire) -> None:
    # Wrong on purpose: what counts is that it is read and answered.
    _send(wire, "pair", _FRAME)
    assert wire.reply().status == 400
    assert wire.ask("POST", "/v2/models/double/infer", b"{").status == 400
    assert wire.ask("POST", "/v2/models/nosuch/infer", _FRAME).status == 400
