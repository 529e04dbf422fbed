"""Predictions over rate multipliers go in, the trade-off curve comes out as a PNG file."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cotenant.core.errors import WorkloadError
from cotenant.prediction.figures import Prediction

_INK = "#333333"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_WIDE = 10.0
"""Latencies that differ by more are drawn on a logarithmic axis."""


def draw(curve: Sequence[tuple[float, Prediction]], limit: float, path: Path) -> None:
    """Each task's p99 over the multiplier, and where the workload stops fitting."""
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    drawn_ms: list[float] = []
    for place, task in enumerate(one.task for one in curve[0][1].tasks):
        points = [
            (factor, one.p99_s * 1e3)
            for factor, prediction in curve
            for one in prediction.tasks
            if one.task == task and one.p99_s is not None
        ]
        drawn_ms += [latency_ms for _, latency_ms in points]
        if points:
            colour = _COLOURS[place % len(_COLOURS)]
            axes.plot(*zip(*points, strict=True), label=task, color=colour, linewidth=1.8)
    if drawn_ms and max(drawn_ms) > _WIDE * min(drawn_ms):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.axvline(limit, color=_INK, linestyle="--", linewidth=0.9)
    axes.annotate(
        f"fits up to {limit:.3g}",
        (limit, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4, -12),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=_INK,
    )
    axes.set_xlabel("rate multiplier")
    axes.set_ylabel("predicted p99 (ms)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    try:
        figure.savefig(path, dpi=130, format="png", metadata={"Software": None})
    except OSError as error:
        raise WorkloadError(
            f"cannot write picture {str(path)!r}: {error.strerror}; choose another place"
        ) from error
