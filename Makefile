# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
# Options of every pip install, e.g. PIP_ARGS='--extra-index-url …' for PyTorch's CPU builds.
PIP_ARGS ?=
BIN    := $(VENV)/bin

# The tests start hundreds of Pythons: each would compile all of our modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check outdated clean

demo: $(VENV)/.demo
	$(BIN)/edgefarm demo --out demo-out

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_tree.py

outdated: $(VENV)/.dev
	$(BIN)/pip list --outdated --format=json | $(BIN)/python -m tests.pins

# One request with torch pinned: asked for later, by another package, pip may fetch a CUDA build.
$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(PIP_ARGS) --upgrade pip
	touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet $(PIP_ARGS) --constraint constraints.txt torch==2.13.0 --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet $(PIP_ARGS) --constraint constraints.txt torch==2.13.0 --editable '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist demo-out
