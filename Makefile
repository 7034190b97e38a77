# What a person does with the project. `make run` and `make test` install what they need themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
LOCK := .run/lock/bin/uv pip compile --quiet --no-config \
	--universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade \
	--custom-compile-command 'make lock' pyproject.toml --group build

# Debian packages, where they are not there yet.
NEED_RABBITMQ = @$(BIN)/python -c 'from dev.broker import find_scripts; raise SystemExit(find_scripts() is None)' \
	|| dev/apt-install rabbitmq-server
NEED_FAKETIME = @ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || dev/apt-install libfaketime
NEED_COMPILER = @command -v cc >/dev/null || command -v gcc >/dev/null || dev/apt-install gcc libc6-dev

.DEFAULT_GOAL := help
.PHONY: help setup run test soak lint bench docs lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: PORT (8000), AMQP_URL (a broker is found or started), JWT_SECRET (one is made),"
	@echo "             PYTHON (python3), ARGS (what 'make test' hands to pytest, such as ARGS='-k tokens')"
	@echo "             QUICK=1, BENCH=fanout,unicast, SYSTEMS=bridge,node, REPEAT=1: make bench in two minutes, in parts"

setup: $(VENV)/.runtime ## Install the daemon into .venv; then: .venv/bin/bridged run -c config/bridge.yaml

run: $(VENV)/.examples ## Start a broker if there is none, the daemon and the example services; Ctrl-C stops all of it
	@$(BIN)/python -m dev.run

test: benchmarks/rivals/node_modules/.installed
test: $(VENV)/.dev tests/node_modules/.installed examples/node_modules/.installed ## Install what the tests need, check the code and run all tests
	$(NEED_RABBITMQ)
	$(NEED_FAKETIME)
	$(NEED_COMPILER)
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || dev/apt-install chromium
	@lint=0; $(MAKE) --no-print-directory lint || { lint=$$?; echo "make lint failed; the tests run all the same"; }; \
		$(BIN)/python -m pytest $(ARGS) && exit $$lint

soak: $(VENV)/.dev tests/node_modules/.installed ## Break things for an hour under load, and show what clients lost: nothing
	$(NEED_RABBITMQ)
	$(NEED_FAKETIME)
	$(NEED_COMPILER)
	@ulimit -n 20000 2>/dev/null; BRIDGED_SOAK=1 $(BIN)/python -m pytest tests/faults $(ARGS)

lint: $(VENV)/.dev ## Check style, types, the direction of imports and the generated documentation
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/bridged docs --check

bench: $(VENV)/.dev benchmarks/rivals/node_modules/.installed ## Measure the bridge beside stock python-socketio and Node; writes docs/performance.md
	$(NEED_RABBITMQ)
	$(NEED_COMPILER)
	@$(BIN)/python -m benchmarks

docs: setup ## Write docs/configuration.md anew from the docstrings of bridge/config
	@$(BIN)/bridged docs

lock: ## Choose the newest versions anew and write requirements.txt, -examples.txt and -dev.txt
	@$(PYTHON) -m venv .run/lock
	@.run/lock/bin/python -m pip --quiet --disable-pip-version-check install uv
	@$(LOCK) --output-file requirements.txt
	@$(LOCK) --constraint requirements.txt --extra examples --output-file requirements-examples.txt
	@$(LOCK) --constraint requirements-examples.txt --extra examples --extra test --output-file requirements-dev.txt

# Stamps: what is older than its lock file is installed again.

$(VENV)/.runtime: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11 or missing; name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || dev/apt-install python3-venv
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.examples: $(VENV)/.runtime requirements-examples.txt
	@$(PIP) install --require-hashes -r requirements-examples.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@echo "Installing the tools of the tests into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

%/node_modules/.installed: %/package-lock.json
	@command -v npm >/dev/null || dev/apt-install nodejs npm
	@echo "Installing JavaScript packages into $*/node_modules ..."
	@npm ci --prefix $* --silent --no-audit --no-fund
	@touch $@
