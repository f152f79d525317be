# make test: everything that continuous integration checks.  make demo: the main job on real cities.
# Each target makes .venv itself; choose the interpreter with PYTHON=python3.12.

PYTHON ?= python3
BIN := .venv/bin
ROOT := build/import-root/centroidb

.SECONDEXPANSION:

.PHONY: test coverage demo fuzz fuzz-long bench bench-rebuild format clean

test: .venv/dev.stamp $(ROOT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=$(dir $(ROOT)) $(BIN)/lint-imports
	$(BIN)/pytest -n auto --dist worksteal

# Of what must never be wrong: files, transactions and builds. Children of the tests do not count.
coverage: .venv/dev.stamp
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=
	for folder in wal txn engine/actors/rebuild; do \
	  $(BIN)/coverage report --include="$$folder/*" --show-missing --skip-covered --fail-under=95 || exit 1; \
	done

demo: .venv/demo.stamp
	$(BIN)/centroidb demo

fuzz: .venv/dev.stamp
	$(BIN)/python -m fuzz push

# New seeds until the time is over.
HOURS ?= 1
fuzz-long: .venv/dev.stamp
	$(BIN)/python -m fuzz long --hours $(HOURS)

# A peer that can not be installed is named in what they print. BENCH='--only wordnet' and so on.
bench: .venv/bench.stamp .venv-peers/bench-peers.stamp
	$(BIN)/python -m tests.bench.run $(BENCH)

bench-rebuild: .venv/bench.stamp .venv-peers/bench-peers.stamp
	$(BIN)/python -m tests.bench.rebuild all

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-peers build dist *.egg-info .hypothesis .*_cache

# mypy and import-linter read a package by its folders: links that lie as the wheel's map has them.
$(ROOT):
	mkdir -p $@
	ln -s $(addprefix ../../../,engine txn wal engine/api/__init__.py engine/api/py.typed) $@

# One stamp per extra of pyproject.toml: test, demo and bench install only what they need.
# The bench's peers, which bring servers and libraries of their own, stay apart in .venv-peers.
%.stamp: pyproject.toml | $$(@D)/bin/python
	$(@D)/bin/pip install --quiet --disable-pip-version-check --editable '.[$(*F)]'
	touch $@

# One by one, so that the others are there if one is not.
.venv-peers/bench-peers.stamp: pyproject.toml .ci/peers | .venv-peers/bin/python
	.venv-peers/bin/pip install --quiet --disable-pip-version-check --editable .
	.venv-peers/bin/python .ci/peers bench-peers
	touch $@

.venv/bin/python .venv-peers/bin/python:
	.ci/prerequisites $(PYTHON)
	$(PYTHON) -m venv $(@D:/bin=)
