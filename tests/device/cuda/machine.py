"""What stands in streams goes in; it is run in an order that the rules of CUDA allow.

Nothing runs by itself: whoever asks for an end makes it go on, so that every run of a test is
the same. Streams of higher priority go first; of two that could, the one made later.
"""

from collections import deque
from collections.abc import Callable, Iterable


class Node:
    """Something to run, behind others."""

    def __init__(self, run: Callable[[], None], behind: Iterable["Node"]) -> None:
        self.run = run
        self.behind = list(behind)
        self.done = False

    @property
    def ready(self) -> bool:
        return all(one.done for one in self.behind)


class Event:
    """Where it was recorded last, and when that came."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.node: Node | None = None
        self.captured: set[Node] | None = None
        self.time_s = 0.0


class Graph:
    """Nodes that were captured, in the order in which they were."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.streams: list[Stream] = []

    def add(self, stream: "Stream", run: Callable[[], None]) -> None:
        node = Node(run, stream.tail)
        self.nodes.append(node)
        stream.tail = {node}

    def joined(self, origin: "Stream") -> bool:
        """Whether everything stands before what the origin's next would wait for."""
        seen, waiting = set[Node](), list(origin.tail)
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += node.behind
        return seen == set(self.nodes)

    def run(self) -> None:
        """All of it, each time what could wait longest first."""
        left = list(self.nodes)
        for node in left:
            node.done = False
        while left:
            node = next(one for one in reversed(left) if one.ready)
            node.run()
            node.done = True
            left.remove(node)


class Stream:
    """Nodes in their order."""

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.queued: deque[Node] = deque()
        self.last: Node | None = None
        self.graph: Graph | None = None
        """It is being captured."""
        self.tail: set[Node] = set()

    def add(self, run: Callable[[], None], behind: Iterable[Node] = ()) -> Node | None:
        if self.graph is not None:
            self.graph.add(self, run)
            return None
        self.last = Node(run, behind)
        self.queued.append(self.last)
        return self.last


class Machine:
    """All streams of a device, and its time."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.now_s = 0.0

    def step(self) -> bool:
        """Run one node; false if none is ready."""
        by_turn = sorted(enumerate(self.streams), key=lambda one: (one[1].priority, -one[0]))
        for _, stream in by_turn:
            if stream.queued and stream.queued[0].ready:
                node = stream.queued.popleft()
                self.now_s += 1e-6
                node.run()
                node.done = True
                return True
        return False
