"""Variants give the default's results, and their elastic forms do bit by bit what they do plain."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotenant.device.bundle import Bundle, Code, Schedule, read_bundle
from cotenant.device.elastic.launch import forms
from tests.device.elastic.inferences import drawn
from tests.device.elastic.models import MODELS
from tests.device.opencl.bench import Bench
from tests.device.opencl.test_forms import check_kernel


@pytest.mark.timeout(900)  # a driver that compiles on the processor needs seconds for a kernel
@pytest.mark.parametrize("model", MODELS)
def test_every_variant_of_a_model(
    model: str, place: Any, bundle_of: Callable[[str], tuple[Path, Path]]
) -> None:
    bundle = read_bundle(bundle_of(model)[1], "opencl")
    kernels = bundle.manifest.kernels
    assert sum(bool(one.variants) for one in kernels.values()) >= 3
    for name, one in kernels.items():
        if not one.variants:
            continue
        arguments = arguments_of(bundle, name)
        wanted = bench(place, bundle.sources[name], name, one, arguments).plain()
        for variant, about in one.variants.items():
            assert about.rung == one.rung
            source = bundle.variant_sources[name][variant]
            tried = bench(place, source, name, about, arguments)
            for found, right in zip(tried.plain(), wanted, strict=True):
                error = np.abs(found - right).max()
                assert error <= 1e-5 * np.abs(right).max(), f"{variant} of {name}"
            check_kernel(tried)


def bench(
    place: Any, source: str, name: str, about: Schedule, arguments: list[np.ndarray]
) -> Bench:
    program = place.device.build(Code(source), name)
    return Bench(place, forms(program, name, about.grid, about.block, True), arguments)


def arguments_of(bundle: Bundle, kernel: str) -> list[np.ndarray]:
    """Weights as they are, everything else drawn."""
    places = bundle.manifest.places
    step = next(step for step in bundle.manifest.steps if step.kernel == kernel)
    return [
        bundle.weights[name]
        if name in bundle.weights
        else drawn((places[name].size_bytes // 4,), seed)
        for seed, name in enumerate(step.arguments)
    ]
