# Every verb implies `make setup`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TIMM := .timm-env
TIMM_STAMP := $(TIMM)/.installed

.PHONY: help setup table docs check snapshots test test-fast test-timm lint bench fuzz compat lock clean

help: ## list the verbs
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv with the versions in requirements.lock

# the lock first, so that pip never chooses a version; then this project, editable
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

table: setup ## regenerate the tables in README.md
	$(BIN)/vlm-inspect table --write README.md
	@echo "Next: $(BIN)/vlm-inspect show llava-hf/llava-1.5-7b-hf"

docs: setup ## regenerate docs/reference/cli.md
	$(BIN)/python -m tools.cli_reference

# offline, so that a new commit on the Hub does not fail it
check: setup ## fail if the tables in README.md or the snapshots are stale
	$(BIN)/vlm-inspect table --check-files --offline
	$(BIN)/vlm-inspect check --offline

# a process per core and one more; each gets a run of files, so that expensive fixtures are made once in most
PYTEST := $(BIN)/python -m pytest --numprocesses logical --dist worksteal --max-worker-restart 0

test: setup ## run all tests, as CI does
	HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-ci} $(PYTEST)

test-fast: setup ## run the tests that are not marked slow, with 20 examples of each property
	HYPOTHESIS_PROFILE=dev $(PYTEST) -m "not slow"

snapshots: setup ## regenerate snapshots/
	$(BIN)/vlm-inspect snapshot --prune --offline

test-timm: $(TIMM_STAMP) ## run the tests of models with timm towers, in .timm-env (5.5 GB)
	$(TIMM)/bin/python -m pytest tests/timm

# torch first, with the torchvision that matches it; timm alone would install another torch
$(TIMM_STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(TIMM)
	$(TIMM)/bin/python -m pip install --quiet torch==2.14.1 torchvision==0.29.1
	grep -v '^torch==' requirements.lock > $(TIMM)/requirements.txt
	$(TIMM)/bin/python -m pip install --quiet --requirement $(TIMM)/requirements.txt \
	  timm==1.0.31 pillow==13.0.0 scipy==1.17.1
	$(TIMM)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(TIMM_STAMP)

lint: setup ## run ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## compare with minimal scripts, write docs/benchmarks.md; fails if a target is missed
	$(BIN)/python -m tools.bench

fuzz: setup ## run the property tests with 10,000 examples each (more than an hour)
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --numprocesses logical tests/properties

compat: setup ## test every supported transformers version, write docs/support-matrix.md
	$(BIN)/nox --sessions compat matrix

lock: setup ## write requirements.lock from the packages in .venv
	$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' > requirements.lock

clean: ## delete environments and caches
	rm -rf .venv $(TIMM) .nox .hypothesis dist .pytest_cache .mypy_cache .ruff_cache
