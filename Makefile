# Everything runs in .venv, which the first command makes. It needs python3 (3.11 or newer) and nothing else.
PYTHON ?= python3
BIN := .venv/bin

GSM8K ?=
LM_EVAL := .venv-lmeval/bin/python

.PHONY: help setup demo test torture crosscheck check sim bench format clean

help:
	@echo "make demo    write some stories and run an evaluation on the built-in endpoint"
	@echo "make test    run the tests"
	@echo "make torture kill -9, full disks, frozen processes, lost servers, every ending: nothing lost, nothing twice (25 minutes)"
	@echo "make crosscheck  lm-evaluation-harness's own code beside ours, and writes down what it says (GSM8K=FOLDER: on the real set)"
	@echo "make check   lint, types, layers, docs"
	@echo "make sim     how well it finds limits, in virtual time: writes the table of docs/limits.md (12 minutes)"
	@echo "make bench   what a row costs, beside others: writes the tables of docs/performance.md (10 minutes)"
	@echo "make format  put the code in order"

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup
	@rm -rf demo && mkdir demo
	$(BIN)/manycall generate -p "Tell a short, gripping story." -n 20 -u sim -m any -o demo/stories.jsonl
	$(BIN)/manycall eval wordmath -u sim -m any -o demo/wordmath.jsonl --min 0.75

test: setup
	$(BIN)/python -m pytest

torture: setup
	PYTHONPATH=tests $(BIN)/python -m torture $(TORTURE)

.venv-lmeval/ready:
	$(PYTHON) -m venv .venv-lmeval
	$(LM_EVAL) -m pip install --quiet --disable-pip-version-check 'lm_eval[api]==0.4.13'
	@touch $@

crosscheck: setup .venv-lmeval/ready
	PYTHONPATH=tests $(BIN)/python -m crosscheck --python $(LM_EVAL) $(if $(GSM8K),--gsm8k $(GSM8K) --record)
	PYTHONPATH=tests $(BIN)/python -m crosscheck.over_http --python $(LM_EVAL) $(if $(GSM8K),--gsm8k $(GSM8K))

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

sim: setup
	$(BIN)/python benchmarks/limits.py --write

bench: setup
	$(BIN)/python benchmarks/bench.py --write $(BENCH)

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .venv-lmeval demo dist build
