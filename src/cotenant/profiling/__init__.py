"""Measured service times and interference: a workload goes in, a versioned profile comes out."""
