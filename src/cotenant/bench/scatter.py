"""The rows of a prediction summary go in, a picture of predicted against measured comes out.

One row of panels for each policy, one panel for each figure. On the diagonal the prediction was
right; the band is 20 % to either side.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from cotenant.bench.accuracy import FIGURES
from cotenant.bench.cores import core_count
from cotenant.bench.predictors import OWN, PLAIN
from cotenant.core.task import Criticality

# Okabe and Ito's palette; what is compared with stays grey.
_CRITICAL, _BEST_EFFORT = "#0072B2", "#D55E00"
_GREY, _INK = "#999999", "#333333"
_BAND = 0.2


def draw_scatter(summary: Mapping[str, Any], path: Path) -> None:
    """Write the picture as a PNG file."""
    policies = list(summary["policies"])
    figure = Figure(figsize=(13.0, 0.9 + 4.2 * len(policies)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(policies), len(FIGURES), squeeze=False)
    for panels_of_policy, policy in zip(panels, policies, strict=True):
        rows = [row for row in summary["rows"] if row["policy"] == policy]
        for axes, name in zip(panels_of_policy, FIGURES, strict=True):
            _panel(axes, rows, name)
            error = summary["policies"][policy]["mape"][name]
            axes.set_title(
                f"{name}" + ("" if error is None else f": error {error:.1%}"),
                loc="left",
                fontsize=11,
                fontweight="bold",
                color=_INK,
            )
        panels_of_policy[0].set_ylabel(f"policy {policy}\npredicted latency (ms)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(
        f"Predicted against measured latency: {summary['mixes']} mixes, "
        f"{core_count(summary['machine'])}",
        fontsize=13,
        color=_INK,
    )
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str) -> None:
    drawn_ms = []
    for predictor, marker in zip(PLAIN, ("x", "+"), strict=True):
        points = _points(rows, predictor, name)
        drawn_ms.append(points)
        axes.scatter(*points, marker=marker, color=_GREY, s=22, linewidths=0.9, label=predictor)
    for kind, colour in (
        (Criticality.CRITICAL, _CRITICAL),
        (Criticality.BEST_EFFORT, _BEST_EFFORT),
    ):
        chosen = [row for row in rows if row["criticality"] == kind]
        points = _points(chosen, OWN, name)
        drawn_ms.append(points)
        axes.scatter(
            *points,
            color=colour,
            s=26,
            edgecolors="white",
            linewidths=0.5,
            zorder=3,
            label=f"{OWN}, {kind}",
        )
    everything = np.concatenate([np.concatenate(points) for points in drawn_ms])
    if everything.size:
        ends = np.array([everything.min() / 1.3, everything.max() * 1.3])
        axes.plot(ends, ends, color=_INK, linewidth=0.9)
        axes.fill_between(ends, ends * (1 - _BAND), ends * (1 + _BAND), color="#eeeeee", zorder=0)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        scale("log")
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(_labelled))
        axis.set_minor_formatter(NullFormatter())
    axes.set_aspect("equal")
    axes.set_xlabel("measured latency (ms)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _points(
    rows: Sequence[Mapping[str, Any]], predictor: str, name: str
) -> tuple[np.ndarray, np.ndarray]:
    pairs = [
        (row["measured"][name] * 1e3, row["predicted"][predictor][name] * 1e3)
        for row in rows
        if predictor in row["predicted"] and row["predicted"][predictor][name] is not None
    ]
    both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _labelled(value_ms: float, _: int) -> str:
    """Short enough to stand beside the next one."""
    return f"{value_ms:g}" if value_ms < 1000 else f"{value_ms / 1000:g} s"
