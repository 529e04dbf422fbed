"""The bounded waiting room of one task: requests go in, batches come out in order of level."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from cotenant.core.request import Request, batch_key
from cotenant.core.task import Queue


class Backlog:
    """Requests that wait, by level (1 first) and then by arrival."""

    def __init__(self, queue: Queue, max_rows: int) -> None:
        self._default = queue.default_level or max(1, queue.priority_levels)
        self._levels: tuple[OrderedDict[int, Request], ...] = tuple(
            OrderedDict() for _ in range(max(1, queue.priority_levels))
        )
        self._max_rows = max_rows
        self.size = 0
        """Requests that wait; nobody else changes it."""

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Request]:
        for waiting in self._levels:
            yield from waiting.values()

    def waits(self, request_id: int) -> bool:
        """Whether the request is still here."""
        return any(request_id in waiting for waiting in self._levels)

    def push(self, request: Request) -> None:
        # A level that does not exist counts as the last one, as clients of Triton expect.
        level = request.level or self._default
        self._levels[min(level, len(self._levels)) - 1][request.id] = request
        self.size += 1

    def remove(self, request_id: int) -> Request:
        """Take one request out, wherever it stands."""
        for waiting in self._levels:
            if request_id in waiting:
                self.size -= 1
                return waiting.pop(request_id)
        raise KeyError(request_id)

    def drop_oldest(self) -> Request:
        """Take out the request that has waited longest at the least important level."""
        for waiting in reversed(self._levels):
            if waiting:
                self.size -= 1
                return waiting.popitem(last=False)[1]
        raise IndexError("nothing waits")

    def take(self, requests: int) -> tuple[Request, ...]:
        """Take the first so many requests out."""
        if requests == 1 and len(self._levels) == 1 and self.size:
            self.size -= 1
            return (self._levels[0].popitem(last=False)[1],)
        taken = tuple(islice(self, requests))
        for request in taken:
            self.remove(request.id)
        return taken

    def head(self) -> Request | None:
        """The request that would run next."""
        if not self.size:
            return None
        for waiting in self._levels:
            if waiting:
                return next(iter(waiting.values()))
        return None

    def rows(self, requests: int) -> int:
        """Rows of the first so many requests."""
        return sum(request.rows for request in islice(self, requests))

    def batchable(self) -> int:
        """How many of the first requests may run as one batch: same form, and within the limit."""
        if self._max_rows <= 1 or self.size <= 1:
            return min(self.size, 1)
        key: object = None
        count = rows = 0
        for request in self:
            rows += request.rows
            form = None if request.inputs is None else batch_key(request.inputs)
            if count and (rows > self._max_rows or form != key):
                break
            key = form
            count += 1
        return count
