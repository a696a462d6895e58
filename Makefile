# The verbs of this project. `make setup` is implied by all others.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TIMM := .timm-env
TIMM_STAMP := $(TIMM)/.installed

.PHONY: help setup table test test-timm lint check errors snapshots bench fuzz upgrade-demo compat pythons lock clean

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

# a process per core, a file of tests to one of them: what a session makes once is made once in each
test: setup ## the whole test suite
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile --max-worker-restart 0

test-timm: $(TIMM_STAMP) ## the models whose towers are timm's, in an environment that has it (5.5 GB)
	$(TIMM)/bin/python -m pytest tests/timm

# torch first, with the torchvision that matches it: timm alone would choose one, and with it another torch
$(TIMM_STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(TIMM)
	$(TIMM)/bin/python -m pip install --quiet torch==2.14.1 torchvision==0.29.1
	grep -v '^torch==' requirements.lock > $(TIMM)/requirements.txt
	$(TIMM)/bin/python -m pip install --quiet --requirement $(TIMM)/requirements.txt \
	  timm==1.0.31 pillow==13.0.0 scipy==1.17.1
	$(TIMM)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(TIMM_STAMP)

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

bench: setup ## what an answer costs, against bare scripts; writes docs/benchmarks.md (minutes)
	$(BIN)/python -m tools.bench

fuzz: setup ## 110,000 hostile inputs; what is found is kept in fuzz-findings/ (a quarter of an hour)
	$(BIN)/python -m tools.fuzz

errors: setup ## write docs/errors.md as the source says
	$(BIN)/python tools/error_page.py

upgrade-demo: setup ## what `check` says of transformers 5.5.4 -> 5.6.0 (builds two environments)
	$(BIN)/python tools/upgrade_demo.py; test $$? -eq 1

compat: setup ## ask every supported transformers for every type it has; write docs/support-matrix.*
	$(BIN)/python -m tools.compat

pythons: setup ## ask every Python that is here the same, run the tests under it; write docs/pythons.*
	$(BIN)/python -m tools.pythons

lock: setup ## write requirements.lock from what is installed
	$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' > requirements.lock

clean: ## remove what make made
	rm -rf .venv $(TIMM) dist .pytest_cache .mypy_cache .ruff_cache
