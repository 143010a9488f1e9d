# `make demo` and `make test` do all their own set-up: Python 3.11 or 3.12 with venv is enough.

# The first interpreter that runs and fits; a name on PATH alone may be a shim of another version.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

# Folder of the releases that were tried together, a file per Python version.
# `make CONSTRAINTS=` installs the newest that pyproject.toml allows.
CONSTRAINTS := constraints
PINS = $$($(BIN)/python -c 'import sys; print("py%d%d.txt" % sys.version_info[:2])')

.PHONY: demo test quick lint constraints clean

demo: $(INSTALLED)
	$(BIN)/vidhair demo

# At most two processes, as one takes up to 4 GB (StyleGANEX's golden case). The tests of a file
# share what they make.
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 2 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST)

# All but the tests that take more than a few seconds.
quick: $(INSTALLED)
	$(PYTEST) -m 'not slow'

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Once with each Python, in a fresh clone: make CONSTRAINTS= PYTHON=python3.12 constraints
constraints: test
	$(BIN)/python constraints/freeze.py > $(VENV)/pins.txt
	mv $(VENV)/pins.txt constraints/$(PINS)
	@touch $(INSTALLED)

# The stamp depends on what decides the environment, so a second run installs nothing.
$(INSTALLED): pyproject.toml $(wildcard $(CONSTRAINTS:%=%/*.txt))
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(FITS)' || { \
	  echo "vidhair needs Python 3.11 or 3.12 with venv; install it, or set PYTHON=/path/to/python";\
	  exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@for attempt in 1 2 3; do \
	  $(BIN)/python -m pip install --disable-pip-version-check --retries 10 --timeout 60 \
	    --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)/$(PINS)) \
	    --editable '.[dev]' && exit 0; \
	  echo "installing failed (attempt $$attempt of 3)"; sleep $$((attempt * 5)); \
	done; exit 1
	@$(BIN)/vidhair models pull --quiet mediapipe-hair >/dev/null 2>&1 \
	  && echo "hair is found by MediaPipe's segmenter (Apache-2.0)" \
	  || echo "going on without MediaPipe's hair segmenter; vidhair models pull mediapipe-hair"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
