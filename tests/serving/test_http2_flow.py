"""Windows, frames and interleaving: whatever the cut, the same answers come, and whole."""

import itertools
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotenant.serving.http2 import frames
from cotenant.serving.http2.frames import Code
from cotenant.serving.protocol import inference_pb2 as pb
from tests.serving.peer import END, INFER, Peer, call, data, double, headers, image, message
from tests.serving.served import TIMEOUT_S, Served, served

_IMAGE = image()
_PIXELS = _IMAGE.raw_input_contents[0]
_ENCODED = message(_IMAGE)
_PER_RUN = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _image_call(number: int, frame_bytes: int = 16_384) -> bytes:
    pieces = [
        data(number, _ENCODED[at : at + frame_bytes], END * (at + frame_bytes >= len(_ENCODED)))
        for at in range(0, len(_ENCODED), frame_bytes)
    ]
    return headers(number, INFER) + b"".join(pieces)


def _pixels(answer: bytes) -> bytes:
    return pb.ModelInferResponse.FromString(answer).raw_output_contents[0]


_TALK = (
    call(1, double("1"))
    + _image_call(3)
    + call(5, pb.ModelInferRequest(model_name="none"))
    + _image_call(7, 1 << 20)
    + call(9, double("9"))
)


@_PER_RUN
@given(st.lists(st.integers(1, len(_TALK) - 1), max_size=12))
def test_any_cut_gives_the_same_answers(server: Served, cuts: list[int]) -> None:
    _check_talk(server, cuts)


def test_a_cut_before_each_of_the_first_bytes(server: Served) -> None:
    _check_talk(server, list(range(1, 500)))


def _check_talk(server: Served, cuts: list[int]) -> None:
    with Peer(server.ports.grpc, {frames.INITIAL_WINDOW_SIZE: 1 << 20}) as peer:
        peer.send(frames.window_frame(0, 1 << 24))
        peer.ping()  # from here on only one thread sends

        def send() -> None:
            for start, end in itertools.pairwise([0, *sorted(cuts), len(_TALK)]):
                peer.send(_TALK[start:end])

        sending = threading.Thread(target=send)
        sending.start()
        assert [peer.answer(number).status for number in (1, 3, 5, 7, 9)] == [0, 0, 5, 0, 0]
        for number in (3, 7):
            assert _pixels(peer.answers[number].messages[0]) == _PIXELS
        sending.join(TIMEOUT_S)


@st.composite
def _interleaved(draw: st.DrawFn) -> tuple[list[int], list[bytes]]:
    """Frames of several streams, each cut and padded anyhow, in any order between streams."""
    queues: dict[int, list[bytes]] = {}
    for index in range(draw(st.integers(1, 6))):
        number = 2 * index + 1
        encoded = message(double(f"id-{number}"))
        cuts = sorted(draw(st.lists(st.integers(0, len(encoded)), max_size=5)))
        pieces = [encoded[a:b] for a, b in itertools.pairwise([0, *cuts, len(encoded)])]
        queue = []
        for at, piece in enumerate(pieces):
            flags = END if at == len(pieces) - 1 else 0
            padding = draw(st.none() | st.integers(0, 255))
            if padding is None:
                queue.append(data(number, piece, flags))
            else:
                padded = bytes((padding,)) + piece + bytes(padding)
                queue.append(data(number, padded, flags | frames.PADDED))
        queues[number] = queue
    numbers = list(queues)
    talk = [headers(number, INFER) for number in numbers]
    order = draw(st.permutations([number for number in numbers for _ in queues[number]]))
    talk += [queues[number].pop(0) for number in order]
    return numbers, talk


@_PER_RUN
@given(_interleaved())
def test_interleaved_streams_do_not_mix(
    server: Served, talk: tuple[list[int], list[bytes]]
) -> None:
    numbers, sent = talk
    with Peer(server.ports.grpc) as peer:
        peer.send(b"".join(sent))
        for number in numbers:
            (encoded,) = peer.answer(number).messages
            assert pb.ModelInferResponse.FromString(encoded).id == f"id-{number}"


@_PER_RUN
@given(st.binary(max_size=2000), st.booleans(), st.lists(st.integers(0, 10), max_size=20))
def test_garbage_hurts_nobody_else(
    server: Served, noise: bytes, greeted: bool, kinds: list[int]
) -> None:
    with Peer(server.ports.grpc, greet=greeted) as peer:
        framed = [frames.frame(kind, noise[0] if noise else 0, kind % 4, noise[:50])
                  for kind in kinds]  # fmt: skip
        peer.send(b"".join(framed) + noise)
    with Peer(server.ports.grpc) as peer:
        assert peer.still_works(1)


@pytest.mark.parametrize("window", [1, 1000, 16_384, 65_536])
def test_a_large_answer_waits_for_a_small_window(server: Served, window: int) -> None:
    with Peer(server.ports.grpc, {frames.INITIAL_WINDOW_SIZE: window}) as peer:
        peer.send(frames.window_frame(0, 1 << 24) + _image_call(1))
        answer = peer.answers[1]
        while len(answer.data) < window:
            peer.read()
        assert len(answer.data) == window  # and not a byte more, whatever else happens
        peer.ping()
        assert (len(answer.data), answer.ended) == (window, False)
        peer.send(call(3, pb.ModelInferRequest(model_name="none")))
        assert peer.answer(3).status == 5
        peer.send(frames.window_frame(1, 100))
        while len(answer.data) < window + 100:
            peer.read()
        # A new initial window counts for streams that are open, too.
        peer.send(frames.settings_frame({frames.INITIAL_WINDOW_SIZE: 1 << 20}))
        assert peer.answer(1).status == 0
        assert _pixels(answer.messages[0]) == _PIXELS
        assert peer.largest_frame <= 16_384


def test_the_connections_window_is_shared_in_turns(server: Served) -> None:
    with Peer(server.ports.grpc, {frames.INITIAL_WINDOW_SIZE: 1 << 20}) as peer:
        peer.send(_image_call(1, 1 << 20) + _image_call(3, 1 << 20))
        for granted in range(0, 2 * len(_PIXELS), 50_000):
            while sum(len(peer.answers[n].data) for n in (1, 3)) < min(65_535 + granted, 1 << 20):
                peer.read()
            peer.send(frames.window_frame(0, 50_000))
        peer.send(frames.window_frame(0, 1 << 20))
        assert [_pixels(peer.answer(n).messages[0]) == _PIXELS for n in (1, 3)] == [True, True]


def test_a_window_that_shrinks_below_zero(server: Served) -> None:
    with Peer(server.ports.grpc) as peer:
        peer.send(_image_call(1))
        while len(peer.answers[1].data) < 65_535:
            peer.read()
        peer.send(frames.settings_frame({frames.INITIAL_WINDOW_SIZE: 10}))
        peer.send(frames.window_frame(0, 1 << 20) + frames.window_frame(1, 65_525))
        peer.ping()
        assert len(peer.answers[1].data) == 65_535
        peer.send(frames.window_frame(1, 1 << 20))
        assert _pixels(peer.answer(1).messages[0]) == _PIXELS


def test_large_frames_are_used_when_allowed(server: Served) -> None:
    asked = {frames.MAX_FRAME_SIZE: 1 << 20, frames.INITIAL_WINDOW_SIZE: 1 << 20}
    with Peer(server.ports.grpc, asked) as peer:
        peer.send(frames.window_frame(0, 1 << 20) + _image_call(1, 1 << 20))
        assert _pixels(peer.answer(1).messages[0]) == _PIXELS
        assert peer.largest_frame > 602_112


def test_leave_is_given_back_for_what_was_received(server: Served) -> None:
    with Peer(server.ports.grpc, {frames.INITIAL_WINDOW_SIZE: 1 << 20}) as peer:
        peer.send(frames.window_frame(0, 1 << 30))
        for index in range(60):
            peer.send(_image_call(2 * index + 1, 1 << 20))
            assert peer.answer(2 * index + 1).status == 0
        sent = 60 * len(_ENCODED)
        assert peer.granted[0] > sent - 32 * 2**20


def test_more_than_a_stream_was_given_leave_for(server: Served) -> None:
    with served(max_body_bytes=64 << 20) as one, Peer(one.ports.grpc) as peer:
        peer.ping()
        window = peer.settings[frames.INITIAL_WINDOW_SIZE]
        stream = b"/inference.GRPCInferenceService/ModelStreamInfer"
        # Messages that are never read, because the first is never answered.
        request = pb.ModelInferRequest(model_name="slow", raw_input_contents=[b"\1"])
        request.inputs.add(name="x", datatype="UINT8", shape=[1])
        many = message(request) * 3000
        peer.send(headers(1, stream))
        for _ in range(2 * window // len(many) + 2):
            peer.send(data(1, many))
        assert peer.answer(1).reset == Code.FLOW_CONTROL_ERROR
        assert peer.still_works(3)


def test_a_hundred_streams_at_once(server: Served) -> None:
    numbers = range(1, 601, 2)
    with Peer(server.ports.grpc) as peer:
        peer.send(b"".join(headers(number, INFER) for number in numbers))
        peer.send(
            b"".join(data(number, message(double(str(number))), END) for number in numbers[::-1])
        )
        for number in numbers:
            (encoded,) = peer.answer(number).messages
            assert pb.ModelInferResponse.FromString(encoded).id == str(number)
