"""The outputs of a batch go in; one mapping of copies for each of its requests comes out."""

from collections.abc import Sequence

import numpy as np

from cotenant.core.errors import ExecutionError
from cotenant.core.request import Request, Tensors


def divided(whole: Tensors, requests: Sequence[Request]) -> list[Tensors]:
    """Copies, because the memory behind `whole` is written again at the next launch.

    Raises:
        ExecutionError: the outputs cannot be divided among the requests.
    """
    if len(requests) == 1:
        return [{name: array.copy() for name, array in whole.items()}]
    ends = np.cumsum([request.rows for request in requests])
    for name, array in whole.items():
        if array.ndim == 0 or array.shape[0] != ends[-1]:
            raise ExecutionError(
                f"output {name!r} has shape {array.shape} for a batch of {ends[-1]} rows; "
                "the model does not batch along axis 0: set batch.max_size to 1"
            )
    return [
        {name: array[end - request.rows : end].copy() for name, array in whole.items()}
        for request, end in zip(requests, ends, strict=True)
    ]
