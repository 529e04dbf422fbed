"""What a listening port asks of its clients: numbers, so that a slow client costs little."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Limits of one HTTP port. Times are counted in ticks, so they are kept to within one."""

    connections: int = 512
    """Open at once; one more is told 503 and closed. A TLS handshake does not count yet."""
    turned_away: int = 64
    """Connections beyond those that are told so; the next ones are closed without a word."""
    head_s: float = 10.0
    """From the first byte of a request's head to its last, and for a TLS handshake."""
    body_s: float = 20.0
    """A body may take this long, however slowly it comes ..."""
    body_bytes_per_s: float = 32 * 1024.0
    """... and longer, as long as it comes at this rate on average."""
    idle_s: float = 75.0
    """Between two requests of one connection."""
    stalled_s: float = 30.0
    """A client takes nothing of its answer."""
    tick_s: float = 1.0

    def body_allowed_s(self, received_bytes: int) -> float:
        """How long a body may have taken when so much of it has come.

        >>> Limits().body_allowed_s(1024 * 1024)
        52.0
        """
        return self.body_s + received_bytes / self.body_bytes_per_s
