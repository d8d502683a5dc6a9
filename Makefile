# Two commands on a fresh machine: `make demo` and `make test`. Each makes .venv for itself.
# What a run would cost: make plan ARGS="--configfile config/paper.yaml"
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo plan test lint format docs

demo: .venv/.runtime
	python workflow/scripts/unlock_run.py
	PYTHONPATH=workflow/scripts snakemake --cores all --quiet reason \
	    --logger live --logger-live-typical benchmarks/results/demo.json
	@echo "The report: $(CURDIR)/results/miniature/report/index.html"

plan: .venv/.runtime
	@python workflow/scripts/plan_run.py $(ARGS)

test: .venv/.development
	python -m pytest

lint: .venv/.development
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint

format: .venv/.development
	ruff check --fix .
	ruff format .
	snakefmt Snakefile rules

docs: .venv/.development
	python -m pytest -q tests/unit/test_configuration.py --fix

.venv/.runtime: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	python -m pip install --requirement requirements.txt
	touch $@

.venv/.development: .venv/.runtime requirements-development.txt
	python -m pip install --requirement requirements-development.txt
	touch $@
