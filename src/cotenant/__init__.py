"""Cotenant: many neural networks share one machine; critical ones run as if alone."""

__version__ = "0.1.0"
