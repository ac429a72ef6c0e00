# Each target in one or two lines; `make` alone lists them. PYTHON=python3.12 make env  picks another interpreter.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN := .venv/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=workflow/plugins $(BIN)/snakemake --logger histoweave --cores $(CORES)
SOURCES := Snakefile workflow/rules

.PHONY: help demo test lint bench env env-dev env-r real faults cluster-up cluster-down cluster-test clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 14

demo: env  ## simulate the demo cohort, run everything on it, say where the report is
	$(RUN) all
	@echo "The report: $(CURDIR)/results/report/report.html"

test: env-dev  ## the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES)

lint: env-dev  ## style of code and rules
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/snakefmt --check $(SOURCES) && $(BIN)/snakemake --lint

bench: env-dev  ## speed against peers and physical limits, as ratios
	for b in tests/benchmarks/bench_*.py; do PYTHONPATH=workflow/src:tests OMP_NUM_THREADS=1 $(BIN)/python $$b || exit 1; done

env: .venv/.run  ## the environment alone (.venv, from the lock in envs/)

env-dev: .venv/.dev

env-r: env  ## R with sctransform, only for `expression.sctransform.engine: r`
	bash envs/env_r.sh $(BIN)/python

real: env  ## the same workflow on real data: make real DATA=<folder>
	@test -d "$(DATA)" || { echo "error: say where the data is: make real DATA=<folder>" >&2; exit 2; }
	$(BIN)/python tests/real/prepare.py --data "$(DATA)" --out .real
	set -e; for c in config/real/*.yaml; do $(RUN) --configfile $$c -- all; done

cluster-up:  ## a real Slurm on this machine (Debian, root), for trying the profile
	bash tests/cluster/cluster_up.sh

cluster-down:  ## and its end
	bash tests/cluster/cluster_down.sh

cluster-test: env-dev  ## the workflow on that Slurm: cancelled, refused, out of time, node gone
	$(BIN)/python -m pytest tests/cluster

faults: env-dev  ## every stage killed and every stage's disk filled, then the same bytes
	$(BIN)/python -m pytest tests/faults

clean:  ## remove the demo's results and simulated input
	rm -rf results demo-data

.venv/.base:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "HistoWeave needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv && touch $@

.venv/.run: envs/requirements.txt | .venv/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $< && touch $@

.venv/.dev: envs/requirements-dev.txt .venv/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $< && touch $@
