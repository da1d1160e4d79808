# make app   the page in the browser      make test    the tests
# make check what CI runs: format, lint, types, tests
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
# Processes start in half the time with cached bytecode, and the tests start many.
unexport PYTHONDONTWRITEBYTECODE
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check
# A file at a time to each of two processes, in the order that tests/conftest.py gives.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
# The type checker and the linter of the page's JavaScript, by npm.
JS := tests/javascript

# Any Python from 3.10 to 3.12; `make PYTHON=/path/to/python app` chooses one.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10 python; do \
	$$p -c 'import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)

.PHONY: help app test check format nightly clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

app: $(VENV)/app.installed  ## open the page: make app ARGS="-i 'folder/*.npy' -e 402"
	$(PY) app.py $(ARGS)

test: $(VENV)/dev.installed  ## run the tests: all, or some: make test ARGS="tests/page -k login"
	$(PY) -m pytest $(or $(ARGS),$(PARALLEL))

check: $(VENV)/dev.installed $(JS)/node_modules/.installed  ## format, lint, types, tests
	npm --prefix $(JS) run --silent check
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy & $(PY) -m pytest $(PARALLEL); tests=$$?; wait $$! && exit $$tests

nightly: $(VENV)/dev.installed  ## the long tests too, and ten times the property tests' examples
	HYPOTHESIS_PROFILE=nightly $(PY) -m pytest $(PARALLEL) -m ""

format: $(VENV)/dev.installed  ## put the code in its usual form
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean:  ## remove the environment and every cache
	rm -rf $(VENV) $(JS)/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "geoseg needs Python 3.10, 3.11 or 3.12, with venv; install one, or say where: make PYTHON=... $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { echo "$(PYTHON) is not Python 3.10, 3.11 or 3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The stamps are newer than what they were made from, so a second start installs nothing.
$(VENV)/app.installed: requirements.txt | $(VENV)/bin/python
	@echo 'Installing what requirements.txt names into $(VENV): some minutes, the first time only.'
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/dev.installed: pyproject.toml requirements.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	touch $(VENV)/app.installed $@

$(JS)/node_modules/.installed: $(JS)/package.json $(JS)/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a * 100 + b < 2019 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null \
	|| { echo "make check needs Node.js 20.19 or newer with npm: install it from https://nodejs.org or your system's packages (make test does without)"; exit 1; }
	npm --prefix $(JS) ci --no-fund --no-audit
	touch $@
