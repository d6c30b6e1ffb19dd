# `make help` lists the targets. Each does the set-up that it needs.
.DEFAULT_GOAL := help
PYTHON_IN := .venv/bin/python
OLDEST_IN := .venv-oldest/bin/python
export PYTHONDONTWRITEBYTECODE := 1
# Tests wait for processes most of the time: more of them at once than there are cores.
JOBS ?= 3
# Whole crawls that go through the parts of Scrapy that changed between the oldest and the newest supported one.
OLDEST_E2E := tests/e2e/test_promises.py tests/e2e/test_retries.py tests/e2e/test_failing_sites.py tests/e2e/test_cron_leaders.py

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## virtual environments and servers for tests
	@tools/setup.sh test

crawl: ## crawl Python's documentation, served here; WORKERS=3 BACKEND=redis://localhost:6379/0 PAGES=2000 OUT=crawl-output
	@tools/setup.sh crawl
	@tools/crawl.sh

quick: setup ## unit tests and the conformance suite on the in-process backend, within 30 s
	$(PYTHON_IN) -m pytest -q tests/unit tests/conformance -m "not redis"

test: setup lint types docs ## everything, 15 to 20 minutes on two cores
	rm -f .coverage .coverage.*
	$(PYTHON_IN) -m coverage run -m pytest -q --durations=15 -n $(JOBS) --dist worksteal -m "not alone"
	$(PYTHON_IN) -m coverage run -m pytest -q -m alone
	$(PYTHON_IN) -m coverage combine -q
	$(PYTHON_IN) -m coverage report
	@$(MAKE) --no-print-directory oldest wheel-test

oldest: setup ## the oldest Python found here and the oldest Scrapy supported
	$(OLDEST_IN) -m pytest -q --durations=15 -n $(JOBS) --dist worksteal -m "not alone" tests/unit tests/conformance tests/integration tests/simulation/test_cron_simulation.py $(OLDEST_E2E)

soak: setup ## for hours of quiet: 10,000 schedules of the cron simulator, 200 instants with dying leaders
	$(PYTHON_IN) -m tests.simulation.cron_simulation --schedules 10000
	CHAOS_INSTANTS=200 $(PYTHON_IN) -m pytest -q tests/e2e/test_cron_leaders.py

wheel-test: setup ## build the wheel; test it, not the tree, in an environment of its own
	tools/wheel_test.sh

template-test: setup ## render the project template and crawl with the result
	$(PYTHON_IN) -m pytest -q tests/e2e/test_template.py

lint: setup ## ruff
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: setup ## mypy --strict with mypy-zope
	.venv/bin/mypy

docs: setup ## docs/_build/html, warnings are errors
	.venv/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: ## the figures of docs/benchmarks: an hour and a half
	@tools/setup.sh bench
	$(PYTHON_IN) -m benchmarks all

bench-quick: ## the same in small, within three minutes
	@tools/setup.sh bench
	$(PYTHON_IN) -m benchmarks all --quick

clean: ## what was built; environments too
	rm -rf build dist .venv .venv-oldest .venv-servers .venv-wheel .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* docs/_build crawl-output *.egg-info

.PHONY: help setup crawl quick test soak oldest wheel-test template-test lint types docs bench bench-quick clean
