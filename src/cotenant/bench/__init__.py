"""Measuring: load generator, suites, and reports that read only records."""
