"""A client that speaks HTTP/2 frame by frame: what a test sends is what the server gets."""

import socket
import struct
import threading
from collections import defaultdict
from typing import Any, NamedTuple

import hpack
import numpy as np

from cotenant.serving.http2 import frames
from cotenant.serving.http2.frames import frame
from cotenant.serving.http2.headers import encode_fields
from cotenant.serving.protocol import inference_pb2 as pb
from tests.serving.served import TIMEOUT_S

INFER = b"/inference.GRPCInferenceService/ModelInfer"
LIVE = b"/inference.GRPCInferenceService/ServerLive"
STREAM = b"/inference.GRPCInferenceService/ModelStreamInfer"
WATCH = b"/grpc.health.v1.Health/Watch"
END = frames.END_STREAM
WHOLE = frames.END_HEADERS


class Frame(NamedTuple):
    kind: int
    flags: int
    number: int
    payload: bytes


class Ended(Exception):
    """The server has closed the connection."""


class Answer:
    """What came on one stream."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, str]] = []
        self.data = b""
        self.reset: int | None = None
        self.ended = False

    @property
    def status(self) -> int:
        return int(self.blocks[-1]["grpc-status"])

    @property
    def message(self) -> str:
        return self.blocks[-1]["grpc-message"]

    @property
    def messages(self) -> list[bytes]:
        found, rest = [], self.data
        while rest:
            packed, length = struct.unpack_from(">BL", rest)
            assert (packed, len(rest) >= 5 + length) == (0, True)
            found.append(rest[5 : 5 + length])
            rest = rest[5 + length :]
        return found


def fields_of(path: bytes, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *more,
    ]


def headers(number: int, path: bytes, *more: tuple[bytes, bytes], flags: int = WHOLE) -> bytes:
    return frame(frames.HEADERS, flags, number, encode_fields(fields_of(path, *more)))


def data(number: int, content: bytes, flags: int = 0) -> bytes:
    return frame(frames.DATA, flags, number, content)


def message(content: Any, packed: int = 0) -> bytes:
    encoded = content if isinstance(content, bytes) else content.SerializeToString()
    return struct.pack(">BL", packed, len(encoded)) + encoded


def double(identifier: str = "") -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="double", id=identifier)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.arange(4, dtype="<f4").tobytes())
    return request


def slow() -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="slow", raw_input_contents=[b"\1"])
    request.inputs.add(name="x", datatype="UINT8", shape=[1])
    return request


def image(seed: int = 0) -> pb.ModelInferRequest:
    pixels = np.random.default_rng(seed).standard_normal((1, 3, 224, 224)).astype("<f4")
    request = pb.ModelInferRequest(model_name="image", raw_input_contents=[pixels.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=pixels.shape)
    return request


def call(number: int, request: Any, path: bytes = INFER, *more: tuple[bytes, bytes]) -> bytes:
    """A whole small call in two frames."""
    return headers(number, path, *more) + data(number, message(request), END)


class Peer:
    """One connection to a gRPC port."""

    def __init__(self, port: int, settings: dict[int, int] | None = None, greet: bool = True):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.settings: dict[int, int] = {}
        self.answers: defaultdict[int, Answer] = defaultdict(Answer)
        self.goaways: list[tuple[int, int, str]] = []
        self.pongs: list[bytes] = []
        self.granted: defaultdict[int, int] = defaultdict(int)
        self.largest_frame = 0
        self._decoder = hpack.Decoder()
        self._buffer = b""
        self._sending = threading.Lock()
        if greet:
            self.send(frames.PREFACE + frames.settings_frame(settings or {}))

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        with self._sending:
            self.socket.sendall(content)

    def read(self) -> Frame:
        """The next frame; what it says is also kept."""
        high, low, kind, flags, number = frames.FRAME_HEAD.unpack(self._exactly(9))
        payload = self._exactly(high << 8 | low)
        one = Frame(kind, flags, number, payload)
        answer = self.answers[number]
        if kind == frames.HEADERS:
            assert flags & WHOLE
            answer.blocks.append(dict(self._decoder.decode(payload)))
        elif kind == frames.DATA:
            answer.data += payload
            self.largest_frame = max(self.largest_frame, len(payload))
        elif kind == frames.RST_STREAM:
            answer.reset = int.from_bytes(payload, "big")
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self.settings = dict(struct.iter_unpack(">HL", payload))
            self.send(frame(frames.SETTINGS, frames.ACK, 0))
        elif kind == frames.PING:
            if flags & frames.ACK:
                self.pongs.append(payload)
            else:
                self.send(frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.GOAWAY:
            last, code = struct.unpack_from(">LL", payload)
            self.goaways.append((last, code, payload[8:].decode()))
        elif kind == frames.WINDOW_UPDATE:
            self.granted[number] += int.from_bytes(payload, "big")
        if kind in (frames.HEADERS, frames.DATA) and flags & END:
            answer.ended = True
        return one

    def answer(self, number: int) -> Answer:
        """All of a stream's answer, or up to its reset."""
        answer = self.answers[number]
        while not answer.ended and answer.reset is None:
            self.read()
        return answer

    def ping(self) -> None:
        """Wait until the server has dealt with all that was sent before."""
        mark = b"%08d" % len(self.pongs)
        self.send(frame(frames.PING, 0, 0, mark))
        while mark not in self.pongs:
            self.read()

    def goaway(self) -> tuple[int, int, str]:
        """Read to the end of the connection; returns the last GOAWAY."""
        try:
            while True:
                self.read()
        except (Ended, ConnectionResetError):
            return self.goaways[-1]

    def still_works(self, number: int) -> bool:
        self.send(call(number, double("still")))
        answer = self.answer(number)
        return answer.status == 0 and b"still" in answer.data

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            received = self.socket.recv(1 << 20)
            if not received:
                raise Ended
            self._buffer += received
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken
