# `make help` lists the commands. Needs Python 3.11 or newer; everything else goes into .venv.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: help run plan ui test check audit docs bench bench-gpu bench-scale bench-ingest bench-llm bench-serve fuzz-llm bench-cllm4rec lock clean
.DEFAULT_GOAL := help

help:  ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

run: .venv/installed  ## Run the pipeline: the sample, or DATASET=movielens DATA=folder, or CONFIG=file.toml
	@$(BIN)/rlmrec run $(if $(DATASET),--dataset $(DATASET)) $(if $(DATA),--data $(DATA)) \
		$(if $(CONFIG),--config $(CONFIG)) $(ARGS)

plan: .venv/installed  ## Say what the profiles would cost, without asking a model; options as for run
	@$(BIN)/rlmrec plan $(if $(DATASET),--dataset $(DATASET)) $(if $(DATA),--data $(DATA)) \
		$(if $(CONFIG),--config $(CONFIG)) $(ARGS)

ui: .venv/installed  ## Bring up the Prefect server, its UI and a worker; Ctrl-C ends all of it
	@$(BIN)/rlmrec up

test: .venv/installed-dev  ## Run the tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: .venv/installed-dev  ## Check format, style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: .venv/installed-dev  ## Look for known vulnerabilities in what is installed; says so where it cannot look
	@$(BIN)/python -m tests.audit

docs: .venv/installed-dev  ## Build the documentation into build/site; a broken link or an unknown name fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo "build/site/index.html"

bench: .venv/installed  ## Time every backbone and variant: DATA=folder, PEER=checkout of the authors' code
	$(BIN)/python -m tests.benchmarks.training $(or $(DATA),../shared/data/rlmrec-amazon-book) \
		$(if $(PEER),--peer $(PEER)) $(ARGS)

bench-gpu: .venv/installed  ## Measure a GPU, in four minutes: DATA=folder, PEER=checkout, OUT=file
	$(BIN)/python -m tests.benchmarks.gpu $(or $(DATA),../shared/data/rlmrec-amazon-book) \
		$(if $(PEER),--peer $(PEER)) $(if $(OUT),--out $(OUT)) $(ARGS)

bench-scale: .venv/installed  ## Train on synthetic graphs of 1, 2, 4 and 8 million edges
	$(BIN)/python -m tests.benchmarks.scale $(ARGS)

bench-ingest: .venv/installed  ## Read and prepare 2 and 22 million generated reviews: 20 GB under /tmp, an hour at most
	$(BIN)/python -m tests.benchmarks.ingest $(ARGS)

bench-cllm4rec: .venv/installed-dev  ## Time CLLM4Rec's steps against the same steps written down plainly
	$(BIN)/python -m tests.benchmarks.cllm4rec $(ARGS)

bench-llm: .venv/installed-dev  ## Measure the model client against a server of its own: throughput and memory
	$(BIN)/python -m tests.benchmarks.llm $(ARGS)

bench-serve: .venv/installed-dev  ## Load the HTTP service, beside the same products by Faiss
	$(BIN)/python -m tests.benchmarks.serve $(ARGS)

fuzz-llm: .venv/installed-dev  ## Throw a million malformed bodies at the model client
	$(BIN)/python -m tests.benchmarks.fuzz_llm $(ARGS)

lock: .venv/bin/python  ## Write requirements.lock anew: every package of the image with its digests
	$(BIN)/python -m pip --disable-pip-version-check install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra s3 --extra dask -c constraints.txt --generate-hashes --upgrade \
		--python-version 3.12 --python-platform x86_64-manylinux_2_28 --no-emit-index-url --no-header --quiet \
		--output-file build/requirements.lock
	@{ head -1 requirements.lock; cat build/requirements.lock; } > build/lock && mv build/lock requirements.lock

clean:  ## Remove the environment, caches and Prefect's state; artifacts stay
	rm -rf .venv .rlmrec .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing into .venv (a minute or two, once)"
	$(PIP) -e .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e '.[dev]'
	@touch $@
