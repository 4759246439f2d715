# Everything that a person runs from a checkout. `make` lists it.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Python compiles what is imported; of 20,000 modules that is few.
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
NEWEST ?= .venv-newest
NEWEST_PIP := $(NEWEST)/bin/pip install --quiet --disable-pip-version-check --upgrade \
	--upgrade-strategy eager
DATA   ?=
RUN    ?= runs/gpu
DEVICE ?= cuda

.DEFAULT_GOAL := help
.PHONY: help demo test test-newest test-rl train-gpu mutants fuzz deploy-tools deploy-programs bridge-test \
	check style types layers contract site bench docs findings proto clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Drive an unseen road, then kill a server in a bend; DATA=DIR replays a real drive
	@$(BIN)/python -m benchmark.demo --out demo $(if $(DATA),--data $(DATA))

# Files run in the order in which they stand, because pytest-xdist would leave those with few tests, which
# are the longest, to the end. Coverage costs a third more, so it is measured where it is asked for.
PYTEST   := $(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder
MEASURED := bundle service steerstream
test: $(VENV)/.dev ## Run the test suite; fail below 95 % of bundle/, service/ or steerstream/
	@status=0; \
	$(PYTEST) $(MEASURED:%=--ignore=tests/%) || status=1; \
	$(PYTEST) --cov --cov-report= $(MEASURED:%=tests/%) || status=1; \
	for folder in $(MEASURED); do \
		$(BIN)/coverage report --include="$$folder/*" --fail-under=95 || status=1; \
	done; exit $$status

# What `pip install` gives a user today. grpcio-tools is left out: it holds protobuf, and with it the
# rest of gRPC, at the version that the stubs are generated with.
test-newest: ## Run the suite on the newest versions that pyproject.toml allows (TESTS=... for a part)
	@test -x $(NEWEST)/bin/python || $(PYTHON) -m venv $(NEWEST)
	@$(NEWEST_PIP) torch
	@$(NEWEST_PIP) -e '.[can,cpu,lerobot,mcap,metrics,otel,record,rerun,rl,ros,sim,train,watch]' hypothesis pytest pytest-asyncio \
		pytest-timeout pytest-xdist pyyaml setuptools
	@$(NEWEST)/bin/python -m pytest -q -n auto --dist loadfile $(TESTS)

# It brings a torch of its own choice, so it has an environment of its own.
test-rl: ## Check the Gymnasium environment by Stable-Baselines3, in .venv-rl
	@test -x .venv-rl/bin/python || $(PYTHON) -m venv .venv-rl
	@.venv-rl/bin/pip install --quiet --disable-pip-version-check -e '.[cpu,sim]' stable-baselines3==2.9.2 \
		pytest pytest-asyncio pytest-timeout
	@.venv-rl/bin/python -m pytest -q tests/simulation/test_stable_baselines3.py

mutants: $(VENV)/.dev ## Put small faults into the safety kernel; fail where the tests notice too few; an hour
	@$(BIN)/python -m tests.mutation

fuzz: $(VENV)/.dev ## Send a million messages that no honest program sends; ten minutes
	@$(BIN)/python -m tests.fuzz

deploy-tools: $(VENV)/.dev deploy-programs ## Install what the tests of deploy/ and of the live page run, such as proxies and Chromium; as root
	@$(PIP) -e '.[deploy-test]'

deploy-programs:
	@tests/deploy/install-tools

# Each third party in an environment of its own, because their pins and ours do not go together.
BRIDGES := .tools/bridges
bridge-test: $(VENV)/.dev ## Test the bridges with third parties, each in an environment of its own; needs npm
	@npm install --silent --no-save --prefix $(BRIDGES) socket.io-client@2.5.0 \
		@grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1
	@test -x $(BRIDGES)/donkey/bin/python || $(PYTHON) -m venv $(BRIDGES)/donkey
	@$(BRIDGES)/donkey/bin/pip install --quiet --disable-pip-version-check gym-donkeycar==1.0.13
	@test -x $(BRIDGES)/alpasim/bin/python || $(PYTHON) -m venv $(BRIDGES)/alpasim
	@$(BRIDGES)/alpasim/bin/pip install --quiet --disable-pip-version-check -e '.[alpasim]'
	@test -x $(BRIDGES)/metadrive/bin/python || $(PYTHON) -m venv $(BRIDGES)/metadrive
	@$(BRIDGES)/metadrive/bin/pip install --quiet --disable-pip-version-check '.[sim]'
	@$(BRIDGES)/metadrive/bin/pip install --quiet --disable-pip-version-check --no-deps \
		-r simulation/metadrive.txt
	@STEERSTREAM_METADRIVE=$(CURDIR)/$(BRIDGES)/metadrive/bin/python \
		STEERSTREAM_ALPASIM=$(CURDIR)/$(BRIDGES)/alpasim/bin/python \
		STEERSTREAM_NODE_MODULES=$(CURDIR)/$(BRIDGES)/node_modules \
		STEERSTREAM_GYM_DONKEYCAR=$(CURDIR)/$(BRIDGES)/donkey/bin/python \
		$(BIN)/python -m pytest -q tests/steerstream/bridge tests/examples

check: style types layers contract site ## Lint, types, layers, wire contract, stubs in step, documents

style: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	PYTHONPATH=.:bundle:service:simulation $(BIN)/lint-imports

contract: $(VENV)/.dev
	cd proto && ../$(BIN)/buf lint
	$(BIN)/python proto/generate.py --check

site: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# The training's own time, of 12 minutes: the last evaluations, export and verify take the rest.
train-gpu: $(VENV)/.dev ## Train the default on a GPU in 12 minutes, export and verify; DATA=DIR, RUN=DIR
	@$(BIN)/python -m model_export train --device $(DEVICE) --loaders $$(nproc) --minutes 10 --out $(RUN) \
		--config $(addprefix model_export/configs/,pilotnet_lstm_frames.toml pilotnet_lstm.toml pilotnet_lstm_plan.toml) \
		$(if $(DATA),--data $(DATA))
	@$(BIN)/python -m model_export export $(RUN) --out $(RUN)/pilotnet_lstm.onnx
	@$(BIN)/python -m model_export verify $(RUN)/pilotnet_lstm.onnx --run $(RUN)

bench: $(VENV)/.demo ## Measure latency and print the README's table
	@$(BIN)/python -m benchmark latency --sessions 1,8,16,32

docs: $(VENV)/.docs ## Build the documents and the API reference into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

findings: ## Check what is known of outside libraries; takes minutes and the network
	@status=0; for script in findings/*.sh; do \
		printf "%s: " "$$script"; $$script || status=1; done; exit $$status

proto: $(VENV)/.dev ## Generate the stubs in steerstream/v1 from proto/
	@$(BIN)/python proto/generate.py

clean: ## Remove what the other targets made, but not the environment
	rm -rf .coverage* demo build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# A stamp stands for one set of packages; a change of the pins installs it again.
$(BIN)/python:
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the server, the client and the world into $(VENV)"
	@$(PIP) -e '.[cpu,sim,watch]'
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the documents' tools into $(VENV)"
	@$(PIP) -e '.[docs]'
	@touch $@

# torch comes first: what depends on it must find it installed. The rest includes what the two above install.
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing training and development tools into $(VENV); torch brings CUDA, 5.9 GB, unless"
	@echo "its CPU build is installed there already"
	@$(PIP) torch
	@$(PIP) -e '.[can,cpu,lerobot,mcap,metrics,otel,record,rerun,rl,ros,sim,train,watch,dev,docs]'
	@touch $(VENV)/.demo $(VENV)/.docs $@
