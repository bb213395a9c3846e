# Two commands matter: `make demo` and `make test`. Each sets up what it needs, once.
SHELL := /bin/sh
RUN := .venv/bin/
TESTS ?= tests
WORKERS ?= 2

.PHONY: help setup browser demo test crash matrix bench coverage lint format requirements schema clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort

setup:  ## install everything from the lock files; does nothing when nothing changed
	@scripts/setup

browser:  ## Debian's chromium, which the tests of pages drive; does nothing where it is installed
	@scripts/chromium

demo: setup  ## the whole story on the local platform, ends by itself
	@$(RUN)python -m demo $(ARGS)

test: setup browser  ## the whole test suite
	@$(RUN)pytest -n $(WORKERS) --dist loadgroup $(TESTS)

crash: setup browser  ## the whole matrices of kills and faults, of which `make test` runs a sample, and the widest checks
	@$(RUN)pytest -n $(WORKERS) --dist loadgroup -m exhaustive -s $(TESTS)

matrix: setup  ## the local platform's contract suites with earlier minor versions of azure-ai-ml
	@scripts/sdk-matrix

bench: setup  ## what the local platform and gates cost on this machine: NAME=champion|durable|load|moved|pending|platform, ARGS for its options
	@$(RUN)python -m bench $(NAME) $(ARGS)

coverage: setup  ## docs/emulator/coverage.md: every operation that the local platform answers
	@$(RUN)python -m emulator.coverage > docs/emulator/coverage.md

lint: setup  ## what CI checks before the tests
	@$(RUN)ruff check .
	@$(RUN)mypy

format: setup  ## mend what ruff can mend
	@$(RUN)ruff check --fix .

requirements: setup  ## requirements.txt (what Azure builds from) out of uv.lock
	@scripts/requirements > requirements.txt

schema: setup  ## the policies' JSON Schema
	@$(RUN)pilotage policy schema > policies/schema.json

clean:  ## remove what setup and runs made
	rm -rf .local .venv .tools .pytest_cache emulator/node/node_modules emulator/images/*/.venv
