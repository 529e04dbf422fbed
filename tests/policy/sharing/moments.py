"""Strategies of moments: any device, any kernels, with critical work or without."""

from hypothesis import strategies as st

from cotenant.device.sharing import Costs, DeviceView, KernelView, Moment

_either = st.booleans()
times_s = st.floats(1e-6, 1.0)
devices = st.builds(
    DeviceView,
    units=st.integers(1, 128),
    unit_threads=st.sampled_from([256, 1024, 1536, 2048]),
    unit_blocks=st.sampled_from([None, 1, 16, 32]),
)
tables = st.dictionaries(
    st.sampled_from([1, 2, 4, 8, 16, 32, 64, 108]), st.floats(-0.5, 2.0), min_size=1
).map(lambda costs: tuple(sorted(costs.items())))
"""Costs as tuning measures them: not always growing with the width, and some under nought."""
_any_costs = st.just(()) | tables


def kernels(
    elastic: st.SearchStrategy[bool] = _either, costs: st.SearchStrategy[Costs] = _any_costs
) -> st.SearchStrategy[KernelView]:
    return st.builds(
        KernelView,
        name=st.just("k"),
        tiles=st.integers(1, 5000),
        threads=st.sampled_from([1, 32, 64, 128, 256]),
        elastic=elastic,
        alone_s=st.none() | times_s,
        memory_bound=st.none() | _either,
        costs=costs,
    )


def held_blocks(device: DeviceView, threads: int) -> int:
    """Blocks of so many threads that one unit holds at a time."""
    by_threads = device.unit_threads // threads
    return by_threads if device.unit_blocks is None else min(device.unit_blocks, by_threads)


@st.composite
def moments(
    draw: st.DrawFn,
    critical: st.SearchStrategy[KernelView | None] | None = None,
    elastic: st.SearchStrategy[bool] = _either,
    in_flight: st.SearchStrategy[int] | None = None,
    costs: st.SearchStrategy[Costs] = _any_costs,
) -> Moment:
    kernel = draw(kernels(elastic, costs))
    beside = draw(st.none() | kernels() if critical is None else critical)
    return Moment(
        device=draw(devices),
        kernel=kernel,
        # What cannot be cut is either not begun or complete.
        done=draw(st.integers(0, kernel.tiles - 1)) if kernel.elastic else 0,
        critical=beside,
        critical_left_s=draw(st.none() | times_s) if beside else None,
        next_critical_s=draw(st.none() | st.floats(-0.1, 1.0)),
        assured_s=draw(st.just(0.0) | st.floats(0.0, 1.0)),
        in_flight=draw(st.integers(0, 4) if in_flight is None else in_flight),
        width=draw(st.integers(1, 256)),
    )


beside_critical = moments(critical=kernels(), in_flight=st.just(0))
modelled = moments(critical=kernels(), in_flight=st.just(0), costs=st.just(()))
measured = moments(critical=kernels(), elastic=st.just(True), in_flight=st.just(0), costs=tables)
alone = moments(critical=st.none())
