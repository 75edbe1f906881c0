# Everything a person needs, by name. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

setup: ## make .venv from the pinned lists (again: checks and returns); RLREASON_BUILD=cpu|cuda chooses the list
	@$(PYTHON) scripts/setup.py

demo: setup ## set-up, then the quickstart recipe: five training histories and their report
	@$(BIN)/rlreason run quickstart

test: setup ## set-up, then format, lint, types, the benchmark's ratios (no bar on time) and the default tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/rlreason bench --smoke
	@$(BIN)/python -m pytest

test-slow: setup ## the tests that take minutes or need a real model
	@$(BIN)/python -m pytest -m slow

bench: setup ## the speed of a reinforcement-learning update, by part
	@$(BIN)/rlreason bench rl

clean: ## remove the environment and caches; runs/ is kept
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find rlreason rewards scripts tests -type d -name __pycache__ -prune -exec rm -rf {} +
