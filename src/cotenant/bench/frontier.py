"""The summary of an elastic suite goes in, one picture comes out: what throughput costs.

One field for each workload. To the right: the critical task's p99 beside others over its p99
alone. Upwards: inferences per second of all tasks over those under `sequential`. The best place
is at the top left. The own policy with several epsilons is a curve.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cotenant.bench.bars import OWN_POLICY
from cotenant.bench.picture import COLOURS, INK, OTHER, tidy
from cotenant.bench.suite_summary import worst_slowdown
from cotenant.policy import policy_by_name
from cotenant.policy.sharing.cotenant import CotenantSharing

_COLUMNS = 2
_MARKS = "osD^vPX*<>"


class Point(NamedTuple):
    """One policy on one workload."""

    policy: str
    slowdown: float
    ratio: float


def points(scenario: Mapping[str, Any]) -> tuple[Point, ...]:
    """What was measured whole."""
    found = []
    for policy, figures in scenario["policies"].items():
        slowdown, ratio = worst_slowdown(figures, "p99"), figures["total_throughput_ratio"]
        if slowdown is not None and ratio is not None:
            found.append(Point(policy, slowdown, ratio["value"]))
    return tuple(found)


def epsilon_of(policy: str) -> float | None:
    """The epsilon of the own policy, by its name; `None` for any other.

    >>> epsilon_of("cotenant@0.2"), epsilon_of("cotenant"), epsilon_of("miriam")
    (0.2, 0.05, None)
    """
    if policy.partition("@")[0] != OWN_POLICY:
        return None
    rule = policy_by_name(policy).sharing
    return rule.epsilon if isinstance(rule, CotenantSharing) else None


def draw_frontier(summary: Mapping[str, Any], path: Path) -> None:
    """Write the picture as a PNG file."""
    scenarios = summary["scenarios"]
    columns = min(_COLUMNS, len(scenarios))
    rows = -(-len(scenarios) // columns)
    figure = Figure(figsize=(max(8.0, 6.0 * columns), 1.4 + 4.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.subplots(rows, columns, squeeze=False)
    names = list(dict.fromkeys(one for each in scenarios for one in each["policies"]))
    for axes, scenario in zip(figure.axes, scenarios, strict=False):
        _field(axes, scenario, names)
    for axes in figure.axes[len(scenarios) :]:
        axes.set_visible(False)
    labels = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        labels.values(), labels.keys(), loc="outside lower center", ncols=4, frameon=False
    )
    figure.suptitle(
        f"{summary['suite'].upper()}: what total throughput costs the critical task\n"
        f"{summary['component']['device']}",
        fontsize=12,
        color=INK,
    )
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _field(axes: Axes, scenario: Mapping[str, Any], names: list[str]) -> None:
    found = points(scenario)
    own = sorted((epsilon, one) for one in found if (epsilon := epsilon_of(one.policy)) is not None)
    if len(own) > 1:
        axes.plot(
            [one.slowdown for _, one in own],
            [one.ratio for _, one in own],
            color=COLOURS[OWN_POLICY],
            linewidth=1.4,
            zorder=2,
        )
    for epsilon, one in own if len(own) > 1 else ():
        axes.annotate(
            f"ε {epsilon:g}",
            (one.slowdown, one.ratio),
            textcoords="offset points",
            xytext=(6, 4),
            fontsize=8,
            color=INK,
        )
    for one in found:
        mine = epsilon_of(one.policy) is not None
        axes.scatter(
            one.slowdown,
            one.ratio,
            s=70 if one.policy == OWN_POLICY else 40,
            marker="o" if mine else _MARKS[1 + names.index(one.policy) % (len(_MARKS) - 1)],
            color=COLOURS[OWN_POLICY] if mine else COLOURS.get(one.policy, OTHER),
            label=OWN_POLICY if mine else one.policy,
            zorder=3,
        )
    for line in (axes.axvline, axes.axhline):
        line(1.0, color=INK, linewidth=0.8, linestyle=":")
    if found and max(one.slowdown for one in found) > 5.0:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("critical slowdown, p99")
    axes.set_ylabel("total throughput / sequential")
    axes.set_title(scenario["name"], loc="left", fontsize=11, fontweight="bold", color=INK)
    tidy(axes)
