# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first, which survives being interrupted:
# the stamp is written last, and until it is there the set-up starts over where it stopped.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(BIN)/uv
PYTEST_ARGS ?=

# A board's environment sees the system's packages: JetPack's TensorRT is one of them.
BOARD := .venv-board
# JetPack 6 runs CUDA 12.
BOARD_CUDA := $(if $(shell grep -s '^. R36' /etc/nv_tegra_release),cuda-bindings<13,cuda-bindings>=13)
GPU_JUNIT := build/gpu/junit.xml

.PHONY: setup demo test lint test-gpu test-board clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/stubs
	@"$(UV)" --version >/dev/null 2>&1 || { $(PYTHON) -m venv --clear "$(VENV)" && "$(BIN)/python" -m pip install --quiet --disable-pip-version-check uv; }
	"$(UV)" pip install --quiet --python "$(BIN)/python" --constraints constraints.txt --editable ".[train,tensorrt-rtx,dev]"
	"$(BIN)/python" .ci/stubs "$(UV)" "$(VENV)/stubs"
	@touch "$(STAMP)"

demo: setup
	"$(BIN)/harness" run

lint: setup
	"$(BIN)/ruff" format --check .
	"$(BIN)/ruff" check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"

test: lint
	"$(BIN)/pytest" -m "not gpu" -n logical --maxprocesses 8 --dist loadfile $(PYTEST_ARGS)

# What a GPU machine finds is kept: a JUnit file, and docs/measurements/<gpu>.md that also says what did not run.
# $(call gpu-tests,PYTHON,MARKERS,COMMAND): the exit code is pytest's.
define gpu-tests
	@mkdir -p $(dir $(GPU_JUNIT)) && rm -f $(GPU_JUNIT)
	"$(1)" -m pytest -m "$(2)" --junitxml=$(GPU_JUNIT) $(PYTEST_ARGS); ended=$$?; \
	"$(1)" benchmarks/gpu_record.py $(GPU_JUNIT) --command "$(3)$${PYTEST_ARGS:+ PYTEST_ARGS=\"$$PYTEST_ARGS\"}"; \
	exit $$ended
endef

test-gpu: setup
	$(call gpu-tests,$(BIN)/python,gpu,make test-gpu)

# The same on a Jetson, where the core is installed without torch, beside JetPack's own TensorRT.
test-board: $(BOARD)/.installed
	$(call gpu-tests,$(BOARD)/bin/python,gpu and core,make test-board)

$(BOARD)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear --system-site-packages "$(BOARD)"
	grep -v '^cuda' constraints.txt > "$(BOARD)/constraints.txt"
	"$(BOARD)/bin/pip" install --quiet --disable-pip-version-check --constraint "$(BOARD)/constraints.txt" \
		--editable . "$(BOARD_CUDA)" pytest hypothesis jsonschema
	@touch "$@"

clean:
	rm -rf "$(VENV)" "$(BOARD)" .venv-core .venv-pycuda runs build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
