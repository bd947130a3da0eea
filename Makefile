# Every target does its own set-up: `make deploy` and `make test` work on a fresh checkout.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export LC_ALL := C.UTF-8
export PYTHONUNBUFFERED := 1
# Where it is set, Python compiles all of Ansible again at every start, which takes as long again as what it was started for.
unexport PYTHONDONTWRITEBYTECODE

ALL_DISTRIBUTIONS := debian12 debian13 ubuntu2404 ubuntu2604
# Which of them are tried. Without it Molecule takes debian12, and the end-to-end tests a Debian and an Ubuntu: the commit's
# hash chooses, so that each pair has its turn.
DISTRIBUTIONS ?=
PAIRS := debian12,ubuntu2404 debian12,ubuntu2604 debian13,ubuntu2404 debian13,ubuntu2604
COMMIT := $(shell git rev-parse HEAD 2>/dev/null || echo 0)
PAIR := $(word $(shell echo $$(($$(printf %d 0x$$(cut -c1 <<< $(COMMIT))) % 4 + 1))),$(PAIRS))
comma := ,
E2E_DISTRIBUTIONS = $(or $(strip $(DISTRIBUTIONS)),$(subst $(comma), ,$(PAIR)))
MOLECULE_DISTRIBUTIONS = $(or $(strip $(DISTRIBUTIONS)),debian12)
# Most of a test on a host is waiting, so two at a time are quicker, on two cores too: files of end-to-end tests, and
# scenarios of Molecule.
PROCESSES ?= 2
INVENTORY ?= inventories/lab
# A revision: what has not changed since then is not tried again (tests/selection.py).
SINCE ?=
ROLE ?=
ARGS ?=

# The longest scenarios first: one that starts last runs alone, beside an idle processor. The other source of the engine is
# tried with all distributions only.
LONGEST = docker mtls tuning gateway
CHOSEN = $(or $(ROLE),$(filter-out $(if $(DISTRIBUTIONS),,docker-distribution),$(shell .venv/bin/python tests/selection.py scenarios $(SINCE))))
SCENARIOS = $(filter $(CHOSEN),$(LONGEST)) $(filter-out $(LONGEST),$(CHOSEN))
E2E = $(shell .venv/bin/python tests/selection.py e2e $(SINCE))
# What inventories/lab installs; the mirror's other programs take minutes to compile.
LAB_VENDORS := nodesource,docker,base-image
SCRIPTS = .ci/run $(shell find tests -name '*.sh')
IS_LAB = $(filter inventories/lab,$(patsubst %/,%,$(INVENTORY)))
say = @printf '\n== %s\n'

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv:  ## Install the pinned development environment into .venv
	@tests/bootstrap.sh

lab:  ## Prepare the lab: Docker Engine, images, network, vendor mirror
	@tests/lab/lab.sh ready $(sort debian12 $(E2E_DISTRIBUTIONS) $(MOLECULE_DISTRIBUTIONS))

deploy:  ## Deploy to INVENTORY (default: one throw-away host of the lab)
	@$(MAKE) --jobs 2 venv $(if $(IS_LAB),lab-host)
	@ansible-playbook -i $(INVENTORY) playbooks/site.yml $(ARGS)

lab-host:
	@tests/lab/lab.sh ready --vendors $(LAB_VENDORS) debian12
	@tests/lab/lab.sh up --vendors $(LAB_VENDORS) vps1 debian12

destroy:  ## Remove every trace of the lab except its download cache
	@tests/lab/lab.sh destroy

test:  ## Run what a change must pass, or what one since SINCE must
	@printf '\n== end-to-end tests on %s, chosen by commit %.12s; for others: make test DISTRIBUTIONS="…", for all: make test-all\n' \
	  '$(E2E_DISTRIBUTIONS)' '$(COMMIT)'
	@$(MAKE) --jobs 2 venv lab
	@$(MAKE) --jobs 2 checks molecule-prepared
	@$(MAKE) e2e

test-all: export CLAWOPS_EXAMPLES := full
test-all: DISTRIBUTIONS := $(or $(strip $(DISTRIBUTIONS)),$(ALL_DISTRIBUTIONS))
test-all:  ## Run the full matrix: every distribution, every fault; by parts with DISTRIBUTIONS or ARGS
	@$(MAKE) --jobs 2 venv lab DISTRIBUTIONS="$(DISTRIBUTIONS)"
	@$(MAKE) --jobs 2 checks molecule-prepared DISTRIBUTIONS="$(DISTRIBUTIONS)"
	@$(MAKE) e2e DISTRIBUTIONS="$(DISTRIBUTIONS)" ARGS='-m "full or not full" $(ARGS)'

# What runs without a host and what runs on one, side by side: each leaves one processor idle at times.
checks:
	@{ $(MAKE) lint && $(MAKE) sanity && $(MAKE) unit ARGS=; } 2>&1 | sed --unbuffered 's/^/checks | /'

molecule-prepared: image
	@$(MAKE) molecule

image: venv lab
	@tests/e2e/image.py --new >/dev/null

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
	@pytest --durations 25 tests/unit $(if $(filter true,$(CI)),--numprocesses auto --dist worksteal) $(ARGS)

molecule: venv lab  ## Run the scenarios of all roles, or of ROLE, on DISTRIBUTIONS
	@deployed=$$(tests/e2e/image.py); \
	printf '\n== molecule: %s on %s\n' '$(SCENARIOS)' '$(MOLECULE_DISTRIBUTIONS)'; \
	for scenario in $(SCENARIOS); do for distribution in $(MOLECULE_DISTRIBUTIONS); do \
	  echo "$$scenario $$distribution $$deployed"; done; done | \
	xargs --no-run-if-empty --max-procs=$(PROCESSES) --max-lines=1 tests/molecule.sh

e2e: venv lab  ## Run the end-to-end tests on DISTRIBUTIONS
	$(say) 'end-to-end tests on $(E2E_DISTRIBUTIONS)'
	@[[ -z '$(E2E)' ]] || CLAWOPS_DISTRIBUTIONS='$(E2E_DISTRIBUTIONS)' pytest --verbose --durations 25 \
	  --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(E2E) $(ARGS)

benchmark: venv  ## Measure and report; asserts nothing. ARGS=--help lists the parts
	@python tests/benchmarks/run.py $(ARGS)

docs: venv  ## Generate defaults and README tables of the roles from their specifications
	@tests/docs.sh

build: venv  ## Build the collection's archive into build/
	@ansible-galaxy collection build --force --output-path build

.PHONY: help venv lab lab-host deploy destroy test test-all checks image molecule-prepared lint sanity unit molecule e2e benchmark docs build
