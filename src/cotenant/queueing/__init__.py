"""Pure mathematics of waiting: formulas with assumptions, sources and known values."""
