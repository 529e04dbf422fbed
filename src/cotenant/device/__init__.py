"""Where work runs: one small interface, one package for each kind of component."""
