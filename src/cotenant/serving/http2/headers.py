"""Header blocks become the heads of requests; fields become blocks.

A client that calls the same method again sends the same few bytes again: what a block says is
remembered for as long as the table that it refers to stays as it is. Blocks of answers use no
table at all, so that the usual ones are constants.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from cotenant.serving.http2.frames import Code, ConnectionFault, StreamFault

LARGEST_LIST_BYTES = 64 * 1024
_REMEMBERED = 64
_REMEMBERED_BYTES = 4096
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[^\x00\r\n \t](?:[^\x00\r\n]*[^\x00\r\n \t])?)?")
_OF_CONNECTIONS = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
}
_PSEUDO = {b":method", b":scheme", b":path", b":authority"}


class Head(NamedTuple):
    """How a request begins."""

    method: bytes
    path: bytes
    fields: dict[bytes, bytes]
    """The other fields; equal names are joined by commas."""


class _Table(HeaderTable):
    """A table that counts its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class HeaderReader:
    """The header blocks of one connection, one after the other."""

    def __init__(self) -> None:
        self._decoder = Decoder(LARGEST_LIST_BYTES)
        self._table = self._decoder.header_table = _Table()
        self._remembered: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """The head of a request; raises `StreamFault` if it is malformed (section 8.1.1)."""
        head = self._remembered.get(block)
        if head is None:
            changes = self._table.changes
            fields = self._decode(block)
            head = _head_of(fields)
            if changes == self._table.changes and len(block) <= _REMEMBERED_BYTES:
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[block] = head
        return head

    def read_trailers(self, block: bytes) -> None:
        """Fields behind a body: nothing in them concerns us, but they must be well formed."""
        for name, value in self._decode(block):
            _check(name, value)

    def pass_over(self, block: bytes) -> None:
        """Fields that concern nobody; the table may change all the same."""
        self._decode(block)

    def _decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        changes = self._table.changes
        # Changes of the table's size stand at the start of a block, and begin with 001.
        self._table.changes += block[:1] != b"" and block[0] >> 5 == 1
        try:
            fields = self._decoder.decode(block, raw=True)
        except HPACKError as error:
            # What later blocks refer to is lost with this one.
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"header block: {error}") from error
        if changes != self._table.changes:
            self._remembered.clear()
        return fields  # type: ignore[return-value]


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block of fields spelled out, which leaves the table alone (RFC 7541, 6.2.2).

    >>> encode_fields([(b"grpc-status", b"0")])
    b'\\x00\\x0bgrpc-status\\x010'
    """
    return b"".join(
        b"\x00" + _length(name) + name + _length(value) + value for name, value in fields
    )


def _length(string: bytes) -> bytes:
    """The length of a plain string: seven bits, and the rest in further bytes."""
    length = len(string)
    if length < 0x7F:
        return bytes((length,))
    length -= 0x7F
    encoded = bytearray(b"\x7f")
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def _head_of(pairs: list[tuple[bytes, bytes]]) -> Head:
    pseudo: dict[bytes, bytes] = {}
    fields: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name.startswith(b":"):
            if name not in _PSEUDO or name in pseudo or fields:
                raise _malformed(f"unexpected pseudo-header {name!r}")
            if not _VALUE.fullmatch(value):
                raise _malformed(f"field {name!r} holds characters that are not allowed")
            pseudo[name] = value
        else:
            _check(name, value)
            fields[name] = fields[name] + b"," + value if name in fields else value
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not (method and path and pseudo.get(b":scheme")):
        raise _malformed("a request has :method, :scheme and :path")
    return Head(method, path, fields)


def _check(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise _malformed(f"{name!r} is no name of a field")
    if not _VALUE.fullmatch(value):
        raise _malformed(f"field {name!r} holds characters that are not allowed")
    if name in _OF_CONNECTIONS or (name == b"te" and value.lower() != b"trailers"):
        raise _malformed(f"field {name!r} does not belong into HTTP/2")


def _malformed(text: str) -> StreamFault:
    return StreamFault(Code.PROTOCOL_ERROR, text)
