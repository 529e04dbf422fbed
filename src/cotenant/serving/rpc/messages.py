"""Pieces of a body become messages, each whole and where it was received.

A message has five bytes before it: whether it is packed, and its length. Room for a large one
is made once its length is known, never beyond the limit, and bytes that follow go there.
"""

import struct
import zlib

import numpy as np

from cotenant.core.errors import CotenantError, InvalidRequest, RequestTooLarge

PREFIX = struct.Struct(">BL")
_WBITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
ENCODINGS = {b"identity", *_WBITS}

Message = bytes | memoryview


class MessageReader:
    """What comes of a body goes to `on_message`; a fault goes to `on_fault`, and ends it."""

    def __init__(self, limit_bytes: int, encoding: bytes) -> None:
        self._limit_bytes = limit_bytes
        self._encoding = encoding
        self._prefix = b""
        self._packed = 0
        self._message: memoryview | None = None
        self._room: memoryview | None = None
        self._held = bytearray()
        self._holding = False
        self._over = False

    def on_message(self, message: Message) -> None:
        """A whole message has come."""
        raise NotImplementedError

    def on_fault(self, error: CotenantError) -> None:
        """What came is no message that we take."""
        raise NotImplementedError

    def room(self) -> memoryview | None:
        """Where the rest of the current message belongs."""
        return self._room

    def filled(self, count: int) -> None:
        """So many bytes were received there."""
        if self._room is not None and self._message is not None:
            self._room = self._room[count:]
            if not self._room:
                message, self._room, self._message = self._message, None, None
                self._deliver(message)

    def take(self, piece: memoryview) -> None:
        """Take bytes out of a piece of a body."""
        if self._over:
            return
        at = 0 if self._holding else self._read(piece)
        if at < len(piece) and self._holding:
            self._held += piece[at:]

    def hold(self) -> None:
        """Keep what comes from here on as it is."""
        self._holding = True

    def go_on(self) -> None:
        """Undo `hold`, and read what has been kept."""
        self._holding = False
        if self._held:
            with memoryview(self._held) as view:
                at = self._read(view)
            # The front of a bytearray is cheap to cut off, unlike a copy of its rest.
            del self._held[:at]

    @property
    def in_message(self) -> bool:
        """Whether a message has begun, and has not come to its end."""
        return bool(self._prefix) or self._room is not None

    def stop(self) -> None:
        """Read nothing more."""
        self._over = True
        self._message = self._room = None
        self._holding = False

    def _read(self, piece: memoryview) -> int:
        """Take messages until one of them makes us hold; returns how much was taken."""
        at, end = 0, len(piece)
        while at < end and not (self._over or self._holding):
            if self._room is not None:
                count = min(len(self._room), end - at)
                self._room[:count] = piece[at : at + count]
                at += count
                self.filled(count)
                continue
            if self._prefix or end - at < PREFIX.size:
                count = min(PREFIX.size - len(self._prefix), end - at)
                self._prefix += piece[at : at + count]
                at += count
                if len(self._prefix) < PREFIX.size:
                    break
                self._packed, length = PREFIX.unpack(self._prefix)
                self._prefix = b""
            else:
                self._packed, length = PREFIX.unpack_from(piece, at)
                at += PREFIX.size
            if not self._allows(length):
                break
            if end - at >= length:
                message = bytes(piece[at : at + length])
                at += length
                self._deliver(message)
            else:
                # Not zeroed: each byte of it is received before anybody reads it.
                self._message = self._room = np.empty(length, np.uint8).data
        return at

    def _allows(self, length: int) -> bool:
        if self._packed > 1:
            self._refuse(InvalidRequest(f"a message begins with {self._packed}; 0 and 1 are known"))
        elif self._packed and self._encoding not in _WBITS:
            self._refuse(InvalidRequest("a message is packed, but grpc-encoding does not say how"))
        elif length > self._limit_bytes:
            self._refuse(self._too_large(f"a message of {length} bytes"))
        return not self._over

    def _deliver(self, message: Message) -> None:
        if self._packed:
            try:
                message = self._unpack(message)
            except CotenantError as error:
                self._refuse(error)
                return
        self.on_message(message)

    def _unpack(self, message: Message) -> bytes:
        encoding = self._encoding.decode()
        inflater = zlib.decompressobj(_WBITS[self._encoding])
        try:
            plain = inflater.decompress(message, self._limit_bytes + 1)
        except zlib.error as error:
            raise InvalidRequest(f"the message is not valid {encoding}: {error}") from error
        if len(plain) > self._limit_bytes:
            raise self._too_large("an unpacked message")
        if not inflater.eof or inflater.unused_data:
            raise InvalidRequest(
                f"the message is truncated {encoding}, or has bytes behind its end"
            )
        return plain

    def _too_large(self, what: str) -> RequestTooLarge:
        return RequestTooLarge(
            f"{what} is over the limit of {self._limit_bytes} bytes; see --max-body-size"
        )

    def _refuse(self, error: CotenantError) -> None:
        self.stop()
        self.on_fault(error)
