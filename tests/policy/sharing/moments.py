"""Strategies of moments: any device, any kernels, with critical work or without."""

from hypothesis import strategies as st

from cotenant.device.sharing import DeviceView, KernelView, Moment

_either = st.booleans()
times_s = st.floats(1e-6, 1.0)
devices = st.builds(
    DeviceView, units=st.integers(1, 128), unit_threads=st.sampled_from([256, 1024, 1536, 2048])
)


def kernels(elastic: st.SearchStrategy[bool] = _either) -> st.SearchStrategy[KernelView]:
    return st.builds(
        KernelView,
        name=st.just("k"),
        tiles=st.integers(1, 5000),
        threads=st.sampled_from([1, 32, 64, 128, 256]),
        elastic=elastic,
        alone_s=st.none() | times_s,
        memory_bound=st.none() | _either,
    )


@st.composite
def moments(
    draw: st.DrawFn,
    critical: st.SearchStrategy[KernelView | None] | None = None,
    elastic: st.SearchStrategy[bool] = _either,
    in_flight: st.SearchStrategy[int] | None = None,
) -> Moment:
    kernel = draw(kernels(elastic))
    beside = draw(st.none() | kernels() if critical is None else critical)
    return Moment(
        device=draw(devices),
        kernel=kernel,
        # What cannot be cut is either not begun or complete.
        done=draw(st.integers(0, kernel.tiles - 1)) if kernel.elastic else 0,
        critical=beside,
        critical_left_s=draw(st.none() | times_s) if beside else None,
        next_critical_s=draw(st.none() | st.floats(-0.1, 1.0)),
        in_flight=draw(st.integers(0, 4) if in_flight is None else in_flight),
        width=draw(st.integers(1, 256)),
    )


beside_critical = moments(critical=kernels(), in_flight=st.just(0))
alone = moments(critical=st.none())
