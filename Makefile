# `make quickstart` and `make test` need nothing but Python 3.11 or newer; the rest sets itself up.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install quickstart test soak format

help:            ## Show what there is
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(INSTALLED)  ## Make .venv and install everything into it

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(INSTALLED)  ## Draw a data set, train on it, evaluate, write a report: some minutes on two CPU cores
	$(BIN)/python tools/train.py configs/quickstart.yaml --out runs/quickstart

test: $(INSTALLED)  ## Style, types, import rules, Dockerfile and tests, as CI runs them
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

soak: $(INSTALLED)    ## Kill a training 150 times and compare its end with an undisturbed one's: some minutes
	$(BIN)/python tests/runs/soak.py --kills 50 --workers 0 1 2

format: $(INSTALLED)  ## Put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
