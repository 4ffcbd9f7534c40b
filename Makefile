# Everything a contributor needs; .ci/run calls the same targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

ifdef UV
create = uv venv --quiet --python $(PYTHON) $(VENV)
install = uv pip install --quiet --python $(BIN)/python
else
create = $(PYTHON) -m venv $(VENV) || { \
  echo "error: this Python cannot make virtual environments" >&2; \
  echo "hint: apt-get install python3-venv (Debian, Ubuntu), or install uv" >&2; \
  rm -rf $(VENV); exit 1; }
install = $(BIN)/pip install --quiet --disable-pip-version-check
endif

.PHONY: help demo test gpu check format docs bench wheel cpu-image clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(BIN)/nimctl: pyproject.toml
	@echo "installing nimctl into $(VENV)"
	@test -x $(BIN)/python || { $(create); }
	@$(install) -e '.[cpu]'
	@touch $@

$(VENV)/dev: pyproject.toml $(BIN)/nimctl
	@echo "installing what tests and checks need into $(VENV)"
	@$(install) -e '.[dev]'
	@touch $@

demo: $(BIN)/nimctl ## Serve the demo model, ask it one question, stop it
	@$(BIN)/python tools/demo.py

test: $(VENV)/dev ## Run the whole test suite
	$(BIN)/pytest -n 2 --dist loadgroup -m "not gpu" $(TESTS)

gpu: $(VENV)/dev ## Run the tests that need an NVIDIA GPU, and record the machine
	$(BIN)/pytest -m gpu tests/gpu

check: $(VENV)/dev ## Lint, types, import directions, generated docs, the catalogue
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/reference_docs.py --check
	$(BIN)/python tools/catalogue_check.py

format: $(VENV)/dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev ## Generate docs/reference from the code
	$(BIN)/python tools/reference_docs.py

bench: $(VENV)/dev ## Measure, each against a peer in the same run
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/pull.py
	$(BIN)/python benchmarks/selection.py
	$(BIN)/python benchmarks/containers.py

wheel: $(VENV)/dev ## Build the wheel
	$(BIN)/python -m build --wheel

cpu-image: $(BIN)/nimctl ## Build the container image of the CPU backend, offline
	@$(BIN)/python tools/cpu_image/build.py

clean: ## Remove what was built
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
