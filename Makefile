# `make demo` and `make test` do all their own set-up: Python 3.11 or 3.12 with venv is enough.

# The first interpreter that runs and fits; a name on PATH alone may be a shim of another version.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint clean

demo: $(INSTALLED)
	$(BIN)/vidhair demo

test: lint
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The stamp depends on what decides the environment, so a second run installs nothing.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(FITS)' || { \
	  echo "vidhair needs Python 3.11 or 3.12 with venv; install it, or set PYTHON=/path/to/python";\
	  exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@for attempt in 1 2 3; do \
	  $(BIN)/python -m pip install --disable-pip-version-check --retries 10 --timeout 60 \
	    --quiet --editable '.[dev]' && exit 0; \
	  echo "installing failed (attempt $$attempt of 3)"; sleep $$((attempt * 5)); \
	done; exit 1
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
