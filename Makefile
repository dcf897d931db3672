# `make demo` and `make test` do everything on a fresh machine with Python 3.11 and a C compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow lint bench posteriordb docs gallery clean

demo: $(READY)
	$(BIN)/python examples/radon.py

test: $(READY) lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check src tests examples benchmarks docs/conf.py docs/_ext
	$(BIN)/ruff format --check src tests examples benchmarks docs/conf.py docs/_ext
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/run.py

posteriordb: $(READY)
	$(BIN)/python -m benchmarks.posteriordb --write benchmarks/posteriordb/results.md

# The site, in out/site; every Python block of it runs, and a warning is an error.
docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs out/site

# The pictures of the gallery, by running every example.
gallery: $(READY)
	for example in examples/*.py; do $(BIN)/python $$example --out docs/gallery || exit 1; done

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sursum needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) out build
