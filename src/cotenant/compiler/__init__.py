"""A model goes in; a bundle of elastic kernels, for a machine without the compiler, comes out."""
