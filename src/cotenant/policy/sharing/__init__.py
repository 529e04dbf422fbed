"""How best-effort kernels share an elastic device with critical ones: one pure rule per file."""
