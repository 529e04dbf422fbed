"""An address goes in; pictures go to the served models, and what they see comes out as lines.

Speaks the Open Inference Protocol (REST, binary tensors) with nothing but the standard library
and numpy, so it also shows what goes over the wire.
"""

import argparse
import http.client
import io
import json
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from pictures import (
    Picture,
    draw_picture,
    file_tensor,
    frame_tensor,
    line_tensor,
    orientation_tensor,
)

Tensor = npt.NDArray[Any]
_TYPES = {"float32": "FP32", "int32": "INT32"}


def encode_request(name: str, tensor: Tensor) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an inference request with one binary tensor."""
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": tensor.shape,
                    "datatype": _TYPES[str(tensor.dtype)],
                    "parameters": {"binary_data_size": tensor.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    return header + tensor.astype(tensor.dtype.newbyteorder("<")).tobytes(), headers


def decode_answer(body: bytes, header_length: int) -> Tensor:
    """The first output of an answer, which must be binary and FP32."""
    output = json.loads(body[:header_length])["outputs"][0]
    values = np.frombuffer(body, "<f4", offset=header_length)
    return values[: int(np.prod(output["shape"]))].reshape(output["shape"])


class Client:
    """One connection to a server."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=30)

    def infer(self, model: str, name: str, tensor: Tensor) -> Tensor:
        """Send one tensor and wait for the answer."""
        body, headers = encode_request(name, tensor)
        self._connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(f"{model}: {response.status} {answer.decode(errors='replace')}")
        length = response.getheader("Inference-Header-Content-Length", str(len(answer)))
        return decode_answer(answer, int(length))

    def close(self) -> None:
        self._connection.close()


def look_at(client: Client, picture: Picture, number: int) -> str:
    """Ask every model about one picture; one line about it."""
    start_s = time.monotonic()
    found = client.infer("detect-text", "x", frame_tensor(picture))
    took_s = time.monotonic() - start_s
    turned = client.infer("find-orientation", "x", orientation_tensor(picture, number % 2 == 1))
    symbols = client.infer("read-text", "x", line_tensor(picture))[0].argmax(axis=1)
    letters = np.count_nonzero(symbols[np.flatnonzero(np.diff(symbols, prepend=0))])
    stored = io.BytesIO()
    picture.image.save(stored, "PNG")
    kind = client.infer("tell-file-kind", "bytes", file_tensor(stored.getvalue()))
    return (
        f"frame {number}: text on {np.mean(found > 0.3):.1%} of it ({took_s * 1e3:.0f} ms), "
        f"{'upside down' if turned[0, 1] > 0.5 else 'upright'}, {letters} letters "
        f"of {picture.text!r}, file kind {int(kind[0].argmax())} ({kind[0].max():.0%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--frames", type=int, default=20)
    arguments = parser.parse_args()
    client = Client(arguments.host, arguments.port)
    try:
        for number in range(arguments.frames):
            print(look_at(client, draw_picture(number), number))
    finally:
        client.close()


if __name__ == "__main__":
    main()
