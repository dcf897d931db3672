# `make demo` and `make test` do everything on a fresh machine with Python 3.11 and a C compiler.
PYTHON ?= python3
VENV := .venv
CONSTRAINTS := constraints.txt
NEWEST_PYTHON ?= python3.13
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Compiled Python is kept: pytest rewrites every test module, and subprocesses import the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-oldest test-newest tests lint style types bench posteriordb docs gallery clean

demo: $(READY)
	$(BIN)/python examples/radon.py

# mypy runs by one core: beside the tests, which take the time that the other one has.
test: style
	$(MAKE) -j2 types tests

# Two workers, a core each: torch's own threads would wait for one another.
tests: export OMP_NUM_THREADS := 1

tests: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

# The same tests with the oldest releases that pyproject.toml allows, and with the newest ones, each in an environment of its own.
test-oldest:
	$(MAKE) tests VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

test-newest:
	$(MAKE) tests VENV=.venv-newest CONSTRAINTS=constraints-newest.txt PYTHON=$(NEWEST_PYTHON)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: style types

style: $(READY)
	$(BIN)/ruff check src tests examples benchmarks docs/conf.py docs/_ext
	$(BIN)/ruff format --check src tests examples benchmarks docs/conf.py docs/_ext

types: $(READY)
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[bench]'
	$(BIN)/python benchmarks/run.py

posteriordb: $(READY)
	$(BIN)/python -m benchmarks.posteriordb --nutpie --write benchmarks/posteriordb/results.md

# The site, in out/site; every Python block of it runs, and a warning is an error.
docs: $(READY)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs]'
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs out/site

# The pictures of the gallery, by running every example.
gallery: $(READY)
	for example in examples/*.py; do $(BIN)/python $$example --out docs/gallery || exit 1; done

$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sursum needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest out build
