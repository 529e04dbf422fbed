"""The machine's own processor: one interpreter for each task, tensors in shared memory."""
