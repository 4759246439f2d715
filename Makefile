# Everything that a person runs from a checkout. `make help` lists it.

VENV     ?= .venv
PYTHON   ?= python3
BIN      := $(VENV)/bin
CONSTRAINTS := -c constraints.txt
STUBS    := steerstream/v1

.DEFAULT_GOAL := help
.PHONY: help demo test check bench proto clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Each stamp is one set of packages in the environment; a change of the pins installs it anew.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet $(CONSTRAINTS) -e '.[cpu,sim]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/pip install --quiet $(CONSTRAINTS) torch
	$(BIN)/pip install --quiet $(CONSTRAINTS) -e '.[cpu,sim,train,dev]'
	@touch $@

proto: $(VENV)/.dev ## Generate the stubs in steerstream/v1 from proto/
	$(BIN)/python proto/generate.py .

clean: ## Remove what the other targets made, but not the environment
	rm -rf demo out build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
