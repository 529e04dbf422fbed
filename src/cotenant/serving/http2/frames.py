"""The parts of a frame become its bytes; whatever can be wrong with a frame is named here."""

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD = struct.Struct(">HBBBL")
"""Length's high 16 bits, its low 8, kind, flags, stream."""

# Kinds of frames. Plain numbers: each frame is compared with them.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

# Flags.
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

# Settings.
ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 0x2, 0x3, 0x4
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 0x5, 0x6

DEFAULT_WINDOW_BYTES = 65_535
DEFAULT_FRAME_BYTES = 16_384
LARGEST_FRAME_BYTES = 2**24 - 1
LARGEST_WINDOW_BYTES = LARGEST_STREAM = 2**31 - 1

Raw = bytes | bytearray | memoryview


class Code(IntEnum):
    """Why a stream or a connection ended (section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class ConnectionFault(Exception):
    """What ends a whole connection (section 5.4.1).

    It never leaves the package, and so is none of the errors that a request can end with.
    """

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamFault(Exception):
    """What ends one stream, and leaves the others alone (section 5.4.2); likewise."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One whole frame.

    >>> frame(PING, ACK, 0, b"12345678").hex(" ")
    '00 00 08 06 01 00 00 00 00 31 32 33 34 35 36 37 38'
    """
    return frame_head(len(payload), kind, flags, stream) + payload


def frame_head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes that stand before a payload."""
    return FRAME_HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def settings_frame(values: dict[int, int]) -> bytes:
    """What this side asks of the other."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in values.items()))


def reset_frame(stream: int, code: Code) -> bytes:
    """The sudden end of a stream."""
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def window_frame(stream: int, increment: int) -> bytes:
    """Leave to send so many bytes more; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


def goaway_frame(last_stream: int, code: Code, text: str = "") -> bytes:
    """Streams above `last_stream` are not, and will not be, answered."""
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last_stream, code) + text.encode())
