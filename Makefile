# Every target sets up what it needs, once: Python packages into .venv, Node packages into node_modules.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo consortium test test-all check bench vectors lock clean

# The first interpreter of a supported version that really runs (a pyenv shim may be there without its Python).
PYTHON := $(shell for p in python3.11 python3.12 python3 python; do \
  $$p -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < (3, 13)))' 2>/dev/null && command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Tests that share a network go to one worker (tests/conftest.py). Three workers for two cores: the tests of the
# signers mostly wait for blocks.
PYTEST := $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder
# Deterministic hypothesis runs; `make test-all` explores.
export HYPOTHESIS_PROFILE ?= ci

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort

$(VENV)/.ready: requirements.txt requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 found on PATH"; echo "hint: install one (plyvel has no wheels for later versions) and run make again"; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "setting up Python packages (once) …" >&2
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . 2>$(VENV)/install.log || { cat $(VENV)/install.log; exit 1; }
	@touch $@

node_modules/.ready: package.json package-lock.json $(VENV)/.ready
	@echo "setting up Node packages (once) …" >&2
	@$(BIN)/npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

setup: $(VENV)/.ready node_modules/.ready ## install everything the other targets need

demo: setup ## play the main job: three districts, one chain, real files
	@$(BIN)/deltaseal demo $(DEMO_ARGS)

consortium: setup ## play the main job on five Clique signers (needs Go, once)
	@$(BIN)/python -m cli.consortium.geth >/dev/null
	@$(BIN)/deltaseal demo --engine clique $(DEMO_ARGS)

check: setup ## style, types, layers, licences, built files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy contracts anchor verifier node cli
	$(BIN)/lint-imports
	$(BIN)/python -m contracts.build --check
	$(BIN)/python -m verifier.browser.build --check
	$(BIN)/python -m tests.gates

test: setup ## all tests but the long runs
	$(BIN)/npm run -s test:contracts
	$(PYTEST) -m "not full" tests

test-all: setup ## everything, with the full counts
	$(BIN)/npm run -s test:contracts
	HYPOTHESIS_PROFILE=full $(PYTEST) tests

bench: setup ## measure; each figure with its peer or limit in the same run
	$(BIN)/python -m bench

vectors: setup ## rewrite the golden files from the code; review the diff
	$(BIN)/python -m tests.vectors.make
	$(BIN)/python -m tests.vectors.make_store
	$(BIN)/python -m tests.vectors.make_journal
	$(BIN)/python -m tests.vectors.make_release
	$(BIN)/npm run -s vectors:ledger

lock: ## pin again after a change of requirements*.in
	$(BIN)/pip-compile -q  -o requirements.txt requirements.in
	$(BIN)/pip-compile -q  -o requirements-dev.txt requirements-dev.in

clean: ## remove what the other targets made
	rm -rf $(VENV) node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
