# Two commands on a fresh machine with Python 3.11+ and make: `make demo` and `make test`. Each does its own set-up.
# `make docs` builds the site that one of the tests builds too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint docs bench cifar10 clean

demo: $(STAMP)
	$(BIN)/certmix demo --out demo

test: lint
	$(BIN)/python -m pytest -q -n auto --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The study in benchmarks/cifar10: `make cifar10 DATA=DIR` trains, samples and certifies, and goes on after a kill.
cifar10: $(STAMP)
	$(MAKE) -C benchmarks/cifar10 CERTMIX=$(abspath $(BIN))/certmix PYTHON=$(abspath $(BIN))/python DATA=$(abspath $(DATA))

docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "certmix needs Python 3.11 or newer, found %d.%d; set PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) demo build docs/_build docs/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
