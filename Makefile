# Everything runs in .venv, which the first command makes. It needs python3 (3.11 or newer) and nothing else.
# With another Python, in a second environment: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
EXTRAS ?= dev
# Through the environment, so that the versions hold for what builds the package too.
PINS = PIP_CONSTRAINT=$(abspath $(CONSTRAINTS)) PIP_BUILD_CONSTRAINT=$(abspath $(CONSTRAINTS))
PIP = $(PINS) $(BIN)/python -m pip --quiet --disable-pip-version-check
TESTS ?=
WORKERS ?= 2
# Tests that use every dependency, for a run with other versions of them.
DEPENDENCIES := $(patsubst %,tests/test_%.py,batch cli docstrings evals export exports files fuzz launch notebook openai plain_http progress \
	python_api quality row_frames schema store templates transport)

# For make crosscheck: a folder with the real GSM8K; where the code of the other authorities is (downloaded if it is
# missing); responses for each filter.
GSM8K ?=
AUTHORITIES ?= .crosscheck/authorities
COUNT ?= 20000
LM_EVAL := .venv-lmeval/bin/python

.PHONY: help setup demo test lowest lowest-setup lowest-versions package gsm8k mutants torture crosscheck check docs sim workers bench short-runs format clean

help:
	@echo "make demo    write some stories and run an evaluation on the built-in endpoint"
	@echo "make test    run the tests (PYTHON=python3.13 VENV=.venv-3.13: with another Python; TESTS=FILES: only these)"
	@echo "make lowest  run the tests of the dependencies with the lowest versions that pyproject.toml allows"
	@echo "make package build the wheel and the sdist, install and try both elsewhere"
	@echo "make gsm8k   download the pinned GSM8K into data/gsm8k, for the tests that need it"
	@echo "make mutants changes the code in one place at a time and lists what no test notices (a sample, at most 30 minutes; MUTANTS=--help)"
	@echo "make torture kill -9, full disks, frozen processes, lost servers, every ending: nothing lost, nothing twice (50 minutes)"
	@echo "make crosscheck  the code of lm-eval and of the other authorities beside ours, on 20,000 responses for each filter (one to two hours; COUNT=500: for daily use)"
	@echo "make check   lint, types, layers, laws, names, docs, wording"
	@echo "make docs    build the documentation site into site/, and fail on a broken link or anchor (under a minute)"
	@echo "make sim     how well it finds limits, in virtual time: writes the tables of docs/limits.md (25 minutes; SIM=--help)"
	@echo "make workers how well several workers share limits, in virtual time: writes a table of docs/limits.md (10 minutes)"
	@echo "make bench   what a row costs, beside others: writes the tables of docs/performance.md (20 minutes)"
	@echo "make short-runs  whole commands with and without -j, over HTTP: writes a table of docs/performance.md (30 minutes)"
	@echo "make format  put the code in order"

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --editable '.[$(EXTRAS)]'
	@touch $@

demo: setup
	@rm -rf demo && mkdir demo
	$(BIN)/manycall generate -p "Tell a short, gripping story." -n 20 -u sim -m any -o demo/stories.jsonl
	$(BIN)/manycall eval wordmath -u sim -m any -o demo/wordmath.jsonl --fail-under 0.75

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not package' $(TESTS)

LOWEST = VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt EXTRAS=test,datasets,frames,ifeval
lowest:
	$(MAKE) test $(LOWEST) TESTS='$(or $(TESTS),$(DEPENDENCIES))'

lowest-setup:
	$(MAKE) setup $(LOWEST)

# Writes constraints-lowest.txt. Run it after a lower bound has changed. Needs uv.
lowest-versions:
	uv pip compile pyproject.toml --extra dev --extra datasets --extra frames --extra ifeval --extra browser --extra ray --resolution lowest-direct --python-version 3.11 \
		--no-header --no-annotate --quiet --output-file constraints-lowest.txt
	echo hatchling==1.27.0 >> constraints-lowest.txt

package: setup
	$(PINS) $(BIN)/python -m pytest -m package tests/test_package.py

gsm8k: setup
	$(BIN)/python tests/fetch_gsm8k.py data/gsm8k

mutants: setup
	nice $(BIN)/python tests/mutants.py $(MUTANTS)

torture: setup
	PYTHONPATH=tests $(BIN)/python -m torture $(TORTURE)

.venv-lmeval/ready:
	$(PYTHON) -m venv .venv-lmeval
	$(LM_EVAL) -m pip install --quiet --disable-pip-version-check 'lm_eval[api,ifeval,math]==0.4.13' nltk==3.10.4 word2number scipy pydantic
	@touch $@

$(AUTHORITIES)/ready: .venv-lmeval/ready
	@mkdir -p $(AUTHORITIES)
	$(LM_EVAL) tests/crosscheck/fetch_authorities.py $(AUTHORITIES)
	@touch $@

# Finished parts of the long comparison stay in .crosscheck, so that the same command continues after an interruption.
COMPARE = PYTHONPATH=tests nice $(BIN)/python -m
FULL = --python $(LM_EVAL) --count $(COUNT) $(if $(filter 20000,$(COUNT)),--record)
crosscheck: setup .venv-lmeval/ready $(AUTHORITIES)/ready
	$(PIP) install --quiet --editable '.[ifeval,math]'
	$(COMPARE) crosscheck $(FULL) $(if $(GSM8K),--gsm8k $(GSM8K))
	$(COMPARE) crosscheck.choices $(FULL) --authorities $(AUTHORITIES)
	$(COMPARE) crosscheck.texts $(FULL)
	$(COMPARE) crosscheck.graded $(FULL) --authorities $(AUTHORITIES)
	$(COMPARE) crosscheck.variants $(FULL) --authorities $(AUTHORITIES)
	$(COMPARE) crosscheck.over_http --python $(LM_EVAL) $(if $(GSM8K),--gsm8k $(GSM8K))
	$(COMPARE) crosscheck.choices_over_http --python $(LM_EVAL)
	$(COMPARE) crosscheck.texts_over_http --python $(LM_EVAL)
	$(COMPARE) crosscheck.in_parts $(FULL) --keep .crosscheck/parts
	$(COMPARE) crosscheck.at_sim --python $(LM_EVAL)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_structure.py
	$(BIN)/python tests/laws.py
	$(BIN)/python docs/generate.py --check
	$(BIN)/python tests/prose.py

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

sim: setup
	$(BIN)/python benchmarks/limits.py --write $(SIM)

workers: setup
	$(BIN)/python benchmarks/workers.py --write

bench: setup
	$(BIN)/python benchmarks/bench.py --write $(BENCH)

short-runs: setup
	$(BIN)/python benchmarks/short_runs.py --write $(SHORT)

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .venv-* demo dist build site
