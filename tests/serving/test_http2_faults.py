"""Bytes that no honest client sends: each ends its stream or its connection, as RFC 9113 says."""

import pytest

from cotenant.serving.http2 import frames
from cotenant.serving.http2.frames import Code, frame
from cotenant.serving.http2.headers import encode_fields
from tests.serving.peer import (
    END,
    INFER,
    LIVE,
    WHOLE,
    Ended,
    Peer,
    call,
    data,
    double,
    fields_of,
    headers,
    image,
    message,
    slow,
)
from tests.serving.served import Served

_PADDED, _SETTINGS = frames.PADDED, frames.SETTINGS
_HEAD = encode_fields(fields_of(LIVE))
# What a connection may do in a second, several times over: a second may end within a flood.
_FLOOD = 60_001


def _setting(name: int, value: int) -> bytes:
    return frames.settings_frame({name: value})


def _window(number: int, increment: int) -> bytes:
    return frames.window_frame(number, increment)


_CONNECTION_FAULTS = {
    "a frame over the limit": (
        frames.frame_head(2**20 + 1, frames.DATA, 0, 1),
        Code.FRAME_SIZE_ERROR,
    ),
    "DATA on stream 0": (data(0, b""), Code.PROTOCOL_ERROR),
    "DATA on an idle stream": (data(1, b""), Code.PROTOCOL_ERROR),
    "DATA on a server's stream": (data(2, b""), Code.PROTOCOL_ERROR),
    "HEADERS on a server's stream": (headers(2, INFER), Code.PROTOCOL_ERROR),
    "HEADERS on stream 0": (headers(0, INFER), Code.PROTOCOL_ERROR),
    "a stream opened late": (call(5, double()) + call(3, double()), Code.STREAM_CLOSED),
    "a block that is not continued": (
        headers(1, INFER, flags=0) + frame(frames.PING, 0, 0, bytes(8)),
        Code.PROTOCOL_ERROR,
    ),
    "a block continued on another stream": (
        headers(1, INFER, flags=0) + frame(frames.CONTINUATION, WHOLE, 3),
        Code.PROTOCOL_ERROR,
    ),
    "CONTINUATION of nothing": (frame(frames.CONTINUATION, WHOLE, 1), Code.PROTOCOL_ERROR),
    "CONTINUATION without end": (
        headers(1, INFER, flags=0) + frame(frames.CONTINUATION, 0, 1) * 100,
        Code.ENHANCE_YOUR_CALM,
    ),
    "a block over the limit": (
        headers(1, INFER, flags=0) + frame(frames.CONTINUATION, 0, 1, bytes(16384)) * 5,
        Code.ENHANCE_YOUR_CALM,
    ),
    "a list over the limit": (
        headers(1, INFER, *[(b"x%d" % index, bytes([65]) * 1000) for index in range(63)])
        + frame(frames.HEADERS, WHOLE, 3, b"\x40\x01x\x7f\xe1\x1e" + b"y" * 4000 + b"\xbe" * 50),
        Code.COMPRESSION_ERROR,
    ),
    "a block that is no HPACK": (frame(frames.HEADERS, WHOLE, 1, b"\xff\xff\xff\xff\xff"),
                                 Code.COMPRESSION_ERROR),
    "an index of nothing": (frame(frames.HEADERS, WHOLE, 1, b"\xfe"), Code.COMPRESSION_ERROR),
    "a table over its limit": (
        frame(frames.HEADERS, WHOLE, 1, b"\x3f\xe2\x1f" + _HEAD),
        Code.COMPRESSION_ERROR,
    ),
    "more padding than payload": (
        headers(1, INFER) + data(1, b"\x05abc", _PADDED),
        Code.PROTOCOL_ERROR,
    ),
    "padding without its length": (headers(1, INFER) + data(1, b"", _PADDED),
                                   Code.FRAME_SIZE_ERROR),
    "HEADERS all padding": (frame(frames.HEADERS, WHOLE | _PADDED, 1, b"\x03ab"),
                            Code.PROTOCOL_ERROR),
    "PING too short": (frame(frames.PING, 0, 0, b"1"), Code.FRAME_SIZE_ERROR),
    "PING on a stream": (frame(frames.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "SETTINGS on a stream": (frame(_SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "SETTINGS cut off": (frame(_SETTINGS, 0, 0, b"12345"), Code.FRAME_SIZE_ERROR),
    "an ACK that says something": (frame(_SETTINGS, frames.ACK, 0, bytes(6)),
                                   Code.FRAME_SIZE_ERROR),
    "a window too large": (_setting(frames.INITIAL_WINDOW_SIZE, 2**31), Code.FLOW_CONTROL_ERROR),
    "frames too small": (_setting(frames.MAX_FRAME_SIZE, 100), Code.PROTOCOL_ERROR),
    "push neither on nor off": (_setting(frames.ENABLE_PUSH, 2), Code.PROTOCOL_ERROR),
    "a push": (frame(frames.PUSH_PROMISE, WHOLE, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "RST_STREAM of an idle stream": (frames.reset_frame(1, Code.CANCEL), Code.PROTOCOL_ERROR),
    "RST_STREAM cut off": (frame(frames.RST_STREAM, 0, 1, b"12"), Code.FRAME_SIZE_ERROR),
    "PRIORITY cut off": (frame(frames.PRIORITY, 0, 1, b"12"), Code.FRAME_SIZE_ERROR),
    "PRIORITY of the connection": (frame(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE of nothing": (_window(0, 0), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE too large": (_window(0, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE of an idle stream": (_window(1, 1), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE cut off": (frame(frames.WINDOW_UPDATE, 0, 0, b"1"), Code.FRAME_SIZE_ERROR),
    "GOAWAY on a stream": (frame(frames.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "GOAWAY cut off": (frame(frames.GOAWAY, 0, 0, b"1"), Code.FRAME_SIZE_ERROR),
    "a flood of pings": (frame(frames.PING, 0, 0, bytes(8)) * _FLOOD, Code.ENHANCE_YOUR_CALM),
    "a flood of settings": (frame(_SETTINGS, 0, 0) * (_FLOOD // 100), Code.ENHANCE_YOUR_CALM),
    "a flood of empty frames": (headers(1, INFER) + data(1, b"") * _FLOOD,
                                Code.ENHANCE_YOUR_CALM),
    "a flood of unknown frames": (frame(200, 0, 0) * _FLOOD, Code.ENHANCE_YOUR_CALM),
}  # fmt: skip


@pytest.mark.parametrize("name", _CONNECTION_FAULTS)
def test_faults_of_the_connection(server: Served, name: str) -> None:
    content, code = _CONNECTION_FAULTS[name]
    with Peer(server.ports.grpc) as peer:
        peer.send(content)
        _, given, text = peer.goaway()
        assert (Code(given), bool(text)) == (code, True)
    with Peer(server.ports.grpc) as peer:
        assert peer.still_works(1)


def test_a_flood_of_resets(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(
            b"".join(
                headers(number, INFER) + frames.reset_frame(number, Code.CANCEL)
                for number in range(1, _FLOOD // 5, 2)
            )
        )
        assert peer.goaway()[1] == Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        frames.PREFACE + frame(frames.PING, 0, 0, bytes(8)),
    ],
)
def test_greetings_that_are_none(server: Served, greeting: bytes) -> None:
    with Peer(server.ports.grpc, greet=False) as peer:
        peer.send(greeting)
        assert peer.goaway()[1] == Code.PROTOCOL_ERROR


_MALFORMED = {
    "an uppercase name": [*fields_of(LIVE), (b"X-Y", b"1")],
    "a name with a space": [*fields_of(LIVE), (b"x y", b"1")],
    "an empty name": [*fields_of(LIVE), (b"", b"1")],
    "a value with a line's end": [*fields_of(LIVE), (b"x", b"1\r\ny: 2")],
    "a value with a zero": [*fields_of(LIVE), (b"x", b"a\0b")],
    "a value with space around it": [*fields_of(LIVE), (b"x", b" a")],
    "a field of connections": [*fields_of(LIVE), (b"connection", b"close")],
    "te of something else": [*fields_of(LIVE), (b"te", b"gzip")],
    "a pseudo-field behind others": [*fields_of(LIVE), (b":authority", b"a")],
    "a pseudo-field twice": [(b":method", b"POST"), *fields_of(LIVE)],
    "an unknown pseudo-field": [(b":protocol", b"x"), *fields_of(LIVE)],
    "no path": fields_of(LIVE)[:2] + fields_of(LIVE)[3:],
    "an empty path": fields_of(b""),
    "no method": fields_of(LIVE)[1:],
    "no scheme": fields_of(LIVE)[:1] + fields_of(LIVE)[2:],
    "a length that is none": fields_of(LIVE, (b"content-length", b"x")),
    "two lengths": fields_of(LIVE, (b"content-length", b"5"), (b"content-length", b"6")),
    "nothing": [],
}


@pytest.mark.parametrize("name", _MALFORMED)
def test_malformed_heads_end_their_stream(server: Served, name: str) -> None:
    with Peer(server.ports.grpc) as peer:
        block = encode_fields(_MALFORMED[name])
        peer.send(frame(frames.HEADERS, WHOLE, 1, block) + data(1, message(b""), END))
        assert peer.answer(1).reset == Code.PROTOCOL_ERROR
        assert peer.still_works(3)


def _opened(request: bytes) -> bytes:
    return headers(1, INFER) + data(1, request)


_STREAM_FAULTS = {
    "DATA behind the end": (call(1, slow()) + data(1, b"x"), Code.STREAM_CLOSED),
    "HEADERS behind the end": (
        call(1, slow()) + frame(frames.HEADERS, WHOLE | END, 1, encode_fields([(b"x", b"y")])),
        Code.STREAM_CLOSED),
    "trailers that do not end": (_opened(message(slow())) + frame(frames.HEADERS, WHOLE, 1),
                                 Code.PROTOCOL_ERROR),
    "a window of nothing": (call(1, slow()) + _window(1, 0), Code.PROTOCOL_ERROR),
    "a window too large": (call(1, slow()) + _window(1, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    "more than was announced": (
        headers(1, INFER, (b"content-length", b"3")) + data(1, message(slow()), END),
        Code.PROTOCOL_ERROR),
    "less than was announced": (
        headers(1, INFER, (b"content-length", b"3")) + data(1, b"\0", END), Code.PROTOCOL_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("name", _STREAM_FAULTS)
def test_faults_of_a_stream_leave_others_alone(server: Served, name: str) -> None:
    content, code = _STREAM_FAULTS[name]
    with Peer(server.ports.grpc) as peer:
        peer.send(content)
        assert peer.answer(1).reset == code
        server.wait_until(lambda: server.runtime.slow_running == 0)
        assert peer.still_works(3)


def test_what_is_unknown_or_idle_talk_is_passed_over(server: Served) -> None:
    padded = bytes((7,)) + encode_fields(fields_of(INFER)) + bytes(7)
    weighed = bytes(5) + encode_fields(fields_of(INFER))
    with Peer(server.ports.grpc) as peer:
        peer.send(
            frame(0xFA, 0xFF, 0, bytes(1000))
            + frame(frames.PRIORITY, 0, 9, bytes(5))
            + frames.settings_frame({0x99: 7, frames.MAX_FRAME_SIZE: 20_000})
            + frame(frames.GOAWAY, 0, 0, bytes(8))
            + frame(frames.HEADERS, WHOLE | _PADDED, 1, padded)
            + data(1, bytes((3,)) + message(double()) + bytes(3), _PADDED)
            + data(1, b"\x09" + bytes(9), _PADDED | END)
            + frame(frames.HEADERS, frames.WITH_PRIORITY, 3, weighed[:20])
            + frame(frames.CONTINUATION, 0, 3)
            + frame(frames.CONTINUATION, WHOLE, 3, weighed[20:])
            + data(3, message(double()))
            + frame(frames.HEADERS, WHOLE | END, 3, encode_fields([(b"x", b"y")]))
        )
        assert (peer.answer(1).status, peer.answer(3).status) == (0, 0)
        assert peer.still_works(5)
        # Leave and resets for what has ended pass each other on the way.
        peer.send(_window(1, 5) + frames.reset_frame(3, Code.CANCEL))
        assert peer.still_works(7)


def test_the_server_says_what_it_takes(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.ping()
        assert peer.settings[frames.MAX_FRAME_SIZE] == 2**20
        assert peer.settings[frames.MAX_CONCURRENT_STREAMS] >= 100
        assert peer.settings[frames.MAX_HEADER_LIST_SIZE] == 64 * 1024


def test_more_streams_than_allowed_are_refused(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.ping()
        most = peer.settings[frames.MAX_CONCURRENT_STREAMS]
        peer.send(b"".join(headers(2 * index + 1, INFER) for index in range(most + 1)))
        assert peer.answer(2 * most + 1).reset == Code.REFUSED_STREAM
        peer.send(data(1, message(double()), END))
        assert peer.answer(1).status == 0


def test_a_client_that_reads_nothing_and_asks_on_is_cut_off(server: Served) -> None:
    asked = {frames.INITIAL_WINDOW_SIZE: 2**31 - 1, frames.MAX_FRAME_SIZE: 2**20}
    encoded = message(image())
    with Peer(server.ports.grpc, asked) as peer:
        peer.send(frames.window_frame(0, 1 << 30))
        for number in range(1, 61, 2):
            peer.send(headers(number, INFER) + data(number, encoded, END))
        peer.send(frame(frames.PING, 0, 0, bytes(8)) * 3000)
        with pytest.raises((Ended, ConnectionResetError)):
            peer.answer(61)  # there is none: reads to the end
        assert not all(peer.answers[number].ended for number in range(1, 61, 2))
    with Peer(server.ports.grpc) as peer:
        assert peer.still_works(1)
