"""A served model and one input go in; round trips by REST, gRPC or in-process come out.

Each client does the least that a client can do: the request is serialised once, ahead of
time, and the answer is read whole but not decoded. What is left is the server's own cost.
"""

import socket
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
import numpy.typing as npt
import onnxruntime

from cotenant.bench.inputs import serialise
from cotenant.core.errors import ExecutionError

_GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_TIMEOUT_S = 30.0
Floats = npt.NDArray[np.float32]


class Client(Protocol):
    """Something that can run the model once and wait for the answer."""

    def call(self) -> None: ...

    def close(self) -> None: ...


class InProcess:
    """ONNX Runtime called directly: what there would be without a server."""

    def __init__(self, model: Path, tensor: Floats) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # idle threads that spin would take the server's cores
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {self._session.get_inputs()[0].name: tensor}

    def call(self) -> None:
        self._session.run(None, self._inputs)

    def close(self) -> None:
        """Nothing is held open."""


class RestClient:
    """Binary extension over one kept-alive connection, one write per request."""

    def __init__(self, host: str, port: int, model: str, tensor: Floats) -> None:
        self._request = serialise(model, [("x", "FP32", tensor)], f"{host}:{port}")
        self._socket = socket.create_connection((host, port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self) -> None:
        self._socket.sendall(self._request)
        answer = self._socket.recv(65536)
        while (head_end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        head = answer[:head_end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise ExecutionError(f"the server refused: {answer[:400]!r}; read its log")
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        missing = head_end + 4 + length - len(answer)
        while missing > 0:
            missing -= len(self._more())

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise ExecutionError("the server closed the connection; read its log")
        return received


class GrpcClient:
    """Raw tensor contents over one channel, called synchronously."""

    def __init__(self, host: str, port: int, model: str, tensor: Floats) -> None:
        self._channel: Any = grpc.insecure_channel(f"{host}:{port}")
        self._infer: Any = self._channel.unary_unary(_GRPC_METHOD)
        self._request = infer_message(model, "x", "FP32", tensor)

    def call(self) -> None:
        try:
            self._infer(self._request)
        except grpc.RpcError as error:
            raise ExecutionError(f"the server refused: {error}; read its log") from error

    def close(self) -> None:
        self._channel.close()


def infer_message(model: str, name: str, datatype: str, tensor: Floats) -> bytes:
    """A ModelInferRequest with one raw input, as protocol buffers put it on the wire.

    Fields of the request: 1 model_name, 5 inputs, 7 raw_input_contents; of an input:
    1 name, 2 datatype, 3 shape (packed).
    """
    shape = b"".join(_varint(axis) for axis in tensor.shape)
    described = _field(1, name.encode()) + _field(2, datatype.encode()) + _field(3, shape)
    return _field(1, model.encode()) + _field(5, described) + _field(7, tensor.tobytes())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
