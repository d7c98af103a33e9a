# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3
PORT ?= 5000
MAILBOX_PORT ?= 1025
REDIS_PORT ?= 6399

RUN := .venv
TEST := .venv-test
export PATH := $(CURDIR)/$(TEST)/bin:$(PATH)
# Compiling every file at installation would take longer than the tests need.
PIP := pip install --quiet --disable-pip-version-check --no-compile

.PHONY: help run test check lint format types contracts clean

help:
	@echo "make run     start the site, the worker, Redis and a mailbox (PORT=$(PORT))"
	@echo "make test    run all tests (ARGS=... goes to pytest)"
	@echo "make check   lint, format, types, import contracts, tests"
	@echo "make format  put the code into shape"
	@echo "make clean   remove what these have made, but not your data"

# Running

$(RUN)/ready: requirements.txt requirements-dev.txt requirements-redis.txt
	@$(PYTHON) -c 'import sys; sys.exit("Flasky needs Python 3.11 or newer; choose one: make run PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(RUN) ..."
	@$(PYTHON) -m venv $(RUN)
	@$(RUN)/bin/$(PIP) -r requirements-dev.txt
	@command -v redis-server >/dev/null || $(RUN)/bin/$(PIP) -r requirements-redis.txt
	@touch $@

run: $(RUN)/ready
	@PORT=$(PORT) MAILBOX_PORT=$(MAILBOX_PORT) REDIS_PORT=$(REDIS_PORT) $(RUN)/bin/python scripts/run.py

# Testing

$(TEST)/ready: requirements.txt requirements-dev.txt requirements-redis.txt requirements-test.txt
	@$(PYTHON) -c 'import sys; sys.exit("Flasky needs Python 3.11 or newer; choose one: make test PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(TEST) ..."
	@$(PYTHON) -m venv $(TEST)
	@$(TEST)/bin/$(PIP) -r requirements-test.txt
	@touch $@

test: $(TEST)/ready
	@python scripts/browser.py
	python -m pytest $(ARGS)

check: lint types contracts test

lint: $(TEST)/ready
	ruff check .
	ruff format --check .

format: $(TEST)/ready
	ruff check --fix .
	ruff format .

types: $(TEST)/ready
	mypy

contracts: $(TEST)/ready
	lint-imports

clean:
	rm -rf $(RUN) $(TEST) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
