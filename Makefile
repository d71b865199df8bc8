# Two commands matter: `make demo` and `make test`. Both set up what they need in .venv, once.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo demo-seeds kafka test chaos bench lint audit lock setup setup-dev docs clean

demo: setup
	@$(BIN)/edgeloop demo

# Do the intervals hold? 20 small demos, some minutes; fails where they hold too rarely, or always.
demo-seeds: setup
	@$(BIN)/python -m scripts.demo_seeds

# One Apache Kafka broker in the foreground, without Docker.
kafka: setup
	@scripts/kafka.sh run

test: setup-dev
	@scripts/test.sh

# Kills, loss of power, 2,000 examples of each property: some twenty minutes on two cores.
chaos: setup-dev
	@scripts/chaos.sh

# Events per second: ingest and process beside a yardstick (2 million events, about 5 GB of disk), the join beside other
# engines on one broker, and ten minutes of steady traffic. Some 40 minutes, on a machine that does nothing else.
bench: setup-dev
	@$(BIN)/python -m benchmarks.spine
	@$(BIN)/python -m benchmarks.join
	@$(BIN)/python -m benchmarks.steady --seconds 600
	@$(BIN)/python -m benchmarks.remarks
	@$(BIN)/python -m benchmarks.door

lint: setup-dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

# Known vulnerabilities of what the locks install; 3 where nobody can be asked.
audit:
	@PYTHON="$(PYTHON)" scripts/audit.sh

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

# A stamp names the lock it was made from, so a second run touches neither pip nor the network.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup.sh runtime

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup.sh dev

# Regenerates docs/schemas, the screenshot and everything else that is made from code.
docs: setup-dev
	@$(BIN)/python -m scripts.make_reference && $(BIN)/python -m scripts.make_catalogues && $(BIN)/python -m scripts.make_screenshot

# Needs uv (https://docs.astral.sh/uv/); the two lock files hold hashes and no addresses.
lock:
	UV_PYTHON_DOWNLOADS=never uv lock -q
	uv export -q --frozen --no-emit-project --no-dev --group build --no-header -o requirements.lock
	uv export -q --frozen --no-emit-project --no-header -o requirements-dev.lock
	rm -f uv.lock

clean:
	rm -rf $(VENV) $(VENV)-audit .edgeloop-demo dist build
