"""What CUDA is to those that never load it."""

from cotenant.device.elastic.kind import Kind

CUDA = Kind(
    name="cuda",
    title="CUDA",
    room="cotenant.device.cuda",
    package="cuda.bindings",
    target="cuda:sm_87",
    remedy=(
        "install NVIDIA's driver and run: pip install 'cotenant[cuda]'; "
        "without an NVIDIA GPU use a component of kind: opencl"
    ),
)
