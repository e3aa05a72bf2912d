# Two commands matter: `make run` starts a server with everything it needs, `make test` checks
# everything. Both set up what they miss first; neither needs anything but Debian, Python 3.11
# (or newer) and a compiler. `make help` lists the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MODELS ?= .cache/models
ARGS   ?=
SOURCES := chatroom media translate signaling
NATIVE := $(wildcard media/native/*.c media/native/*.h) media/native_build.py setup.py

.DEFAULT_GOAL := help
.PHONY: help run test lint unit browser sanitize bench screenshots models format clean

help:            ## list the commands
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

run: $(VENV)/run.stamp   ## start the server on http://127.0.0.1:8080 (ARGS="--port 9000")
	$(BIN)/chatroom serve $(ARGS)

test: lint unit browser  ## every check: style, types, floors, unit, protocol and browser tests

lint: $(VENV)/test.stamp node_modules/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	node_modules/.bin/tsc --project signaling/web

unit: $(VENV)/test.stamp models
	CHATROOM_TEST_MODELS=$(abspath $(MODELS)) $(BIN)/pytest -m "not browser"

browser: $(VENV)/test.stamp node_modules/.stamp models
	CHATROOM_TEST_MODELS=$(abspath $(MODELS)) $(BIN)/pytest -m browser

sanitize: $(VENV)/test.stamp   ## the native core's tests under the address, undefined-behaviour and thread sanitizers
	bash media/native/sanitize.sh

bench: $(VENV)/test.stamp models   ## the benchmarks, at a size that ends within ten minutes
	$(BIN)/python -m bench

screenshots: $(VENV)/test.stamp node_modules/.stamp models   ## write the pages' pictures to docs/img
	CHATROOM_TEST_MODELS=$(abspath $(MODELS)) $(BIN)/python tests/e2e/screenshots.py

models: $(VENV)/run.stamp   ## fetch the default speech and translation models for the tests
	$(BIN)/chatroom models --root $(MODELS) fetch

format: $(VENV)/test.stamp   ## settle the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove what the other commands made, but not data/
	rm -rf $(VENV) node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# ---------------------------------------------------------------- set-up, done once and kept

$(VENV)/run.stamp: pyproject.toml $(NATIVE)
	bash .ci/packages run
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	bash .ci/packages test
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

node_modules/.stamp: package.json package-lock.json | $(VENV)/test.stamp
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
