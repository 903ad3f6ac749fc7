# Each target sets up all it needs, once; 'make' alone lists them.

PYTHON ?= python3
PROFILE ?= demo
PYTEST_OPTIONS ?=
BENCH_OPTIONS ?=
LOCK_OPTIONS ?=
CONFIG ?= workflow/sweeps/example.yaml
WHERE ?= local
SNAKEMAKE_OPTIONS ?=

VENV := .venv
NOTEBOOKS = $(wildcard notebooks/*.ipynb)
# The environment's programs first, and the GROMACS that set-up chose.
RUN = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" GMX="$$(cat $(VENV)/gmx-path 2>/dev/null)"

.DEFAULT_GOAL := help
.PHONY: help setup venv gromacs browser report figures plan sweep test bench faults newcomer lint \
	format lock licences clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Python environment, GROMACS, gmxapi and a browser
	@$(PYTHON) tools/setup_env.py

venv: ## the Python environment alone
	@$(PYTHON) tools/setup_env.py --venv

gromacs: ## GROMACS alone: found, or built once and cached
	@$(PYTHON) tools/setup_env.py --gromacs

browser: ## Chromium alone: found, or installed for the tests in it and the report's PDF
	@$(PYTHON) tools/setup_env.py --browser

report: setup ## run the five notebooks and write report/ (PROFILE=tiny, demo, reduced, paper, campaign)
	@$(RUN) python -m janus_pore.show.report --profile "$(PROFILE)"

figures: venv ## report of the results that ship: no MD, no GROMACS
	@$(RUN) python -m janus_pore.show.report --profile campaign --source campaign

plan: setup ## what each protocol of PROFILE costs on this machine
	@$(RUN) python -m janus_pore.drive plan "$(PROFILE)"

sweep: setup ## every point of CONFIG, a YAML file, here or on a cluster (WHERE=slurm)
	@$(RUN) python -m janus_pore.show.sweep run "$(CONFIG)" --where "$(WHERE)" -- $(SNAKEMAKE_OPTIONS)

test: setup lint ## style, types, stripped notebooks, all tests
	@$(RUN) python -m pytest $(PYTEST_OPTIONS)

bench: setup ## side by side with other programs (BENCH_OPTIONS=--quick for a look)
	@$(RUN) PYTHONPATH=tools python bench/compare.py $(BENCH_OPTIONS)

faults: setup ## kills, damage, full disks on purpose; are the results the same?
	@$(RUN) python bench/faults.py kills
	@$(RUN) python bench/faults.py
	@$(RUN) python bench/haul.py
	@$(RUN) python bench/haul.py --ns

newcomer: setup ## how long everything takes from a clean clone to the report, by stage
	@$(RUN) python bench/newcomer.py

lint: venv ## style, types, stripped notebooks
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --quiet --check .
	@$(RUN) mypy --no-error-summary
	@$(if $(NOTEBOOKS),$(RUN) nbstripout --verify $(NOTEBOOKS))

format: venv ## put code and notebooks into the house style
	@$(RUN) ruff check --quiet --fix .
	@$(RUN) ruff format --quiet .
	@$(if $(NOTEBOOKS),$(RUN) nbstripout $(NOTEBOOKS))

lock: ## pin all packages anew (LOCK_OPTIONS=--upgrade for the newest)
	@$(PYTHON) tools/lock.py $(LOCK_OPTIONS)

licences: venv ## licence of every locked package
	@$(RUN) python tools/licences.py

clean: ## remove report/, results/ and tool caches; MD in runs/ and GROMACS stay
	@rm -rf report results .mypy_cache .ruff_cache .pytest_cache .hypothesis
