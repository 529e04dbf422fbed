"""Records and their summary go in, one picture comes out: latency curves and throughput bars.

One row per scenario. Left: how the critical task's latency is distributed under each policy,
with `alone` as the line to reach. Right: what best-effort tasks got of what was left.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cotenant.bench.cores import core_count
from cotenant.bench.figures import Key, Sample, samples_by_key
from cotenant.bench.records import ALONE, Records
from cotenant.core.task import Criticality

# Okabe and Ito's palette: told apart by everyone; the own policy gets the strongest colour.
COLOURS = {
    "cotenant": "#0072B2",
    "concurrent": "#D55E00",
    "sequential": "#E69F00",
    "priority-queue": "#CC79A7",
    "multi-stream": "#56B4E9",
    "inter-stream-barrier": "#999999",
    "miriam": "#D55E00",
    "reef": "#CC79A7",
    "orion": "#009E73",
}
OTHER = "#8c6bb1"
INK = "#333333"


def draw(records: Records, summary: Mapping[str, Any], path: Path) -> None:
    """Write the picture as a PNG file."""
    samples = samples_by_key(records)
    scenarios = summary["scenarios"]
    figure = Figure(figsize=(12.0, 1.0 + 3.4 * len(scenarios)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(scenarios), 2, squeeze=False, gridspec_kw={"width_ratios": (1.6, 1.0)}
    )
    described = {one["name"]: one for one in records.header["scenarios"]}
    for (left, right), scenario in zip(axes, scenarios, strict=True):
        _latency(left, described[scenario["name"]], scenario, samples)
        _throughput(right, scenario)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    machine = records.header["machine"]
    figure.suptitle(
        f"Critical latency and best-effort throughput ({core_count(machine)}, "
        f"rounds: {summary['rounds']})",
        fontsize=13,
        color=INK,
    )
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _latency(
    axes: Axes,
    described: Mapping[str, Any],
    scenario: Mapping[str, Any],
    samples: Mapping[Key, Sample],
) -> None:
    name = scenario["name"]
    task = next(
        (one for one in described["tasks"] if one["criticality"] == Criticality.CRITICAL),
        described["tasks"][0],
    )
    for policy in (ALONE, *scenario["policies"]):
        sample = samples.get((name, policy, task["name"]))
        if sample is None or not sample.latencies_s():
            continue
        latency_s = np.sort(np.concatenate(sample.latencies_s()))
        share_above = 1.0 - np.arange(latency_s.size) / latency_s.size
        alone = policy == ALONE
        axes.step(
            latency_s * 1e3,
            share_above,
            where="post",
            label=policy,
            color=INK if alone else COLOURS.get(policy, OTHER),
            linestyle="--" if alone else "-",
            linewidth=2.4 if policy == "cotenant" else 1.6,
            zorder=3 if alone else 2,
        )
    if task["slo"]:
        axes.axvline(task["slo"]["latency_s"] * 1e3, color=INK, linewidth=0.8, linestyle=":")
        axes.annotate(
            "SLO",
            (task["slo"]["latency_s"] * 1e3, 1.0),
            textcoords="offset points",
            xytext=(4, -10),
            fontsize=8,
            color=INK,
        )
    axes.set_yscale("log")
    axes.set_xscale("log")
    axes.set_ylim(top=1.15)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(_sparse))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g} %"))
    axes.set_xlabel(f"latency of critical {task['name']} (ms, from when it was due)")
    axes.set_ylabel("requests slower than this")
    axes.set_title(name, loc="left", fontsize=11, fontweight="bold", color=INK)
    tidy(axes)


def _throughput(axes: Axes, scenario: Mapping[str, Any]) -> None:
    policies = [
        policy
        for policy, figures in scenario["policies"].items()
        if figures["best_effort_ratio"] is not None
    ]
    ratios = [scenario["policies"][policy]["best_effort_ratio"] for policy in policies]
    values = np.array([ratio["value"] for ratio in ratios])
    low = np.array([ratio["low"] for ratio in ratios])
    high = np.array([ratio["high"] for ratio in ratios])
    places = np.arange(len(policies))
    axes.barh(
        places,
        values,
        color=[COLOURS.get(policy, OTHER) for policy in policies],
        height=0.6,
    )
    if policies:
        axes.errorbar(
            values,
            places,
            xerr=(np.maximum(values - low, 0.0), np.maximum(high - values, 0.0)),
            fmt="none",
            ecolor=INK,
            elinewidth=1.0,
            capsize=3,
        )
    for place, value, end in zip(places, values, high, strict=True):
        axes.text(
            max(value, end) + 0.02,
            float(place),
            f"{value:.2f}",
            va="center",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )
    axes.axvline(1.0, color=INK, linestyle="--", linewidth=0.9)
    axes.set_xlim(0.0, max(1.25, *(float(one) + 0.2 for one in high)) if policies else 1.25)
    axes.set_yticks(places, policies)
    axes.invert_yaxis()
    axes.set_xlabel("best-effort throughput / what critical work leaves")
    tidy(axes)


def _sparse(value: float, _: object) -> str:
    """Labels between the decades, few enough not to run into each other."""
    leading = f"{value:e}"[0]
    return f"{value:g}" if leading in "25" else ""


def tidy(axes: Axes) -> None:
    """The look that all pictures share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
