# Binnacle. `make run` and `make test` do all the set-up; see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATIC := $(shell find static -type f ! -name '*.gz' ! -name '*.br')

.PHONY: run test lint types format bench vendor lock clean

run: $(VENV)/.ready $(VENV)/.compressed
	@exec $(BIN)/python -m app.launcher

test: $(VENV)/.ready-dev $(VENV)/.compressed
	@bash .ci/test

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-dev $(VENV)/.compressed
	$(BIN)/python -m bench

vendor: $(VENV)/.ready
	$(BIN)/python .ci/vendor.py

lock: $(VENV)/.ready-dev
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Binnacle needs Python 3.11 or newer; try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m compileall -q app connector
	@touch $@

# What browsers are sent: a copy that is older than its file would be served in its place.
$(VENV)/.compressed: $(STATIC) $(VENV)/.ready
	@$(BIN)/python -m whitenoise.compress -q static
	@touch $@

$(VENV)/.ready-dev: requirements-dev.lock | $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
