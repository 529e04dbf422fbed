"""What OpenCL is to those that never load it."""

from cotenant.device.elastic.kind import Kind

OPENCL = Kind(
    name="opencl",
    title="OpenCL",
    room="cotenant.device.opencl",
    package="pyopencl",
    target="opencl",
    remedy="run: pip install 'cotenant[opencl]', which brings PoCL; a GPU needs its driver, too",
)
