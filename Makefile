# Two commands do everything on a fresh machine with Python 3.11 and make:
#   make demo    sets up and shows the main job on this machine's CPU
#   make test    sets up and passes the tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format protocol clean

help:
	@sed -n 's/^#   //p' Makefile; printf '%s\n' \
	  'make check   linters, strict types, import contracts, tests' \
	  'make format  put the code into its one form' \
	  'make clean   remove what the others made'

# The constraints pin what was tested; the stamp makes the set-up safe and quick to repeat.
setup: $(VENV)/.ready
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Cotenant needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up in $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	@$(BIN)/cotenant demo

test: setup
	@$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

format: setup
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
