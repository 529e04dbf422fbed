"""The one loop over tiles, in the words of a language that its subclass knows.

A block takes one tile after the other: `static` counts them, `preemptive` claims them. What
`call` stands for computes tile `cotenant_tile`.
"""

from abc import ABC, abstractmethod

from cotenant.compiler.source import Kernel

Triple = tuple[int, int, int]


class Dialect(ABC):
    """What the two forms are made of in one language."""

    unsigned: str
    """An unsigned word ..."""
    triple: str
    """... and what makes three of them one value."""
    progress: str
    """The parameter with the counter of tiles ..."""
    pause: str
    """... and the one with the word that pauses."""
    block: str
    """Number of this block, of so many ..."""
    blocks: str
    """... on the only axis."""
    leader: str
    """Whether this thread is the first of its block."""
    claim: str
    """Takes `cotenant_claim` tiles; its value is the first of them."""
    claimed: str
    """Declares `cotenant_claimed`, which all threads of a block share."""
    barrier: str
    """Waits for all threads of the block."""
    fresh = ""
    """Stands before each `call`."""

    @abstractmethod
    def tile(self, kernel: Kernel) -> str:
        """The function that computes one tile."""

    @abstractmethod
    def arguments(self, kernel: Kernel) -> tuple[str, ...]:
        """What it is called with, but for its block and the grid."""

    @abstractmethod
    def between(self, kernel: Kernel, grid: Triple | None) -> str:
        """What stands between two tiles of a block."""

    def static(self, kernel: Kernel, grid: Triple | None, call: str) -> str:
        """Body of the static form; `call` computes tile `cotenant_tile`."""
        unsigned = self.unsigned
        return f"""for ({unsigned} cotenant_tile = cotenant_begin + {self.block};
       cotenant_tile < cotenant_end; cotenant_tile += {self.blocks}) {{
    {self.fresh}{call}
    {self.between(kernel, grid)}
  }}"""

    def preemptive(self, kernel: Kernel, grid: Triple | None, call: str) -> str:
        """Body of the preemptive form."""
        unsigned = self.unsigned
        # The second barrier keeps the leader from claiming anew before all have read the first.
        return f"""{self.claimed}
  for (;;) {{
    if ({self.leader}) {{
      cotenant_claimed = *cotenant_pause ? 0xffffffffu : {self.claim};
    }}
    {self.barrier}
    const {unsigned} cotenant_first = cotenant_claimed;
    {self.barrier}
    if (cotenant_first >= cotenant_end) {{
      break;
    }}
    const {unsigned} cotenant_last = cotenant_end - cotenant_first < cotenant_claim
        ? cotenant_end : cotenant_first + cotenant_claim;
    for ({unsigned} cotenant_tile = cotenant_first; cotenant_tile < cotenant_last;
         ++cotenant_tile) {{
      {self.fresh}{call}
      {self.between(kernel, grid)}
    }}
  }}"""
