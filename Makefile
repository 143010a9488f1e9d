# `make demo` and `make test` do all their own set-up: Python 3.11 or 3.12 with venv is enough.

PYTHON ?= $(firstword $(foreach p,python3.12 python3.11 python3,$(shell command -v $(p) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint clean

demo: $(INSTALLED)
	$(BIN)/vidhair demo

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy

# The stamp depends on what decides the environment, so a second run installs nothing.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "vidhair needs Python 3.11 or 3.12 on PATH"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 13))' || \
	  { echo "vidhair needs Python 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) -V). Set PYTHON=…"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@for attempt in 1 2 3; do \
	  $(BIN)/python -m pip install --disable-pip-version-check --retries 10 --timeout 60 \
	    --quiet --editable '.[dev]' && exit 0; \
	  echo "installing failed (attempt $$attempt of 3)"; sleep $$((attempt * 5)); \
	done; exit 1
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
