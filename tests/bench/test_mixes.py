"""Random mixes: the same for the same seed, and never outside of what was promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotenant.bench.mixes import (
    MODELS,
    MODELS_PER_MIX,
    RATE_RPS,
    SEEDS,
    SLO_FACTOR,
    UTILIZATION,
    draw_mixes,
    seeds_of,
)
from cotenant.core.errors import WorkloadError
from cotenant.core.task import Criticality, Periodic, Poisson

ALONE_S = {
    (model, kind): (0.003 + 0.007 * place) * (1.0 if kind is Criticality.CRITICAL else 1.5)
    for place, model in enumerate(MODELS)
    for kind in Criticality
}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_a_mix_is_within_every_stated_range(seed):
    [mix] = draw_mixes([(seed,)], ALONE_S)
    tasks = mix.workload.tasks
    assert MODELS_PER_MIX[0] <= len(tasks) <= MODELS_PER_MIX[1]
    assert {task.criticality for task in tasks} == set(Criticality)
    assert len({task.model for task in tasks}) == len(tasks)
    load = 0.0
    for task in tasks:
        assert isinstance(task.arrivals, Periodic | Poisson)
        assert RATE_RPS[0] <= task.arrivals.rate_rps <= RATE_RPS[1]
        alone_s = ALONE_S[task.name, task.criticality]
        load += task.arrivals.rate_rps * alone_s
        assert task.slo is not None
        assert SLO_FACTOR[0] <= task.slo.latency_s / alone_s <= SLO_FACTOR[1]
    assert load == pytest.approx(mix.utilization)
    assert UTILIZATION[0] <= load <= UTILIZATION[1]


def test_the_same_seeds_draw_the_same_mixes_and_others_draw_others():
    fixed = draw_mixes(seeds_of(5, None), ALONE_S)
    assert fixed == draw_mixes(seeds_of(40, None)[:5], ALONE_S)
    fresh = draw_mixes(seeds_of(5, 9), ALONE_S)
    assert fresh == draw_mixes(seeds_of(5, 9), ALONE_S)
    assert {mix.utilization for mix in fixed}.isdisjoint(mix.utilization for mix in fresh)


def test_loads_are_spread_evenly_whatever_the_number_of_models():
    mixes = draw_mixes(seeds_of(400, 3), ALONE_S)
    loads = np.array([mix.utilization for mix in mixes])
    quarters = np.histogram(loads, bins=4, range=UTILIZATION)[0]
    assert quarters.min() >= 70  # 100 each on the average, give or take 9
    assert quarters.max() <= 130
    sizes = np.bincount([len(mix.workload.tasks) for mix in mixes])[2:]
    assert sizes.min() >= 60  # five models of 50 ms do not fit into a load of 0.2


def test_the_fixed_list_is_long_enough_and_goes_on():
    assert len(SEEDS) >= 40
    assert len(set(seeds_of(100, None))) == 100


def test_every_size_arrival_and_model_occurs_in_the_default_suite():
    mixes = draw_mixes(seeds_of(40, None), ALONE_S)
    tasks = [task for mix in mixes for task in mix.workload.tasks]
    assert {len(mix.workload.tasks) for mix in mixes} == {2, 3, 4, 5}
    assert {task.arrivals.kind for task in tasks if task.arrivals} == {"periodic", "poisson"}
    assert {task.name for task in tasks} == set(MODELS)


def test_models_that_allow_no_mix_are_told_so():
    slow_s = dict.fromkeys(ALONE_S, 10.0)
    with pytest.raises(WorkloadError, match="profile faster models"):
        draw_mixes([(1,)], slow_s)
    with pytest.raises(WorkloadError, match="a mix needs 2 models"):
        draw_mixes([(1,)], ALONE_S, ["gru"])
