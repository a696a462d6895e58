# The verbs of this project. `make setup` is implied by all others.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup table test lint check errors snapshots upgrade-demo lock clean

help: ## what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## .venv with the exact versions of requirements.lock

# the lock first and alone, so that pip never chooses a version; then this project, editable
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

table: setup ## regenerate the tables in README.md, from the Hub, or offline from the catalogue
	$(BIN)/vlm-inspect table --write README.md

test: setup ## the whole test suite
	$(BIN)/python -m pytest

lint: setup ## ruff, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# offline: what is checked is this project's own doing, not what somebody pushed to the Hub meanwhile
check: setup ## fail where README.md's tables or the snapshots are stale
	$(BIN)/vlm-inspect table --check-files --offline
	$(BIN)/vlm-inspect check --offline

snapshots: setup ## write snapshots/ as the models are now
	$(BIN)/vlm-inspect snapshot --prune --offline

errors: setup ## write docs/errors.md as the source says
	$(BIN)/python tools/error_page.py

upgrade-demo: setup ## what `check` says of transformers 5.5.4 -> 5.6.0 (builds two environments)
	$(BIN)/python tools/upgrade_demo.py; test $$? -eq 1

lock: setup ## write requirements.lock from what is installed
	$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' > requirements.lock

clean: ## remove what make made
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache
