"""Counted bytes go in; whether they were allowed, and what to allow next, comes out (5.2).

Either side tells the other how many bytes it may send, on each stream and on the whole
connection. Only the payloads of DATA frames count.
"""

from cotenant.serving.http2.frames import LARGEST_WINDOW_BYTES


class Receiving:
    """What the other side may still send to us."""

    __slots__ = ("_debt", "_left", "_size")

    def __init__(self, size_bytes: int) -> None:
        self._size = self._left = size_bytes
        self._debt = 0

    def take(self, count: int) -> bool:
        """Count bytes that came; false if there was no leave for them."""
        self._left -= count
        self._debt += count
        return self._left >= 0

    def grant(self) -> int:
        """What is to be granted anew, or 0 while that is too little to be worth a frame."""
        if self._debt * 2 < self._size:
            return 0
        granted, self._debt = self._debt, 0
        self._left += granted
        return granted


class Sending:
    """What we may still send; below zero if the other side has shrunk its windows."""

    __slots__ = ("left",)

    def __init__(self, size_bytes: int) -> None:
        self.left = size_bytes

    def widen(self, increment: int) -> bool:
        """Add leave, or take some away; false if there would be more than can be counted."""
        self.left += increment
        return self.left <= LARGEST_WINDOW_BYTES
