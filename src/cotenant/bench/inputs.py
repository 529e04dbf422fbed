"""A model's metadata and a seed go in, one complete HTTP request in bytes comes out.

Tensors travel by the binary extension of the Open Inference Protocol, both ways.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from cotenant.core.errors import Unsupported

NUMPY_TYPES: Mapping[str, str] = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def draw_input(
    datatype: str, shape: Sequence[int], rng: np.random.Generator
) -> npt.NDArray[np.generic]:
    """One tensor of the protocol's `datatype`: normal floats, small whole numbers."""
    if datatype not in NUMPY_TYPES:
        raise Unsupported(
            f"the load generator makes no inputs of type {datatype!r}; "
            f"it makes {', '.join(NUMPY_TYPES)}"
        )
    dtype = np.dtype(NUMPY_TYPES[datatype])
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2 if dtype.kind == "b" else 8, shape).astype(dtype)


def fixed_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Free axes (-1) become concrete: one row; 224 along the axes of an image; else 16.

    >>> fixed_shape([-1, 3, -1, -1]), fixed_shape([-1, 128])
    ((1, 3, 224, 224), (1, 128))
    """
    inner = 224 if len(shape) == 4 else 16
    return tuple(
        axis if axis > 0 else (1 if place == 0 else inner) for place, axis in enumerate(shape)
    )


def request_bytes(metadata: Mapping[str, Any], host: str, rng: np.random.Generator) -> bytes:
    """Head and body of one inference request to the model that the metadata describes."""
    tensors = [
        (one["name"], one["datatype"], draw_input(one["datatype"], fixed_shape(one["shape"]), rng))
        for one in metadata["inputs"]
    ]
    return serialise(metadata["name"], tensors, host)


def serialise(
    model: str, tensors: Sequence[tuple[str, str, npt.NDArray[np.generic]]], host: str
) -> bytes:
    """One inference request with binary inputs that asks for binary outputs."""
    header = orjson.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "datatype": datatype,
                    "shape": list(array.shape),
                    "parameters": {
                        "binary_data_size": math.prod(array.shape) * array.itemsize,
                    },
                }
                for name, datatype, array in tensors
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    body = header + b"".join(array.tobytes() for _, _, array in tensors)
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(header)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
