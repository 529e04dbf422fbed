"""Policies as data: a snapshot goes in, and the actions that must come out are known."""

import pytest

from cotenant.core.errors import WorkloadError
from cotenant.core.hardware import Capability, Component
from cotenant.core.task import Batch, Slo, Task
from cotenant.device.base import Allowance
from cotenant.policy import POLICIES, check_policy, policy_by_name
from cotenant.policy.base import ComponentView, Launch, Limit, Running, Snapshot, TaskView, Wake

FULL = Allowance(2, 1.0)


def view(name: str, *, queued: int = 1, critical: bool = False, **fields: object) -> TaskView:
    about = {key: fields.pop(key) for key in ("priority", "slo", "batch", "width") if key in fields}
    criticality = "critical" if critical else "best-effort"
    task = Task(name=name, model="m", criticality=criticality, **about)
    values: dict[str, object] = {
        "task": task,
        "critical": critical,
        "component": "cpu",
        "ready": True,
        "queued": queued,
        "batchable": 1,
        "oldest_arrival_s": 0.0,
        "head_deadline_s": None,
        "running": 0,
        "idle_since_s": -1.0,
        "consumed_s": 0.0,
        "estimate_s": lambda requests: 0.01 * requests,
        **fields,
    }
    return TaskView(**values)  # type: ignore[arg-type]


def running(name: str, *, critical: bool = False, order: int = 1, width: int = 2) -> Running:
    return Running(name, critical, order, width, 1, 0.0)


def snapshot(
    *views: TaskView,
    on: tuple[Running, ...] = (),
    capability: Capability = Capability.PREEMPTIVE,
    allowance: Allowance = FULL,
    best_effort_start_s: float = 0.0,
) -> Snapshot:
    component = Component("cpu", "cpu", (0, 1), capability)
    return Snapshot(views, [ComponentView(component, on, best_effort_start_s, allowance, FULL)])


def launched(policy: str, seen: Snapshot, now_s: float = 0.0) -> list[str]:
    actions = policy_by_name(policy).decide(seen, now_s)
    return [action.task for action in actions if isinstance(action, Launch)]


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_waits_nothing_starts(policy):
    assert launched(policy, snapshot(view("a", queued=0), view("b", queued=0))) == []


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_not_ready_does_not_start(policy):
    assert launched(policy, snapshot(view("a", ready=False))) == []


def test_cotenant_starts_critical_work_over_running_best_effort_work():
    seen = snapshot(view("det", critical=True), view("ocr"), on=(running("tag"),))
    assert launched("cotenant", seen) == ["det", "ocr"]


def test_cotenant_holds_best_effort_work_back_where_it_cannot_be_preempted():
    both = (view("det", critical=True), view("ocr"))
    assert launched("cotenant", snapshot(*both, capability=Capability.GATED)) == ["det"]
    busy = snapshot(*both, on=(running("tag"),), capability=Capability.GATED)
    assert launched("cotenant", busy) == []


def test_cotenant_gives_starved_best_effort_work_one_segment():
    seen = snapshot(view("det", critical=True), view("ocr"), capability=Capability.GATED)
    assert launched("cotenant", seen, now_s=0.9) == ["det"]
    assert launched("cotenant", seen, now_s=1.0) == ["ocr"]


def test_cotenant_orders_critical_work_and_lets_only_the_higher_in():
    first, second = (
        view("asr", critical=True, priority=1),
        view("det", critical=True, priority=2, oldest_arrival_s=5.0),
    )
    assert launched("cotenant", snapshot(first, second)) == ["det"]
    under = running("asr", critical=True, order=1)
    assert launched("cotenant", snapshot(second, on=(under,))) == ["det"]
    over = running("det", critical=True, order=2)
    assert launched("cotenant", snapshot(first, on=(over,))) == []


def test_cotenant_runs_narrow_critical_work_side_by_side():
    narrow = [view(name, critical=True, width=1) for name in ("a", "b", "c")]
    assert launched("cotenant", snapshot(*narrow)) == ["a", "b"]


def test_cotenant_gives_an_elastic_component_more_at_a_time():
    waiting = [view(name) for name in "abcde"]
    assert launched("cotenant", snapshot(*waiting)) == ["a", "b"]
    elastic = snapshot(*waiting, capability=Capability.ELASTIC)
    assert launched("cotenant", elastic) == ["a", "b", "c", "d", "e"]


def test_cotenant_lets_the_neediest_go_first_and_the_others_wait():
    rich, poor = view("rich", consumed_s=5.0), view("poor", consumed_s=1.0)
    actions = policy_by_name("cotenant").decide(snapshot(rich, poor), 10.0)
    assert [type(action) for action in actions] == [Launch, Wake]
    assert actions[0].task == "poor"


def test_cotenant_waits_a_moment_for_a_needy_client_that_is_about_to_return():
    rich = view("rich", consumed_s=5.0)
    poor = view("poor", queued=0, consumed_s=1.0, idle_since_s=9.999)
    assert launched("cotenant", snapshot(rich, poor), now_s=10.0) == []
    assert launched("cotenant", snapshot(rich, poor), now_s=10.1) == ["rich"]


def test_cotenant_does_not_wait_for_a_needy_task_whose_lane_is_being_restarted():
    rich = view("rich", consumed_s=5.0)
    dead = view("dead", ready=False, consumed_s=1.0)
    assert launched("cotenant", snapshot(rich, dead), now_s=10.0) == ["rich"]


def test_cotenant_passes_the_guards_wish_on_once():
    less = Allowance(1, 0.5)
    assert policy_by_name("cotenant").decide(snapshot(allowance=less), 0.0) == (Limit("cpu", less),)
    assert policy_by_name("cotenant").decide(snapshot(), 0.0) == ()


def test_the_baselines_do_what_they_are_named_for():
    old = view("old", oldest_arrival_s=1.0)
    urgent = view("urgent", critical=True, oldest_arrival_s=2.0)
    assert launched("sequential", snapshot(urgent, old)) == ["old"]
    assert launched("priority-queue", snapshot(old, urgent)) == ["urgent"]
    assert launched("concurrent", snapshot(old, urgent)) == ["old", "urgent"]
    busy = (running("x"),)
    assert launched("sequential", snapshot(urgent, old, on=busy)) == []
    assert launched("priority-queue", snapshot(urgent, old, on=busy)) == []
    assert launched("concurrent", snapshot(urgent, old, on=busy)) == ["urgent", "old"]


class TestBatching:
    """The rule that all policies share."""

    def decide(self, now_s: float, **fields: object) -> Launch | Wake:
        defaults: dict[str, object] = {"batch": Batch(max_size=4, max_delay_s=0.1)}
        (action,) = policy_by_name("concurrent").decide(
            snapshot(view("t", **{**defaults, **fields})), now_s
        )
        return action

    def test_a_full_batch_starts_at_once(self):
        assert self.decide(0.0, batchable=4) == Launch("t", 4)

    def test_a_partial_batch_waits_and_then_goes(self):
        assert self.decide(0.0, batchable=2) == Wake(0.1)
        assert self.decide(0.1, batchable=2) == Launch("t", 2)

    def test_the_wait_ends_in_time_for_the_slo(self):
        wake = self.decide(0.0, batchable=2, slo=Slo(latency_s=0.05))
        assert wake == Wake(pytest.approx(0.05 - 0.03))

    def test_the_wait_ends_in_time_for_a_deadline(self):
        wake = self.decide(0.0, batchable=2, head_deadline_s=0.04)
        assert wake == Wake(pytest.approx(0.04 - 0.03))

    def test_a_batch_shrinks_until_it_is_in_time(self):
        assert self.decide(0.0, batchable=4, slo=Slo(latency_s=0.025)) == Launch("t", 2)

    def test_an_unknown_time_means_one_at_a_time(self):
        assert self.decide(0.0, batchable=4, estimate_s=lambda requests: None) == Launch("t", 1)


BY_KERNEL = [name for name in POLICIES if policy_by_name(name).by_kernel]


@pytest.mark.parametrize("policy", BY_KERNEL)
def test_policies_by_kernel_start_critical_work_at_once_by_order(policy):
    low, high = view("low", critical=True), view("high", critical=True, priority=2)
    seen = snapshot(low, view("tag"), high, on=(running("asr", critical=True),))
    assert launched(policy, seen)[:2] == ["high", "low"]


@pytest.mark.parametrize(
    ("policy", "at_a_time"),
    [("multi-stream", 3), ("orion", 3), ("miriam", 1), ("reef", 1), ("inter-stream-barrier", 1)],
)
def test_policies_by_kernel_let_so_many_best_effort_tasks_in(policy, at_a_time):
    seen = snapshot(view("a", consumed_s=2.0), view("b", consumed_s=1.0), view("c", consumed_s=3.0))
    assert launched(policy, seen) == ["b", "a", "c"][:at_a_time]
    more = snapshot(view("a"), on=(running("b"),))
    assert launched(policy, more) == (["a"] if at_a_time > 1 else [])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_by_kernel_is_refused_where_no_component_is_elastic(policy):
    chosen = policy_by_name(policy)
    cpu = Component("cpu", "cpu", (0, 1), Capability.PREEMPTIVE)
    gpu = Component("gpu", "opencl", (), Capability.ELASTIC)
    check_policy(chosen, [cpu, gpu])
    if chosen.by_kernel:
        with pytest.raises(WorkloadError, match="no component here is elastic"):
            check_policy(chosen, [cpu])
    else:
        check_policy(chosen, [cpu])


def test_the_own_policy_takes_its_epsilon_from_its_name():
    chosen = policy_by_name("cotenant@0.2")
    assert (chosen.name, chosen.sharing.epsilon) == ("cotenant@0.2", 0.2)
    assert chosen.decide(snapshot(view("a")), 0.0) == (Launch("a"),)
    for wrong in ("cotenant@", "cotenant@much", "cotenant@-1", "cotenant@2", "cotenant@nan"):
        with pytest.raises(WorkloadError, match="write a number from 0 to 1"):
            policy_by_name(wrong)
    with pytest.raises(WorkloadError, match="unknown policy"):
        policy_by_name("miriam@0.2")


def test_a_wrong_policy_name_is_answered_with_the_nearest():
    with pytest.raises(WorkloadError, match="did you mean 'cotenant'"):
        policy_by_name("cotennant")
