# Every target does its own set-up: `make deploy` and `make test` work on a fresh checkout.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export LC_ALL := C.UTF-8
export PYTHONUNBUFFERED := 1

ALL_DISTRIBUTIONS := debian12 debian13 ubuntu2404 ubuntu2604
# Which of them Molecule uses; the end-to-end tests always use all four.
DISTRIBUTIONS ?= debian12
# Most of a test on a host is waiting, so two at a time are quicker, on two cores too: files of end-to-end tests, and
# scenarios of Molecule where each has one host.
E2E_PROCESSES ?= 2
MOLECULE_PROCESSES ?= $(if $(word 2,$(DISTRIBUTIONS)),1,2)
INVENTORY ?= inventories/lab
ROLE ?=
ARGS ?=

# The longest scenarios first: one that starts last runs alone, beside an idle processor.
LONGEST = mtls tuning docker gateway
# One distribution is for a look at every role; the other source of the engine is tried with all of them.
SCENARIOS = $(if $(ROLE),$(ROLE),$(LONGEST) \
  $(filter-out $(LONGEST) $(if $(word 2,$(DISTRIBUTIONS)),,docker-distribution), \
  $(notdir $(patsubst %/molecule.yml,%,$(wildcard molecule/*/molecule.yml)))))
SCRIPTS = .ci/run $(shell find tests -name '*.sh')
IS_LAB = $(filter inventories/lab,$(patsubst %/,%,$(INVENTORY)))
say = @printf '\n== %s\n'

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv:  ## Install the pinned development environment into .venv
	@tests/bootstrap.sh

lab: venv  ## Prepare the lab: Docker Engine, images, network, vendor mirror
	@tests/lab/lab.sh ready $(ALL_DISTRIBUTIONS)

deploy: venv  ## Deploy to INVENTORY (default: one throw-away host of the lab)
	$(if $(IS_LAB),@tests/lab/lab.sh ready debian12 && tests/lab/lab.sh up vps1 debian12)
	@ansible-playbook -i $(INVENTORY) playbooks/site.yml $(ARGS)

destroy:  ## Remove every trace of the lab except its download cache
	@tests/lab/lab.sh destroy

test: prepared  ## Run what a change must pass
	@$(MAKE) unit molecule e2e

test-all: export CI := true
test-all: prepared  ## Run the full matrix: every distribution, every fault
	@$(MAKE) unit
	@$(MAKE) molecule DISTRIBUTIONS="$(ALL_DISTRIBUTIONS)"
	@$(MAKE) e2e ARGS='-m "full or not full"'

# The lab's first preparation takes minutes, and the checks keep one processor busy: side by side.
prepared: venv
	@$(MAKE) --jobs 2 checks lab

checks:
	@MAKEFLAGS=--no-print-directory $(MAKE) lint sanity

lint: venv  ## Check style, types, shell scripts, documentation and changelog
	@failed=; check() { printf '\n== %s\n' "$$*"; "$$@" || failed+=" $$1"; }; \
	check yamllint --strict .; \
	check ansible-lint --offline; \
	check ruff check .; \
	check ruff format --check .; \
	check mypy; \
	check shellcheck $(SCRIPTS); \
	check antsibull-docs lint-collection-docs --plugin-docs .; \
	check antsibull-changelog lint; \
	check tests/docs.sh --check; \
	[[ -z $$failed ]] || { echo "lint: failed:$$failed"; exit 1; }

sanity: venv  ## Run ansible-test's sanity tests: modules do what they document
	$(say) 'ansible-test sanity'
	@tests/sanity.sh

unit: venv  ## Run the unit tests
	$(say) 'unit tests'
	@pytest tests/unit $(if $(filter true,$(CI)),--numprocesses auto --dist worksteal) $(ARGS)

molecule: venv  ## Run the scenarios of all roles, or of ROLE, on DISTRIBUTIONS
	@tests/lab/lab.sh ready $(DISTRIBUTIONS)
	@export CLAWOPS_DISTRIBUTIONS="$$(tr ' ' , <<< '$(strip $(DISTRIBUTIONS))')"; \
	printf '\n== molecule: %s on %s\n' "$(SCENARIOS)" "$$CLAWOPS_DISTRIBUTIONS"; \
	printf '%s\n' $(SCENARIOS) | xargs --max-procs=$(MOLECULE_PROCESSES) --replace=SCENARIO bash -o pipefail -c \
	  'MOLECULE_GLOB=molecule/SCENARIO/molecule.yml molecule --base-config .config/molecule/config.yml \
	    test --no-command-borders --scenario-name SCENARIO 2>&1 | sed --unbuffered "s/^/SCENARIO | /"'

e2e: lab  ## Run the end-to-end tests on all distributions
	$(say) 'end-to-end tests'
	@pytest --verbose --numprocesses $(E2E_PROCESSES) --dist loadfile --no-loadscope-reorder tests/e2e $(ARGS)

benchmark: lab  ## Measure and report; asserts nothing
	@python tests/benchmarks/run.py $(ARGS)

docs: venv  ## Generate defaults and README tables of the roles from their specifications
	@tests/docs.sh

build: venv  ## Build the collection's archive into build/
	@ansible-galaxy collection build --force --output-path build

.PHONY: help venv lab deploy destroy test test-all prepared checks lint sanity unit molecule e2e benchmark docs build
