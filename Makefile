# `make quickstart` and `make test` need only Python 3.11 or newer; they install everything else.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install quickstart test test-long soak format

help:            ## List these commands
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(INSTALLED)  ## Make .venv and install everything into it: a download of 3 GB, 6 GB on disk

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(INSTALLED)  ## Draw a data set, train on it, evaluate, write a report: a few minutes on two CPU cores
	$(BIN)/python tools/train.py configs/quickstart.yaml --out runs/quickstart

test: $(INSTALLED)  ## Check style, types, import rules and Dockerfile; run all but the long tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(PYTEST)

test-long: $(INSTALLED)  ## Run the long tests: several ranks, kills, full disks
	$(PYTEST) -m long

soak: $(INSTALLED)  ## Kill a run 150 times and compare its result with an undisturbed one's: 10 minutes
	$(BIN)/python tests/runs/soak.py --kills 50 --workers 0 1 2

format: $(INSTALLED)  ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
