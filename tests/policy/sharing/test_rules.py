"""What every rule for kernels must hold to, on whatever device and beside whatever kernel."""

import dataclasses
import math
import pickle

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.device.sharing import Form, KernelView, Moment, Sharing
from cotenant.policy import POLICIES, policy_by_name
from cotenant.policy.sharing.cotenant import CotenantSharing
from cotenant.policy.sharing.room import wave_s
from tests.policy.sharing.moments import (
    alone,
    beside_critical,
    held_blocks,
    kernels,
    measured,
    modelled,
    moments,
)

RULES = {name: policy_by_name(name).sharing for name in POLICIES}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def begun_by(rule: Sharing, moment: Moment) -> Moment:
    """Where the rule launches whole kernels only, none was ever left half done."""
    return moment if Form.STATIC in rule.forms else moment._replace(done=0)


@every_rule
@given(moment=moments())
def test_a_launch_never_exceeds_what_is_left_and_is_one_that_the_kernel_has(
    rule: Sharing, moment: Moment
) -> None:
    moment = begun_by(rule, moment)
    shard = rule.next_shard(moment)
    if shard is None:
        return
    assert shard.form in rule.forms
    left = moment.kernel.tiles - moment.done
    assert 1 <= shard.tiles <= left
    assert 1 <= shard.width <= shard.tiles
    if not moment.kernel.elastic or shard.form is Form.PLAIN:
        # All blocks run in this form: nothing of it may be complete, and nothing is left out.
        assert shard.form is Form.PLAIN
        assert (moment.done, shard.tiles) == (0, moment.kernel.tiles)


@every_rule
@given(moment=alone, gap_s=st.none() | st.floats(-1.0, 0.0) | st.floats(0.01, 1.0))
def test_there_is_progress_whenever_no_critical_work_is_there(
    rule: Sharing, moment: Moment, gap_s: float | None
) -> None:
    # An arrival that was expected and does not come must not hold anything for ever.
    moment = begun_by(rule, moment)
    shard = rule.next_shard(moment._replace(in_flight=0, next_critical_s=gap_s))
    assert shard is not None
    assert shard.tiles == moment.kernel.tiles - moment.done


@every_rule
@given(moment=moments())
def test_a_rule_is_the_same_in_another_interpreter(rule: Sharing, moment: Moment) -> None:
    values = orjson.loads(orjson.dumps(dataclasses.asdict(rule)))
    for there in (pickle.loads(pickle.dumps(rule)), type(rule)(**values)):
        assert there == rule
        assert there.next_shard(moment) == rule.next_shard(moment)


@every_rule
@given(moment=alone)
def test_a_kernel_is_completed_by_asking_again(rule: Sharing, moment: Moment) -> None:
    moment = moment._replace(done=0, in_flight=0, next_critical_s=None)
    launched = 0
    while moment.done < moment.kernel.tiles:
        shard = rule.next_shard(moment)
        assert shard is not None
        moment = moment._replace(done=moment.done + shard.tiles)
        launched += shard.tiles
    assert launched == moment.kernel.tiles


@pytest.mark.parametrize("name", ["cotenant", "miriam", "reef", "sequential"])
@given(moment=beside_critical)
def test_what_cannot_be_cut_is_not_started_beside_critical_work(name: str, moment: Moment) -> None:
    kernel = moment.kernel._replace(elastic=False)
    assert RULES[name].next_shard(moment._replace(kernel=kernel, done=0)) is None


@pytest.mark.parametrize("name", ["cotenant", "miriam", "reef", "inter-stream-barrier"])
@given(moment=beside_critical, others=st.integers(1, 4))
def test_one_shard_at_a_time_beside_critical_work(name: str, moment: Moment, others: int) -> None:
    assert RULES[name].next_shard(moment._replace(in_flight=others)) is None


@given(moment=beside_critical)
def test_sequential_starts_nothing_beside_and_multi_stream_everything(moment: Moment) -> None:
    assert RULES["sequential"].next_shard(moment) is None
    shard = RULES["multi-stream"].next_shard(moment)
    assert shard is not None
    assert shard.tiles == moment.kernel.tiles - moment.done


@given(moment=beside_critical)
def test_shards_beside_critical_work_are_over_before_it(moment: Moment) -> None:
    for name in ("cotenant", "reef"):
        shard = RULES[name].next_shard(moment)
        if shard is None:
            continue
        alone_s, left_s = moment.kernel.alone_s, moment.critical_left_s
        assert alone_s is not None
        assert left_s is not None
        resident = held_blocks(moment.device, moment.kernel.threads)
        waves = -(-moment.kernel.tiles // (moment.device.units * resident))
        turns = -(-shard.tiles // shard.width)
        assert turns * alone_s / waves <= left_s * (1.0 + 1e-9)
        assert shard.form is Form.STATIC


@given(moment=modelled, epsilon=st.floats(0.0, 1.0))
def test_padding_keeps_to_the_guard_to_the_units_left_and_to_epsilon(
    moment: Moment, epsilon: float
) -> None:
    shard = CotenantSharing(epsilon=epsilon).next_shard(moment)
    assert moment.critical is not None
    if shard is None:
        return
    units, threads = moment.device.units, moment.device.unit_threads
    critical, kernel = moment.critical, moment.kernel
    assert shard.width <= moment.width
    assert shard.width <= units - critical.tiles % units  # Miriam's first inequality
    idle = max(0, units - critical.tiles)
    if shard.width > idle:  # some of it lies on units that the critical kernel uses
        assert {kernel.memory_bound, critical.memory_bound} == {True, False}
        assert kernel.threads + critical.threads <= threads
        assert shard.width * kernel.threads / (units * threads) <= epsilon
    elif kernel.memory_bound is not False and critical.memory_bound is not False:
        assert shard.width / units <= epsilon


@given(moment=measured, epsilon=st.floats(0.0, 1.0))
def test_padding_is_the_widest_that_the_table_and_the_guard_allow(
    moment: Moment, epsilon: float
) -> None:
    shard = CotenantSharing(epsilon=epsilon).next_shard(moment)
    costs = moment.kernel.costs
    allowed = [
        width
        for width, _ in costs
        if width <= moment.width
        and all(cost <= epsilon for narrower, cost in costs if narrower <= width)
    ]
    if not allowed:
        assert shard is None
    elif shard is not None:
        assert shard.width == min(max(allowed), shard.tiles)


@given(
    moment=measured,
    other=kernels(),
    ours=st.none() | st.booleans(),
    epsilon=st.floats(0.0, 1.0),
)
def test_where_costs_were_measured_no_model_has_a_say(
    moment: Moment, other: KernelView, ours: bool | None, epsilon: float
) -> None:
    rule = CotenantSharing(epsilon=epsilon)
    kernel = moment.kernel._replace(memory_bound=ours)
    assert rule.next_shard(moment._replace(critical=other, kernel=kernel)) == rule.next_shard(
        moment
    )


@given(moment=modelled, dear=st.floats(0.06, 1.0), cheap=st.floats(-0.5, 0.05))
def test_a_measurement_takes_back_what_the_model_allows_and_gives_what_it_does_not(
    moment: Moment, dear: float, cheap: float
) -> None:
    rule = CotenantSharing(epsilon=0.05)
    width = moment.width

    def measured_at(cost: float) -> Moment:
        kernel = moment.kernel._replace(costs=((width, cost), (2 * width, 0.0)))
        return moment._replace(kernel=kernel)

    assert rule.next_shard(measured_at(dear)) is None, "the guard forbids the other width"
    shard, without = rule.next_shard(measured_at(cheap)), rule.next_shard(moment)
    if without is not None:
        assert shard is not None
        assert shard.tiles >= without.tiles


@given(moment=beside_critical, less=st.floats(0.0, 1.0), more=st.floats(0.0, 1.0))
def test_a_larger_epsilon_never_gives_less(moment: Moment, less: float, more: float) -> None:
    less, more = sorted((less, more))
    tiles = [
        shard.tiles if (shard := CotenantSharing(epsilon=one).next_shard(moment)) else 0
        for one in (less, more)
    ]
    assert tiles[0] <= tiles[1]


@given(moment=alone, gap_s=st.floats(1e-6, 0.002))
def test_right_ahead_of_an_arrival_only_what_is_surely_over_by_then_is_started(
    moment: Moment, gap_s: float
) -> None:
    moment = moment._replace(next_critical_s=gap_s)
    shard = CotenantSharing(hint_s=0.002).next_shard(moment)
    kernel = moment.kernel
    if shard is None:
        return
    assert kernel.alone_s is not None
    if not kernel.elastic:
        assert kernel.alone_s <= gap_s / 2
        return
    resident = held_blocks(moment.device, kernel.threads)
    waves = -(-kernel.tiles // (moment.device.units * resident))
    assert -(-shard.tiles // shard.width) * kernel.alone_s / waves <= gap_s / 2 * (1.0 + 1e-9)


@given(moment=alone)
def test_a_long_kernel_alone_can_be_paused_and_a_brief_one_need_not(moment: Moment) -> None:
    rule = CotenantSharing(brief_s=1e-4)
    shard = rule.next_shard(moment._replace(next_critical_s=None, assured_s=0.0))
    assert shard is not None
    alone_s = moment.kernel.alone_s
    long = alone_s is None or alone_s > 1e-4
    if moment.kernel.elastic and (long or moment.in_flight):
        assert shard.form is Form.PREEMPTIVE
    else:
        assert shard.form is not Form.PREEMPTIVE


@given(
    moment=moments(critical=kernels(), elastic=st.just(True), in_flight=st.just(0)),
    been_s=st.floats(0.0, 2.0),
    starving_s=st.floats(0.0, 1.0),
    epsilon=st.floats(0.0, 0.5),
)
def test_shards_that_cost_something_cost_no_more_than_critical_work_can_spare(
    moment: Moment, been_s: float, starving_s: float, epsilon: float
) -> None:
    rule = CotenantSharing(epsilon=epsilon, starving_s=starving_s)
    moment = moment._replace(critical_s=been_s, charged_s=0.0)
    for _ in range(50):
        shard = rule.next_shard(moment)
        if shard is None:
            break
        assert 1 <= shard.width <= moment.width
        assert shard.form is Form.STATIC
        if shard.charge_s == 0.0:
            break  # by table or model it costs nothing worth counting
        tile_s = wave_s(moment.device, moment.kernel)
        assert tile_s is not None
        assert shard.charge_s <= max(tile_s, rule.shard_s)  # nothing can call it back
        moment = moment._replace(charged_s=moment.charged_s + shard.charge_s)
        # Critical work that leaves a gap soon spares nothing.
        assert moment.charged_s <= epsilon * max(0.0, been_s - starving_s) * (1.0 + 1e-9)
    assert rule.next_shard(moment._replace(critical_s=0.0, charged_s=0.0)) == CotenantSharing(
        epsilon=epsilon
    ).next_shard(moment._replace(critical_s=0.0, charged_s=1.0))


@given(moment=moments(critical=kernels(), elastic=st.just(True), in_flight=st.just(0)))
def test_critical_work_that_never_leaves_a_gap_always_spares_something_in_the_end(
    moment: Moment,
) -> None:
    rule = CotenantSharing(epsilon=0.05)
    tile_s = wave_s(moment.device, moment.kernel)
    if tile_s is None:
        return
    enough_s = rule.starving_s + 1.001 * max(tile_s, rule.shard_s) / rule.epsilon
    assert rule.next_shard(moment._replace(critical_s=enough_s, charged_s=0.0)) is not None


@given(moment=alone, free_s=st.floats(0.01, 1.0) | st.just(math.inf))
def test_what_is_over_before_any_critical_request_can_come_is_not_made_to_pause(
    moment: Moment, free_s: float
) -> None:
    rule = CotenantSharing(hint_s=0.002)
    moment = moment._replace(next_critical_s=free_s, assured_s=free_s)
    shard = rule.next_shard(moment)
    assert shard is not None
    alone_s = moment.kernel.alone_s
    if alone_s is not None and 2.0 * alone_s + 0.002 <= free_s:
        assert shard.form is not Form.PREEMPTIVE
        assert shard.tiles == moment.kernel.tiles - moment.done
    elif moment.kernel.elastic and (alone_s is None or alone_s > rule.brief_s):
        assert shard.form is Form.PREEMPTIVE


@given(moment=beside_critical)
def test_orion_launches_only_what_fits_and_differs(moment: Moment) -> None:
    shard = RULES["orion"].next_shard(moment)
    if shard is None:
        return
    kernel, critical = moment.kernel, moment.critical
    assert critical is not None
    assert {kernel.memory_bound, critical.memory_bound} == {True, False}

    def units(threads: int, tiles: int) -> int:
        return -(-tiles // held_blocks(moment.device, threads))

    assert (
        units(kernel.threads, kernel.tiles) + units(critical.threads, critical.tiles)
        <= moment.device.units
    )


@given(moment=moments(), limit=st.integers(1, 5))
def test_orion_caps_what_is_in_flight(moment: Moment, limit: int) -> None:
    rule = type(policy_by_name("orion").sharing)(in_flight_max=limit)
    if moment.in_flight >= limit:
        assert rule.next_shard(moment) is None
