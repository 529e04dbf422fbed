"""What CUDA is to those that never load it."""

from cotenant.device.elastic.kind import Kind

CUDA = Kind(
    name="cuda",
    title="CUDA",
    room="cotenant.device.cuda",
    package="cuda.bindings",
    target="cuda:sm_87",
    remedy="and install NVIDIA's driver; on a machine without it use a component of kind: opencl",
)
