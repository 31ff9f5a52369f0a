# make demo    an update of a whole appliance, on this machine, as a normal user
# make test    the tests
# Both set themselves up below this folder; nothing outside of it is changed.
# More: make check, make example, make simulation, make lint, make docs, make man, make matrix, make sample,
#       make repeat, make soak, make faults, make fuzz, make bench-startup, make bench-image, make bench-remaster, make bench-history, make clean.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
TOX := $(BIN)/tox -q run -e
# An environment that borrows the packages of another one calls tox for that.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Handed on to pytest: make test ARGS='-k lease'
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test functional example model simulation matrix lint check docs man sample repeat soak faults fuzz bench-image bench-startup bench-remaster bench-history clean

help:
	@sed -n 's/^# //p' Makefile | head -n 5

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'ovca needs Python 3.11 or newer, called $(PYTHON). On Debian: apt-get install python3 python3-venv'; \
	  echo 'If it has another name here: make PYTHON=python3.12 ...'; exit 1; } >&2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo '$(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv'; exit 1; } >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/lab: $(BIN)/pip setup.cfg setup.py constraints.txt
	@echo 'Installing packages into $(VENV); this is done once ...'
	@$(PIP) --editable '.[lab]'
	@touch $@

$(VENV)/tox: $(BIN)/pip constraints.txt
	@echo 'Installing tox into $(VENV), and packages into .tox; this is done once ...'
	@$(PIP) tox
	@touch $@

demo: $(VENV)/lab
	@$(BIN)/ovca-lab demo

test: $(VENV)/tox
	@$(TOX) py3 -- $(ARGS)

functional: $(VENV)/tox
	@$(TOX) functional -- $(ARGS)

example: $(VENV)/tox
	@$(TOX) example -- $(ARGS)

model: $(VENV)/tox
	@$(TOX) model -- $(ARGS)

# Updates of the real code with faults drawn from seeds, for so long: make simulation SECONDS=3600 ARGS='--start 5000'
simulation: $(VENV)/tox
	@$(TOX) simulation -- --seconds $(SECONDS) $(ARGS)

# Everything, on each Python that is here: an hour or two. A part of it: make matrix ENVS=py312-lowest-sqlite-bare
ENVS ?=
matrix: $(VENV)/tox
	@$(BIN)/tox -q run $(if $(ENVS),-e $(ENVS)) $(if $(ARGS),-- $(ARGS))

lint: $(VENV)/tox
	@$(TOX) pep8

# All that CI looks at before the tests, two at a time; the packages are installed before, once.
CHECKS := pep8 docs example
check: $(VENV)/tox
	@$(TOX) py3 --notest
	@$(BIN)/tox -q run-parallel -p 2 $(foreach each,$(CHECKS),-e $(each) -x testenv:$(each).commands_pre=)

docs: $(VENV)/tox
	@$(TOX) docs
	@echo 'The documentation is in doc/build/html/index.html'

man: docs
	@echo 'The pages of the manual are in doc/build/man; read one with: man -l doc/build/man/ovca.1'

sample: $(VENV)/tox
	@$(TOX) config-sample

# Looks for inputs that break the readers of images or a server, so long for each of them: make fuzz SECONDS=3600
SECONDS ?= 600
fuzz: $(VENV)/tox
	@$(TOX) fuzz -- --seconds $(SECONDS) $(ARGS)

# Whole updates with faults at random instants: make faults RUNS=200, make faults SECONDS=3600 ARGS='--engine sqlite'
faults: $(VENV)/tox
	@$(TOX) faults -- $(if $(filter-out 0,$(RUNS)),--runs $(RUNS),--seconds $(SECONDS)) $(ARGS)

# All proofs, each with a share of the time: make soak SECONDS=28800
soak: $(VENV)/tox
	@$(TOX) soak -- --seconds $(SECONDS) $(ARGS)

# The tests again and again, in another order each time: make repeat ROUNDS=20
ROUNDS ?= 10
repeat: $(VENV)/tox
	@for round in $$(seq $(ROUNDS)); do \
	  echo "Round $$round of $(ROUNDS)"; $(TOX) py3 -- -p randomly -p no:cacheprovider $(ARGS) || exit 1; \
	done

# Downloads against doing it by hand: make bench-image SIZE=300M PAYLOAD=incompressible RUNS=5 WAYS='ours,by hand'
SIZE ?= 1G
PAYLOAD ?=
RUNS ?= 0
$(VENV)/bench: $(BIN)/pip setup.cfg setup.py constraints.txt
	@$(PIP) --editable '.[fast]'
	@touch $@

bench-image: $(VENV)/bench
	@$(BIN)/python bench/image.py --size $(SIZE) --runs $(RUNS) $(if $(PAYLOAD),--payload $(PAYLOAD)) $(if $(WAYS),--ways '$(WAYS)')

# How long the command line takes to start, against Python itself.
bench-startup: $(VENV)/lab
	@$(BIN)/python bench/startup.py

# How long nobody acts, what an update adds to its installs, what an idle pair costs: make bench-remaster RUNS=5
bench-remaster: $(VENV)/lab
	@$(BIN)/python bench/remaster.py $(if $(filter-out 0,$(RUNS)),--runs $(RUNS))

# What 10,000 past updates slow down.
bench-history: $(VENV)/lab
	@$(BIN)/python bench/history.py

clean:
	@rm -rf $(VENV) .tox .lab .bench build dist doc/build *.egg-info
	@rm -rf examples/*/build examples/*/src/*.egg-info
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
