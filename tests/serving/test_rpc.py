"""gRPC over raw HTTP/2: heads, packed messages, deadlines, ends."""

import asyncio
import gzip
import itertools
import struct
import threading
import zlib
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.errors import CotenantError
from cotenant.serving.http2 import frames
from cotenant.serving.http2.frames import Code, frame, reset_frame
from cotenant.serving.http2.headers import encode_fields
from cotenant.serving.protocol import health_pb2 as health
from cotenant.serving.protocol import inference_pb2 as pb
from cotenant.serving.rpc.messages import Message, MessageReader
from cotenant.serving.rpc.status import encode_message, parse_timeout
from tests.serving.peer import (
    END,
    INFER,
    LIVE,
    STREAM,
    WATCH,
    WHOLE,
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
from tests.serving.served import TIMEOUT_S, Served, served

_DOUBLE = double().SerializeToString()


def _raw_deflate(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-15)


@pytest.mark.parametrize(
    ("encoding", "content", "packed", "status", "says"),
    [
        (b"gzip", gzip.compress(_DOUBLE, mtime=0), 1, 0, ""),
        (b"gzip", _DOUBLE, 0, 0, ""),
        (b"deflate", zlib.compress(_DOUBLE), 1, 0, ""),
        (b"identity", _DOUBLE, 0, 0, ""),
        (b"identity", _DOUBLE, 1, 3, "does not say how"),
        (b"gzip", gzip.compress(_DOUBLE, mtime=0)[:-4], 1, 3, "truncated"),
        (b"gzip", gzip.compress(_DOUBLE, mtime=0) + b"x", 1, 3, "behind its end"),
        (b"gzip", b"no gzip", 1, 3, "not valid gzip"),
        (b"deflate", _raw_deflate(_DOUBLE), 1, 3, "not valid deflate"),
        (b"gzip", gzip.compress(bytes(2 << 20), mtime=0), 1, 8, "an unpacked message is over"),
        (b"snappy", _DOUBLE, 1, 12, "'snappy' is not supported"),
        (b"gzip", _DOUBLE, 7, 3, "begins with 7"),
    ],
    ids=itertools.count(),
)
def test_packed_messages(  # noqa: PLR0917
    server: Served, encoding: bytes, content: bytes, packed: int, status: int, says: str
) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(headers(1, INFER, (b"grpc-encoding", encoding)))
        peer.send(data(1, message(content, packed), END))
        answer = peer.answer(1)
        assert answer.status == status
        if status:
            assert says in unquote(answer.message)
        if status == 12:
            assert "gzip" in answer.blocks[-1]["grpc-accept-encoding"]
        assert peer.still_works(3)


@pytest.mark.parametrize(
    ("sent", "status", "says"),
    [
        (b"", 12, "no message"),
        (b"\0\0", 3, "ended inside"),
        (message(_DOUBLE)[:-1], 3, "ended inside"),
        (message(_DOUBLE) * 2, 12, "more than one"),
        (message(b"\xff\xff"), 3, "not of the method's type"),
        (struct.pack(">BL", 0, 2**32 - 1), 8, "over the limit"),
        (struct.pack(">BL", 0, (1 << 20) + 65_537) + b"x", 8, "--max-body-size"),
    ],
    ids=itertools.count(),
)
def test_bodies_that_are_not_one_message(
    server: Served, sent: bytes, status: int, says: str
) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(headers(1, INFER) + data(1, sent, END))
        answer = peer.answer(1)
        assert (answer.status, says in unquote(answer.message)) == (status, True), answer.message
        # One frame says it all: a head that is its own end.
        assert (len(answer.blocks), answer.blocks[0][":status"]) == (1, "200")
        assert peer.still_works(3)


def test_a_refusal_does_not_wait_for_the_rest(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(headers(1, INFER) + data(1, struct.pack(">BL", 0, 1 << 30)))
        assert peer.answer(1).status == 8
        while peer.answers[1].reset is None:
            peer.read()
        assert peer.answers[1].reset == Code.NO_ERROR
        # What was on its way is passed over.
        peer.send(data(1, bytes(10_000)) + data(1, b"", END))
        assert peer.still_works(3)


@pytest.mark.parametrize(
    ("fields", "http", "grpc"),
    [
        (fields_of(b"/inference.GRPCInferenceService/Nothing"), "200", 12),
        (fields_of(b"/ServerLive"), "200", 12),
        ([(b":method", b"GET"), *fields_of(LIVE)[1:]], "405", 12),
        (fields_of(LIVE)[:3], "415", 12),
        ([*fields_of(LIVE)[:3], (b"content-type", b"application/json")], "415", 12),
        ([*fields_of(LIVE)[:3], (b"content-type", b"application/grpc-web")], "415", 12),
        ([*fields_of(LIVE)[:3], (b"content-type", b"application/grpc+proto")], "200", 0),
        (fields_of(LIVE, (b"grpc-timeout", b"1 s")), "200", 3),
        (fields_of(LIVE, (b"grpc-timeout", b"123456789S")), "200", 3),
        (fields_of(LIVE, (b"grpc-timeout", b"99999999H")), "200", 0),
    ],
    ids=itertools.count(),
)
def test_heads(server: Served, fields: list[tuple[bytes, bytes]], http: str, grpc: int) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(frame(frames.HEADERS, WHOLE, 1, encode_fields(fields)))
        peer.send(data(1, message(b""), END))
        answer = peer.answer(1)
        assert (answer.blocks[0][":status"], answer.status) == (http, grpc)
        assert peer.still_works(3)


def test_a_small_answer_is_three_frames(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(call(1, double("7"), INFER, (b"traceparent", b"00-1-2-3")))
        answer = peer.answer(1)
        head, end = answer.blocks
        assert head == {":status": "200", "content-type": "application/grpc"}
        assert end == {"grpc-status": "0", "traceparent": "00-1-2-3"}
        assert pb.ModelInferResponse.FromString(answer.messages[0]).id == "7"


def test_heads_that_refer_to_a_table(server: Served) -> None:
    """The same block again, then another meaning of the same bytes after the table changed."""

    def indexed(name: bytes, value: bytes) -> bytes:
        return b"\x40" + encode_fields([(name, value)])[1:]

    plain = encode_fields(fields_of(INFER)[:2])
    paths = [LIVE, b"/inference.GRPCInferenceService/ServerReady"]
    rest = encode_fields(fields_of(INFER)[3:])
    with Peer(server.ports.grpc) as peer:
        number = itertools.count(1, 2)
        for path in paths:
            one = next(number)
            peer.send(frame(frames.HEADERS, WHOLE, one, plain + indexed(b":path", path) + rest))
            peer.send(data(one, message(b""), END))
            first = peer.answer(one).messages
            for _ in range(3):
                one = next(number)
                peer.send(frame(frames.HEADERS, WHOLE, one, plain + b"\xbe" + rest))
                peer.send(data(one, message(b""), END))
                assert peer.answer(one).messages == first
        # An emptied table leaves nothing to refer to.
        one = next(number)
        peer.send(frame(frames.HEADERS, WHOLE, one, b"\x20" + plain + b"\xbe" + rest))
        assert peer.goaway()[1] == Code.COMPRESSION_ERROR


def test_a_deadline_is_answered_by_the_server(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(call(1, slow(), INFER, (b"grpc-timeout", b"50m")))
        assert peer.answer(1).status == 4
        server.wait_until(lambda: server.runtime.slow_running == 0)
        # Also while the request is still being sent, and on streams.
        peer.send(headers(3, INFER, (b"grpc-timeout", b"20m")))
        assert peer.answer(3).status == 4
        peer.send(headers(5, STREAM, (b"grpc-timeout", b"20m")) + data(5, message(slow())))
        assert peer.answer(5).status == 4
        server.wait_until(lambda: server.runtime.slow_running == 0)
        peer.send(call(7, double(), INFER, (b"grpc-timeout", b"30S")))
        assert peer.answer(7).status == 0
    assert 29 < float(str(server.runtime.asked[-1]["deadline_s"])) <= 30


def test_a_deadline_in_the_middle_of_a_large_frame(server: Served) -> None:
    whole = data(1, message(image()), END)
    with Peer(server.ports.grpc) as peer:
        peer.ping()  # or settings would be acknowledged inside the frame
        peer.send(headers(1, INFER, (b"grpc-timeout", b"50m")) + whole[:300_000])
        assert peer.answer(1).status == 4
        # Its place is gone, but the frame is not over yet.
        peer.send(whole[300_000:])
        assert peer.still_works(3)


def test_a_reset_or_a_lost_connection_cancels(server: Served) -> None:
    cancelled = server.runtime.cancelled
    with Peer(server.ports.grpc) as peer:
        peer.send(call(1, slow()) + call(3, slow()) + headers(5, STREAM) + data(5, message(slow())))
        server.wait_until(lambda: server.runtime.slow_running == 3)
        peer.send(reset_frame(1, Code.CANCEL))
        server.wait_until(lambda: server.runtime.slow_running == 2)
        assert peer.still_works(7)
    server.wait_until(lambda: server.runtime.slow_running == 0)
    assert server.runtime.cancelled == cancelled + 3


def test_a_request_reset_before_it_started_leaves_nothing(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(call(1, slow()) + reset_frame(1, Code.CANCEL))
        assert peer.still_works(3)
    assert server.runtime.slow_running == 0


def test_a_stream_of_many_messages_keeps_its_order(server: Served) -> None:
    sent = b"".join(message(double(str(index))) for index in range(500))
    with Peer(server.ports.grpc, {frames.INITIAL_WINDOW_SIZE: 1 << 20}) as peer:
        peer.send(frames.window_frame(0, 1 << 20) + headers(1, STREAM))
        for start in range(0, len(sent), 1001):
            peer.send(data(1, sent[start : start + 1001], END * (start + 1001 >= len(sent))))
        answer = peer.answer(1)
        answers = map(pb.ModelStreamInferResponse.FromString, answer.messages)
        assert [one.infer_response.id for one in answers] == [str(one) for one in range(500)]
        assert answer.status == 0


def test_a_stream_that_breaks_off_answers_what_was_whole(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(headers(1, STREAM) + data(1, message(double("a")) + b"\0\0\0", END))
        answer = peer.answer(1)
        assert (answer.status, len(answer.messages)) == (3, 1)
        peer.send(headers(3, STREAM) + data(3, message(double("a")) + message(b"\xff"), END))
        answer = peer.answer(3)
        assert (answer.status, len(answer.messages)) == (3, 1)
        peer.send(headers(5, STREAM) + data(5, b"", END))
        assert (peer.answer(5).status, peer.answers[5].messages) == (0, [])


def test_health_is_watched_to_the_end() -> None:
    with served() as one, Peer(one.ports.grpc) as peer:
        peer.send(headers(1, WATCH) + data(1, message(health.HealthCheckRequest()), END))
        while not peer.answers[1].data:
            peer.read()
        stopping = asyncio.run_coroutine_threadsafe(one.server.stop(), one.loop)
        assert peer.answer(1).status == 14
        peer.goaway()
        stopping.result(TIMEOUT_S)


def test_a_graceful_end_loses_nothing() -> None:
    """Calls that were sent before the client heard of the end are answered, large ones whole."""
    large = image()
    asked = {frames.INITIAL_WINDOW_SIZE: 1 << 20}
    with served(exit_timeout_s=TIMEOUT_S) as one, Peer(one.ports.grpc, asked) as peer:
        peer.send(frames.window_frame(0, 1 << 24))
        peer.send(b"".join(call(number, slow()) for number in range(1, 41, 2)))
        peer.send(headers(41, INFER) + data(41, message(large)[:100]))
        one.wait_until(lambda: one.runtime.slow_running == 20)
        closing = asyncio.run_coroutine_threadsafe(one.server._grpc.close(TIMEOUT_S), one.loop)
        while not peer.goaways:
            peer.read()
        assert peer.goaways[0][:2] == (2**31 - 1, Code.NO_ERROR)
        rest = message(large)[100:]
        peer.send(b"".join(data(41, rest[at : at + 16_384], END * (at + 16_384 >= len(rest)))
                           for at in range(0, len(rest), 16_384)))  # fmt: skip
        one.call(one.runtime.release.set)
        assert {peer.answer(number).status for number in range(1, 43, 2)} == {0}
        last, code, _ = peer.goaway()
        assert (last, code) == (41, Code.NO_ERROR)
        closing.result(TIMEOUT_S)


def test_what_outlasts_the_grace_is_told_so() -> None:
    with served() as one, Peer(one.ports.grpc) as peer:
        peer.send(call(1, slow()))
        one.wait_until(lambda: one.runtime.slow_running == 1)
        closing = asyncio.run_coroutine_threadsafe(one.server._grpc.close(0.05), one.loop)
        answer = peer.answer(1)
        assert (answer.status, "shut down" in answer.message) == (14, True)
        peer.goaway()
        closing.result(TIMEOUT_S)
        assert one.runtime.slow_running == 0


def test_the_end_under_load_answers_or_refuses_each_call() -> None:
    """Every stream is answered, or named as not looked at by the last GOAWAY."""
    with served() as one, Peer(one.ports.grpc) as peer:
        stop, sent = threading.Event(), []

        def send() -> None:
            for number in range(1, 20_000, 2):
                try:
                    peer.send(call(number, double()))
                except OSError:
                    return
                sent.append(number)
                if stop.wait(0.001):
                    return

        sending = threading.Thread(target=send)
        sending.start()
        while len([answer for answer in peer.answers.values() if answer.ended]) < 20:
            peer.read()
        closing = asyncio.run_coroutine_threadsafe(one.server._grpc.close(TIMEOUT_S), one.loop)
        last, code, _ = peer.goaway()
        stop.set()
        sending.join(TIMEOUT_S)
        closing.result(TIMEOUT_S)
        assert code == Code.NO_ERROR
        assert all(peer.answers[number].status == 0 for number in sent if number <= last)


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"5u", 5e-6), (b"7n", 7e-9)]
)
def test_units_of_timeouts(value: bytes, seconds: float) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@given(st.text())
def test_messages_survive_percent_encoding(text: str) -> None:
    encoded = encode_message(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    expected = text.encode(errors="replace").decode()
    if len(encoded) < 4096:
        assert unquote(encoded.decode()) == expected.strip(" ")
    else:
        assert expected.startswith(unquote(encoded.decode().removesuffix("..."))[:-1])


class _Collector(MessageReader):
    def __init__(self, hold_after: int | None = None) -> None:
        super().__init__(1000, b"identity")
        self.messages: list[bytes] = []
        self.errors: list[CotenantError] = []
        self._hold_after = hold_after

    def on_message(self, message: Message) -> None:
        self.messages.append(bytes(message))
        if self._hold_after and len(self.messages) % self._hold_after == 0:
            self.hold()

    def on_fault(self, error: CotenantError) -> None:
        self.errors.append(error)


@given(
    st.lists(st.binary(max_size=1000), max_size=8),
    st.lists(st.integers(0, 8000), max_size=10),
    st.none() | st.integers(1, 3),
    st.data(),
)
def test_messages_come_out_as_they_went_in(
    messages: list[bytes], cuts: list[int], hold_after: int | None, drawn: st.DataObject
) -> None:
    reader = _Collector(hold_after)
    sent = b"".join(map(message, messages))
    for start, end in itertools.pairwise([0, *sorted(min(cut, len(sent)) for cut in cuts),
                                          len(sent)]):  # fmt: skip
        room = reader.room()
        if room is not None and len(room) <= end - start and drawn.draw(st.booleans()):
            # As the connection does it: straight to where it belongs.
            count = len(room)
            room[:] = sent[start : start + count]
            reader.filled(count)
            reader.take(memoryview(sent[start + count : end]))
        else:
            reader.take(memoryview(sent[start:end]))
        if drawn.draw(st.booleans()):
            reader.go_on()
    for _ in messages:
        reader.go_on()
    assert reader.messages == messages
    assert not reader.errors
    assert not reader.in_message
