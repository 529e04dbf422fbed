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
        self._levels: dict[int, OrderedDict[int, Request]] = {
            level: OrderedDict() for level in range(1, max(1, queue.priority_levels) + 1)
        }
        self._max_rows = max_rows
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Request]:
        for waiting in self._levels.values():
            yield from waiting.values()

    def push(self, request: Request) -> None:
        # A level that does not exist counts as the last one, as clients of Triton expect.
        level = min(request.level or self._default, len(self._levels))
        self._levels[level][request.id] = request
        self._size += 1

    def remove(self, request_id: int) -> Request | None:
        """Take one request out, wherever it stands."""
        for waiting in self._levels.values():
            request = waiting.pop(request_id, None)
            if request is not None:
                self._size -= 1
                return request
        return None

    def drop_oldest(self) -> Request:
        """Take out the request that has waited longest at the least important level."""
        for waiting in reversed(self._levels.values()):
            if waiting:
                self._size -= 1
                return waiting.popitem(last=False)[1]
        raise IndexError("nothing waits")

    def take(self, requests: int) -> tuple[Request, ...]:
        """Take the first so many requests out."""
        taken = tuple(islice(self, requests))
        for request in taken:
            self.remove(request.id)
        return taken

    def head(self) -> Request | None:
        """The request that would run next."""
        return next(iter(self), None)

    def rows(self, requests: int) -> int:
        """Rows of the first so many requests."""
        return sum(request.rows for request in islice(self, requests))

    def batchable(self) -> int:
        """How many of the first requests may run as one batch: same form, and within the limit."""
        head = self.head()
        if head is None:
            return 0
        if self._max_rows <= 1:
            return 1
        key = None if head.inputs is None else batch_key(head.inputs)
        count = rows = 0
        for request in self:
            rows += request.rows
            if count and rows > self._max_rows:
                break
            if count and (None if request.inputs is None else batch_key(request.inputs)) != key:
                break
            count += 1
        return count
