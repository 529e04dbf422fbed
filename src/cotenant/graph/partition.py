"""A model file and a number of parts go in; as many `Segment`s, each a model file, come out.

Segments are contiguous in the order of the file's nodes. They run one after the other, with
every tensor kept by its name:

    tensors = dict(inputs)
    for segment in segments:
        tensors |= run(segment.path, {name: tensors[name] for name in segment.inputs})

The results are those of the whole bit by bit as long as the model has enough exact cuts (see
`chain`); with more parts than that, they differ by rounding.

Where a cut is best: each segment costs its operations, and for every byte that enters or
leaves it as much as some operations; the sum of the squared costs is smallest. Squares make
equal segments cheapest; the bytes move cuts to where little crosses.
"""

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cotenant.core.errors import ModelError
from cotenant.graph.cache import Sink, cache_folder, keep
from cotenant.graph.chain import Chain, chain_of, segment_skeleton
from cotenant.graph.external import with_external_data
from cotenant.graph.load import check_model
from cotenant.graph.read import read_model
from cotenant.graph.wire import Skeleton, model_size_bytes, write_model

_OPERATIONS_PER_BYTE = 10  # an edge processor does about so many while it moves one byte
_LARGEST_BYTES = 2**31 - 1  # the limit of protocol buffers, which ONNX files are


class Segment(NamedTuple):
    """One part of a model, a valid model of its own."""

    path: Path
    inputs: tuple[str, ...]
    """Inputs of the whole model, or outputs of earlier segments; under their names there."""
    outputs: tuple[str, ...]
    """Outputs of the whole model, and what later segments read."""


def cut(model_path: Path, parts: int, folder: Path | None = None) -> tuple[Segment, ...]:
    """Cut a model into contiguous segments of about equal work.

    Args:
        model_path: the model; it is checked first.
        parts: number of segments; 1 gives the model itself.
        folder: where the segments are kept, under names that depend on the model's content;
            a folder of the cache when absent.

    Raises:
        ModelError: the model cannot be used, or cannot be cut into so many parts.
        CotenantError: the folder has no room or cannot be written.
    """
    check_model(model_path)
    chain = chain_of(with_external_data(read_model(model_path), model_path.parent))
    if not 1 <= parts <= len(chain.cuts) + 1:
        raise ModelError(
            f"{str(model_path)!r} cannot be cut into {parts} segments, only into 1 to "
            f"{len(chain.cuts) + 1}; choose a number in between"
        )
    if parts == 1:
        return (_segment(model_path, segment_skeleton(chain, 0, len(chain.nodes))),)
    exact = len(chain.exact_cuts) >= parts - 1
    positions = best_cuts(chain, chain.exact_cuts if exact else chain.cuts, parts)
    key = _key(chain.skeleton, positions)
    folder = cache_folder() / "segments" if folder is None else folder
    return tuple(
        _store(folder / f"{key}-{number}.onnx", segment_skeleton(chain, start, end))
        for number, (start, end) in enumerate(itertools.pairwise((0, *positions, len(chain.nodes))))
    )


def best_cuts(chain: Chain, cuts: Sequence[int], parts: int) -> tuple[int, ...]:
    """Those `parts - 1` of the cuts whose segments have the smallest sum of squared costs."""
    places = np.array([0, *cuts, len(chain.nodes)])
    done = np.concatenate([[0.0], np.cumsum(chain.work)])[places]
    moved = _OPERATIONS_PER_BYTE * np.asarray(chain.crossing_bytes, dtype=np.float64)[places]
    cost = np.square((done + moved)[None, :] - (done - moved)[:, None])  # [first, last]
    cost[np.tril_indices(len(places))] = np.inf
    total = cost[0]  # [last]: cheapest way to have come so far
    choices: list[npt.NDArray[np.intp]] = []
    for _ in range(parts - 1):
        ways = total[:, None] + cost
        choices.append(ways.argmin(axis=0))
        total = ways.min(axis=0)
    at = len(places) - 1
    chosen: list[int] = []
    for choice in reversed(choices):
        at = int(choice[at])
        chosen.append(int(places[at]))
    return tuple(reversed(chosen))


def _store(path: Path, skeleton: Skeleton) -> Segment:
    size_bytes = model_size_bytes(skeleton)
    if size_bytes > _LARGEST_BYTES:
        raise ModelError(
            f"segment {path.name!r} would have {size_bytes} bytes, and an ONNX file can have "
            f"{_LARGEST_BYTES}; cut the model into more parts"
        )

    def write(sink: Sink) -> None:
        write_model(sink, skeleton)

    return _segment(keep(path, size_bytes, write), skeleton)


def _segment(path: Path, skeleton: Skeleton) -> Segment:
    graph = skeleton.model.graph
    return Segment(
        path=path,
        inputs=tuple(value.name for value in graph.input),
        outputs=tuple(value.name for value in graph.output),
    )


class _Digest:
    """A sink that keeps only a hash."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, content: bytes, /) -> None:
        self.hash.update(content)


def _key(skeleton: Skeleton, positions: Sequence[int]) -> str:
    digest = _Digest()
    write_model(digest, skeleton)
    digest.write(repr(tuple(positions)).encode())
    return digest.hash.hexdigest()[:24]
