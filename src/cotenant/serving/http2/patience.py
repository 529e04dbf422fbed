"""What a client does that serves nobody is counted; too much of it in a second ends it.

Resets, pings, changed settings and empty frames are all legal, and cost the server more than
the client that sends them. Honest clients stay far below: a fast one sends a ping for each
answer, and resets what its deadlines overtook.
"""

from cotenant.serving.http2.frames import Code, ConnectionFault

SMALL, RESET, COSTLY = 1, 10, 100
_PER_SECOND = 10_000


class Patience:
    """What one connection may still do in this second."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _PER_SECOND

    def spend(self, cost: int) -> None:
        """Count something; raises `ConnectionFault` when there was too much of it."""
        self._left -= cost
        if self._left < 0:
            raise ConnectionFault(
                Code.ENHANCE_YOUR_CALM, "too many resets, pings, settings or empty frames"
            )

    def renew(self) -> None:
        """A second has passed."""
        self._left = _PER_SECOND
