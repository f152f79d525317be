# make test: everything that continuous integration checks.  make demo: the main job on real cities.
# Each target makes .venv itself; choose the interpreter with PYTHON=python3.12.

PYTHON ?= python3
BIN := .venv/bin
ROOT := build/import-root/centroidb

.PHONY: test demo bench format clean

test: .venv/dev.stamp $(ROOT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=$(dir $(ROOT)) $(BIN)/lint-imports
	$(BIN)/pytest

demo: .venv/demo.stamp
	$(BIN)/centroidb demo

bench: .venv/bench.stamp
	$(BIN)/python -m tests.bench.run

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info .hypothesis .*_cache

# mypy and import-linter read a package by its folders: links that lie as the wheel's map has them.
$(ROOT):
	mkdir -p $@
	ln -s $(addprefix ../../../,engine txn wal engine/api/__init__.py engine/api/py.typed) $@

# One stamp per extra of pyproject.toml: test, demo and bench install only what they need.
.venv/%.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

.venv/bin/python:
	.ci/prerequisites $(PYTHON)
	$(PYTHON) -m venv .venv
