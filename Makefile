# Two commands: `make demo` runs the factory's main job, `make test` runs the tests. Both install what is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STORE ?= mathmill-demo
# TORCH_INDEX=https://... is handed to pip, for a build of torch other than the default (on Linux the default is several GB).
TORCH := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help install demo test test-fast lint docs bench-resume bench-grading bench-ledger bench-overhead bench-contamination bench-dedup clean

help:                ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/ -/'

install: $(STAMP)    ## create .venv and install everything (no vLLM)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH) -e '.[local,scale,dev]'
	@touch $@

demo: install        ## run the whole factory on nano models: about five minutes
	$(BIN)/mathmill run tiny --store $(STORE)

test: install        ## run all tests but those that need vLLM
	$(BIN)/python -m pytest -q -m "not vllm"

test-fast: install   ## run the tests that start no server and train nothing
	$(BIN)/python -m pytest -q -m "not vllm and not slow"

lint: install        ## ruff, mypy, import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install        ## write docs/stages.md and docs/data-dictionary.md anew
	$(BIN)/python -m flows.docs

bench-resume: install       ## what kills, edits, new and failing rows cost, beside seven peers
	$(BIN)/python -m benchmarks.resume

bench-grading: install      ## answer verification beside Math-Verify
	$(BIN)/python -m benchmarks.grading

bench-overhead: install     ## what orchestration costs on 30 shards of 10 s
	$(BIN)/python -m benchmarks.overhead

bench-ledger: install       ## the ledger at a million calls
	$(BIN)/python -m benchmarks.ledger

bench-contamination: install  ## the contamination check beside other rules
	$(BIN)/python -m benchmarks.contamination

bench-dedup: install  ## near-duplicates beside datatrove and datasketch
	$(BIN)/python -m benchmarks.dedup

clean:               ## remove the environment and the demo's data
	rm -rf $(VENV) $(STORE)

-include make/*.mk
