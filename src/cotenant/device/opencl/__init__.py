"""Bundles on OpenCL devices; PoCL, on the machine's own processor, is the embedded default."""
