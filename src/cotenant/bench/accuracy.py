"""Records of predictions and measurements go in, the figures of `summary.json` come out.

A row is one task of one mix under one policy. Measured figures pool the requests that were due
in all windows that count (`bench/steady.py`), and what was predicted is the mean of the forecasts
of these windows; the error is |predicted - measured| / measured, and every row counts alike. It is
told as well for the forecasts of the first round alone, each made before anything of its mix was
measured. Repeatability is the same error with one window standing in for the
prediction of the others, on the average over all windows of a row: what is left of it no predictor
can remove. Error and repeatability are told once more with every window counted.

Windows are short, and the figures of so few requests are not those of a long run, whatever the
machine does: `bench/luck.py` says what error a forecast would be found to have if its model were
right.

Another draw of mixes would give another error: its interval is that of mixes drawn again, each with
all its tasks, which share windows and luck.

The error is told by criticality and by load as well: a queue at a load of 0.8 follows each
percent of the machine's speed, one at 0.3 hardly does.

A verdict is right if the task was said to fit and met its SLO at its quantile, or was said not
to fit and did not. A false fit is one that was said to fit and attained less than 0.9 times
its quantile.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from cotenant.bench.figures import Key, Sample, Samples, samples_by_key
from cotenant.bench.mixes import UTILIZATION
from cotenant.bench.predictors import OWN
from cotenant.bench.records import Forecast, Luck, Phase, Records
from cotenant.bench.statistics import RESAMPLES, percentile_interval
from cotenant.bench.steady import steady
from cotenant.core.task import Criticality

FIGURES = ("mean", "p95", "p99")
_FALSE_FIT = 0.9
_LOADS = 3


class Measured(NamedTuple):
    """The three figures of one sample of latencies."""

    mean: float
    p95: float
    p99: float


def measured(latencies_s: Samples) -> Measured:
    """Mean and quantiles, these by the median-unbiased estimate: few requests, no bias."""
    p95, p99 = np.quantile(latencies_s, (0.95, 0.99), method="median_unbiased")
    return Measured(float(latencies_s.mean()), float(p95), float(p99))


def summarise(records: Records) -> dict[str, Any]:
    """The document of `summary.json`."""
    counted = records._replace(phases=_counted(records))
    rows = _rows(counted)
    header = records.header
    policies = [one for one in header["policies"] if any(row["policy"] == one for row in rows)]
    return {
        "suite": "prediction",
        "machine": header["machine"],
        "versions": header["versions"],
        "seed": header["seed"],
        "mixes": len({row["mix"] for row in rows}),
        "asked": len(header["mixes"]),
        **_errors(rows),
        "mape_interval": {figure: _interval(rows, figure) for figure in FIGURES},
        "steadiness": _steadiness(records, counted),
        "first_forecasts": _mape_of_own(_rows(_with_first_forecasts(counted))),
        "every_window": _every_window(rows if counted == records else _rows(records)),
        "policies": {
            policy: _errors([row for row in rows if row["policy"] == policy]) for policy in policies
        },
        "parts": list(_parts(rows)),
        "failures": [one._asdict() for one in records.failures],
        "rows": rows,
    }


def _counted(records: Records) -> tuple[Phase, ...]:
    """The windows in which the machine was as in the others of the mix."""
    windows: dict[tuple[str, str], list[Phase]] = {}
    for one in records.phases:
        windows.setdefault((one.scenario, one.policy), []).append(one)
    tasks = {mix["name"]: mix["tasks"] for mix in records.header["mixes"]}
    return tuple(phase for (mix, _), each in windows.items() for phase in steady(each, tasks[mix]))


def _rows(records: Records) -> list[dict[str, Any]]:
    samples = samples_by_key(
        records._replace(header=records.header | {"scenarios": records.header["mixes"]})
    )
    said = _said(records)
    luck = {(one.scenario, one.policy, one.task): one for one in records.luck}
    rows = []
    for mix in records.header["mixes"]:
        for policy in records.header["policies"]:
            for task in mix["tasks"]:
                key = (mix["name"], policy, task["name"])
                sample = samples.get(key)
                if key in said and sample is not None and sample.latencies_s():
                    rows.append(_row(mix, policy, task, sample, said[key], luck=luck.get(key)))
    return rows


def _said(records: Records) -> Mapping[Key, Mapping[str, Forecast]]:
    """What each predictor said of each task: the mean over the windows there are."""
    windows = {(one.scenario, one.policy, one.round) for one in records.phases}
    by_key: dict[Key, dict[str, list[Forecast]]] = {}
    for one in records.forecasts:
        if (one.scenario, one.policy, one.round) in windows:
            of_task = by_key.setdefault((one.scenario, one.policy, one.task), {})
            of_task.setdefault(one.predictor, []).append(one)
    return {
        key: {name: _together(each) for name, each in of_task.items()}
        for key, of_task in by_key.items()
    }


def _together(forecasts: Sequence[Forecast]) -> Forecast:
    """Of several windows; it fits if most of them said so."""
    return forecasts[0]._replace(
        mean_s=_mean(one.mean_s for one in forecasts),
        p95_s=_mean(one.p95_s for one in forecasts),
        p99_s=_mean(one.p99_s for one in forecasts),
        attainment=_mean(one.attainment for one in forecasts),
        fits=2 * sum(one.fits for one in forecasts) > len(forecasts),
        method=", ".join(dict.fromkeys(one.method for one in forecasts)),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """Of those there are."""
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known else None


def _with_first_forecasts(records: Records) -> Records:
    """The forecasts of the first round, for whichever windows count."""
    first = [one for one in records.forecasts if one.round == 0]
    return records._replace(
        forecasts=tuple(
            one._replace(round=phase.round)
            for phase in records.phases
            for one in first
            if (one.scenario, one.policy) == (phase.scenario, phase.policy)
        )
    )


def _row(
    mix: Mapping[str, Any],
    policy: str,
    task: Mapping[str, Any],
    sample: Sample,
    said: Mapping[str, Forecast],
    *,
    luck: Luck | None,
) -> dict[str, Any]:
    windows = sample.latencies_s()
    return {
        "mix": mix["name"],
        "policy": policy,
        "task": task["name"],
        "criticality": task["criticality"],
        "arrivals": task["arrivals"],
        "utilization": mix["utilization"],
        "slo": task["slo"],
        "requests": sample.due,
        "measured": measured(np.concatenate(windows))._asdict(),
        "windows": [measured(one)._asdict() for one in windows],
        "again": _again(windows),
        "service_s": sample.service_s,
        "luck": luck and {figure: getattr(luck, figure) for figure in FIGURES},
        "attainment": sample.attainment,
        "attainments": [one.attainment for one in sample.by_round().values()],
        "predicted": {
            name: {
                "mean": one.mean_s,
                "p95": one.p95_s,
                "p99": one.p99_s,
                "attainment": one.attainment,
                "fits": one.fits,
                "method": one.method,
            }
            for name, one in said.items()
        },
    }


def _errors(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    predictors = list(dict.fromkeys(name for row in rows for name in row["predicted"]))
    mape_of = {
        name: {figure: mape(rows, name, figure) for figure in FIGURES} for name in predictors
    }
    verdicts = {name: _verdicts(rows, name) for name in predictors}
    accuracy, false_fits = verdicts.get(OWN, (None, 0))
    return {
        "mape": mape_of.get(OWN, dict.fromkeys(FIGURES)),
        "mape_of": mape_of,
        "repeatability_mape": {figure: _repeatability(rows, figure) for figure in FIGURES},
        "luck_mape": {figure: _luck(rows, figure) for figure in FIGURES},
        "verdict_accuracy": accuracy,
        "verdict_repeatability": _verdict_repeatability(rows),
        "verdict_accuracy_of": {name: verdict[0] for name, verdict in verdicts.items()},
        "fits_kept": _fits_kept(rows, OWN),
        "false_fits": false_fits,
        "false_fits_of": {name: verdict[1] for name, verdict in verdicts.items()},
    }


def _parts(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The error of critical and of best-effort tasks, and that at low, middle and high loads."""
    edges = [float(edge) for edge in np.linspace(*UTILIZATION, _LOADS + 1)]
    parts = [
        (kind.value, [row for row in rows if row["criticality"] == kind.value])
        for kind in Criticality
    ]
    parts += [
        (
            f"load {low:.2f} to {high:.2f}",
            [row for row in rows if low <= row["utilization"] < high],
        )
        for low, high in pairwise(edges)
    ]
    for name, part in parts:
        yield {
            "part": name,
            "tasks": len(part),
            "mape": _mape_of_own(part),
            "repeatability_mape": {figure: _repeatability(part, figure) for figure in FIGURES},
        }


def mape(rows: Iterable[Mapping[str, Any]], predictor: str, figure: str) -> float | None:
    """Mean absolute percentage error, as a fraction; `None` where nothing can be compared."""
    return _mean(_error(row, predictor, figure) for row in rows)


def _error(row: Mapping[str, Any], predictor: str, figure: str) -> float | None:
    told = row["predicted"][predictor][figure] if predictor in row["predicted"] else None
    actual = row["measured"][figure]
    return None if told is None else abs(told - actual) / actual


def _interval(rows: Iterable[Mapping[str, Any]], figure: str) -> tuple[float, float] | None:
    """95 % of the own error; `None` for fewer than two mixes."""
    by_mix: dict[str, list[float]] = {}
    for row in rows:
        if (error := _error(row, OWN, figure)) is not None:
            by_mix.setdefault(row["mix"], []).append(error)
    if len(by_mix) < 2:
        return None
    sums, counts = np.array([(sum(each), len(each)) for each in by_mix.values()]).T
    drawn = np.random.default_rng(0).integers(0, sums.size, (RESAMPLES, sums.size))
    spread = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    found = percentile_interval(float(sums.sum() / counts.sum()), spread)
    return found.low, found.high


def _again(windows: Sequence[Samples]) -> dict[str, float] | None:
    """The error of one window as the prediction of the others, on the average over all."""
    if len(windows) < 2:
        return None
    errors = [
        abs(np.array(measured(one)) / np.array(measured(np.concatenate(others))) - 1.0)
        for place, one in enumerate(windows)
        if (others := [*windows[:place], *windows[place + 1 :]])
    ]
    return dict(zip(FIGURES, np.mean(errors, axis=0).tolist(), strict=True))


def _repeatability(rows: Iterable[Mapping[str, Any]], figure: str) -> float | None:
    return _mean(row["again"] and row["again"][figure] for row in rows)


def _luck(rows: Iterable[Mapping[str, Any]], figure: str) -> float | None:
    return _mean(row["luck"] and row["luck"][figure] for row in rows)


def _steadiness(records: Records, counted: Records) -> dict[str, Any]:
    """What the machine itself did: its speed before the forecasts, and the windows it spoilt."""
    speeds = [float(np.median(list(one.warm.values()))) for one in records.anchors if one.warm]
    return {
        "slower_than_profiled": {
            "least": min(speeds, default=None),
            "median": float(np.median(speeds)) if speeds else None,
            "most": max(speeds, default=None),
        },
        "windows": len(records.phases),
        "left_out": len(records.phases) - len(counted.phases),
    }


def _every_window(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The errors with every window counted, whatever the machine did."""
    return {
        "mape": _mape_of_own(rows),
        "repeatability_mape": {figure: _repeatability(rows, figure) for figure in FIGURES},
    }


def _mape_of_own(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    return {figure: mape(rows, OWN, figure) for figure in FIGURES}


def _verdict_repeatability(rows: Iterable[Mapping[str, Any]]) -> float | None:
    """How often all windows of a task say the same."""
    same = [
        len({attained >= row["slo"]["quantile"] for attained in row["attainments"]}) == 1
        for row in rows
        if row["slo"] is not None and None not in row["attainments"] and len(row["attainments"]) > 1
    ]
    return float(np.mean(same)) if same else None


def _fits_kept(rows: Iterable[Mapping[str, Any]], predictor: str) -> float | None:
    """Of the tasks that were said to fit, the share that did."""
    kept = [
        row["attainment"] >= row["slo"]["quantile"]
        for row in rows
        if row["slo"] is not None
        and predictor in row["predicted"]
        and row["predicted"][predictor]["fits"]
    ]
    return float(np.mean(kept)) if kept else None


def _verdicts(rows: Sequence[Mapping[str, Any]], predictor: str) -> tuple[float | None, int]:
    judged = [
        (row["predicted"][predictor]["fits"], row["attainment"], row["slo"]["quantile"])
        for row in rows
        if predictor in row["predicted"] and row["slo"] is not None
    ]
    right = [fits == (attained >= quantile) for fits, attained, quantile in judged]
    false_fits = sum(
        fits and attained < _FALSE_FIT * quantile for fits, attained, quantile in judged
    )
    return (float(np.mean(right)) if right else None), false_fits
