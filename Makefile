# Every task of this project. "make help" lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
TORCH_ARGS ?=
DATA ?=
OUT ?=
JOBS ?= 2
SEEDS ?= 1
STORE ?=
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo demo-table test test-all lint types format bench clean

help:  ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP)  ## make .venv and install lungdet with its test tools

# torch first, and only where none is there: it is large, and which build is
# right (CPU, CUDA version) is the machine's business. For a CPU build:
#   make install TORCH_ARGS='--index-url https://download.pytorch.org/whl/cpu'
$(STAMP): setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import torch' 2>/dev/null || \
	  $(BIN)/python -m pip install -q $(TORCH_ARGS) '$(TORCH)'
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	# yapf, of mmengine, writes a cache that two test workers must not share
	$(BIN)/python -c 'import mmengine'
	touch $@

demo: install  ## phantoms (or DATA=/path/to/LUNA16): prepare, train, test
	$(BIN)/python tools/demo.py --jobs $(JOBS) \
	  $(if $(OUT),--out '$(OUT)') $(if $(DATA),--data '$(DATA)')

demo-table: install  ## BASE, QAM, QAM+MG on the phantoms (SEEDS=3 for more)
	$(BIN)/python tools/demo.py --jobs $(JOBS) --table --seeds $(SEEDS) \
	  $(if $(OUT),--out '$(OUT)') $(if $(DATA),--data '$(DATA)')

test: install  ## the suite a contributor runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m 'not slow and not gpu'

test-all: install  ## the slow tests too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m 'not gpu'

lint: install  ## ruff: style and errors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check lungdet tests tools benchmarks

types: install  ## mypy
	$(BIN)/mypy

format: install  ## let ruff rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format lungdet tests tools benchmarks

bench: install  ## costs, as ratios of one run (STORE=/prepared/cases)
	$(BIN)/python -m benchmarks.run $(if $(STORE),--store '$(STORE)')
	$(BIN)/python -m benchmarks.froc
	$(BIN)/python -m benchmarks.pretraining
	$(BIN)/python -m benchmarks.attention
	$(BIN)/python -m benchmarks.threads
	$(BIN)/python -m benchmarks.demo

clean:  ## remove what the tasks made
	rm -rf $(VENV) build work_dirs .pytest_cache .mypy_cache .ruff_cache
