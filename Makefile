# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first, which survives being interrupted:
# the stamp is written last, and until it is there the set-up starts over where it stopped.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(BIN)/uv
PYTEST_ARGS ?=

.PHONY: setup demo test lint test-gpu clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@"$(UV)" --version >/dev/null 2>&1 || { $(PYTHON) -m venv --clear "$(VENV)" && "$(BIN)/python" -m pip install --quiet --disable-pip-version-check uv; }
	"$(UV)" pip install --quiet --python "$(BIN)/python" --constraints constraints.txt --editable ".[train,tensorrt-rtx,dev]"
	@touch "$(STAMP)"

demo: setup
	"$(BIN)/harness" run

lint: setup
	"$(BIN)/ruff" format --check .
	"$(BIN)/ruff" check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"

test: lint
	"$(BIN)/pytest" -m "not gpu" $(PYTEST_ARGS)

test-gpu: setup
	"$(BIN)/pytest" -m gpu $(PYTEST_ARGS)

clean:
	rm -rf "$(VENV)" runs build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
