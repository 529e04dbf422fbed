"""Expected service time of a task, learnt as it runs: (rows, seconds) go in, seconds come out."""


class ServiceEstimate:
    """An exponentially weighted mean for each batch size.

    A size that was never seen is bounded from above by its rows times the time of the
    nearest smaller size for each row: batching never makes a row dearer.
    """

    _WEIGHT = 0.2

    def __init__(self) -> None:
        self._mean_s: dict[int, float] = {}

    def observe(self, rows: int, service_s: float) -> None:
        mean_s = self._mean_s.get(rows)
        self._mean_s[rows] = (
            service_s if mean_s is None else mean_s + self._WEIGHT * (service_s - mean_s)
        )

    def of(self, rows: int) -> float | None:
        """Seconds that so many rows are expected to take; `None` before anything was seen."""
        known_s = self._mean_s.get(rows)
        if known_s is not None:
            return known_s
        smaller = max((seen for seen in self._mean_s if seen < rows), default=None)
        return None if smaller is None else self._mean_s[smaller] * rows / smaller
