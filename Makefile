# Two commands do everything on a fresh machine with Python 3.11 and make:
#   make demo    sets up and shows the main job on this machine's CPU
#   make test    sets up and passes the tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup native pure demo test check format protocol clean

# Compiled where there is a C compiler, and again whenever one of them has changed.
HOT := $(shell grep -o 'src/cotenant/[a-z_/]*\.py' setup.py)

help:
	@sed -n 's/^#   //p' Makefile; printf '%s\n' \
	  'make check   linters, strict types, import contracts, tests' \
	  'make format  put the code into its one form' \
	  'make pure    throw the compiled modules away: the same ones run as Python' \
	  'make native  compile them again' \
	  'make clean   remove what the others made'

# The constraints pin what was tested; the stamp makes the set-up safe and quick to repeat.
setup: $(VENV)/.ready $(VENV)/.native
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Cotenant needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up in $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@COTENANT_NATIVE=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.native: $(VENV)/.ready setup.py $(HOT)
	@echo "Compiling the modules that each request passes through (half a minute)"
	@rm -f src/*.so src/cotenant/*/*.so
	@$(BIN)/python setup.py --quiet build_ext --inplace >$(VENV)/native.log 2>&1 || \
	  { cat $(VENV)/native.log; exit 1; }
	@ls src/*.so >/dev/null 2>&1 || \
	  echo "That was not possible here, so they run as Python; $(VENV)/native.log says why"
	@find src -name '*.so' -exec touch {} +
	@rm -f $(VENV)/.pure
	@touch $@

native:
	@rm -f $(VENV)/.native
	@$(MAKE) --no-print-directory setup

pure: setup
	@rm -f src/*.so src/cotenant/*/*.so
	@touch $(VENV)/.pure

demo: setup
	@$(BIN)/cotenant demo

test: setup
	@$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check src tests conftest.py setup.py
	$(BIN)/ruff format --check src tests conftest.py setup.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

format: setup
	$(BIN)/ruff check --fix src tests conftest.py setup.py
	$(BIN)/ruff format src tests conftest.py setup.py

clean:
	rm -rf $(VENV) build src/*.so src/cotenant/*/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
