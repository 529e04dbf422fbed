"""Bundles on devices whose kernels shrink and pause: the logic, over the driver of any of them."""
