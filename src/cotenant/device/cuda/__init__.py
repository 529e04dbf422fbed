"""Bundles on NVIDIA's GPUs, through the CUDA driver; nothing of it is loaded by the front."""
