# Two commands matter: `make demo` and `make test`. Both set up all they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
EXTRAS := lightgbm,xgboost,sklearn,torch,tune,postgres,s3,redis,kafka,pubsub,avro,grpc,federated,otel,ray,demo
.DEFAULT_GOAL := help

help: ## what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.all: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]' -r requirements-dev.txt
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## the flights project, from raw data to a served and scored model, and airlines that train together
	$(BIN)/fivefold demo demo --airlines

demo-fast: $(VENV)/.demo ## the same on a sixth of the data
	$(BIN)/fivefold demo demo --fast

test: $(VENV)/.all ## every test that belongs to a change
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not long' $(ARGS)

test-long: $(VENV)/.all ## the longer ones as well
	FIVEFOLD_EXAMPLES=explore $(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: $(VENV)/.all ## ruff, mypy strict, and the arrows between the rooms
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.all ## every benchmark; each prints the ratio to its peer and to the limit
	$(BIN)/python benchmarks/asof/run.py
	$(BIN)/python benchmarks/features/lookup.py
	$(BIN)/python benchmarks/first_hour/run.py
	$(BIN)/python benchmarks/features/lookup.py
	$(BIN)/python benchmarks/features/materialise.py
	$(BIN)/python benchmarks/features/freshness.py
	$(BIN)/python benchmarks/features/stream.py
	$(BIN)/python benchmarks/federated/secure_sum.py
	$(BIN)/python benchmarks/rag/grounding.py

clean: ## remove what was made here
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help demo demo-fast test test-long lint bench clean
