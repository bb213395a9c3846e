# Two commands matter: `make demo` and `make test`. Each sets up what it needs, once.
SHELL := /bin/sh
RUN := .venv/bin/
TESTS ?= tests
WORKERS ?= 2

.PHONY: help setup demo test lint format requirements schema clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort

setup:  ## install everything from the lock files; does nothing when nothing changed
	@scripts/setup

demo: setup  ## the whole story on the local platform, ends by itself
	@$(RUN)python -m demo $(ARGS)

test: setup  ## the whole test suite
	@$(RUN)pytest -n $(WORKERS) --dist loadgroup $(TESTS)

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
	rm -rf .local .venv .tools emulator/node/node_modules emulator/images/*/.venv
