"""`python -m cotenant` is the command `cotenant`."""

from cotenant.cli import main

main()
