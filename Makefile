# `make help` lists the targets. Each does the set-up that it needs.
.DEFAULT_GOAL := help
PYTHON_IN := .venv/bin/python
OLDEST_IN := .venv-oldest/bin/python
# Byte code, for the many processes that tests start: without it a worker takes three times as long to
# start, whatever the machine's environment says. No file of it in the tree or in the projects that
# tests make. Of these nothing is kept.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.pycache
unexport PYTHONDONTWRITEBYTECODE
# Tests wait for processes most of the time: more of them at once than there are cores.
JOBS ?= 4
# Beside `newest`, which takes longer.
JOBS_BESIDE ?= 2
PYTEST := -m pytest -q --durations=15 --dist worksteal
# Python's own measuring of lines (3.12 and later) costs a quarter of the tracer's.
CORE = $$($(PYTHON_IN) -c 'import sys; print("sysmon" if hasattr(sys, "monitoring") else "ctrace")')
# Whole crawls that go through the parts of Scrapy that changed between the oldest and the newest supported one.
OLDEST_E2E := tests/e2e/test_promises.py tests/e2e/test_retries.py tests/e2e/test_failing_sites.py tests/e2e/test_ways.py \
	tests/e2e/test_early_stop.py tests/e2e/test_dead_bodies.py tests/e2e/test_transactions.py \
	tests/e2e/test_hanging_callbacks.py tests/e2e/test_feeds.py::test_all_that_feeds_can_do_is_as_in_scrapy \
	tests/e2e/test_feeds.py::test_csv_loses_nothing tests/e2e/test_feeds.py::test_a_full_disk_is_told_and_its_pages_are_kept \
	tests/e2e/test_feeds.py::test_a_workers_own_part_works_on_memory \
	tests/e2e/test_stored_items.py::test_a_sink_that_restarts_and_one_that_is_away_at_the_end \
	tests/e2e/test_stored_items.py::test_an_ordinary_project_with_feeds_and_a_pipeline_of_its_own

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## virtual environments and servers for tests
	@tools/setup.sh test

crawl: ## crawl Python's documentation, served here; WORKERS=3 BACKEND=redis://localhost:6379/0 PAGES=3000 OUT=crawl-output
	@tools/setup.sh crawl
	@tools/crawl.sh

quick: setup ## unit tests but the slow ones, and the conformance suite on the in-process backend, within 30 s
	$(PYTHON_IN) -m pytest -q -n 2 --dist worksteal tests/unit tests/conformance -m "not redis and not slow"

# In a fresh clone each of the processes that share the tests would rewrite the assertions of all files, 18 seconds of a
# processor each: one process of each Python does, before. What fails here fails again there, and says so.
.pycache/rewritten: | setup
	@for python in $(PYTHON_IN) $(OLDEST_IN); do $$python -m pytest -qq --collect-only >/dev/null 2>&1 & done; wait
	@touch $@

test: setup .pycache/rewritten ## everything, 16 to 18 minutes on two cores; CONTRIBUTING.md has the phases
	@rm -rf .coverage .coverage.*
	@[ ! -d .pycache ] || find .pycache -type d -name 'pytest-of-*' -prune -exec rm -rf {} +
	@$(MAKE) --no-print-directory -j 2 -O lint types newest docs wheel-test scrapy-quick oldest
	@$(MAKE) --no-print-directory alone report

newest: setup ## all tests but those that want the machine to themselves, measured
	COVERAGE_CORE=$(CORE) $(PYTHON_IN) -m coverage run $(PYTEST) -n $(JOBS) -m "not alone"

# Beside one another they leave a machine of two cores idle half of the time; but for the one that starts
# a crawl every second. Only their files: to collect all tests would take longer than the half of these.
GREEDY := tests/e2e/test_cron_leaders.py
ALONE = $(filter-out $(GREEDY),$(shell grep -rlF --include='test_*.py' 'mark.alone' tests))
alone: setup ## tests whose figures need the machine to themselves
	COVERAGE_CORE=$(CORE) $(PYTHON_IN) -m coverage run $(PYTEST) -n 2 -m alone $(ALONE)
	COVERAGE_CORE=$(CORE) $(PYTHON_IN) -m coverage run $(PYTEST) $(GREEDY)

report: setup ## what was measured
	$(PYTHON_IN) -m coverage combine -q
	$(PYTHON_IN) -m coverage report

CRON_ON_OLDEST := tests/simulation/test_cron_simulation.py::test_what_must_hold_in_every_schedule
# The units, the workers and the rules, as Python and Scrapy differ in many small things
# (cancellation before 3.12, dates, TOML, hooks into the engine, callback output). Not once more here:
# what servers do (a cluster as well): the rules of the backends are those of memory here, and the workers', the integration
# tests' and the crawls' backend is Redis; with the oldest clients of Redis and Kafka, make soak SOAK=servers-oldest has the
# rest. Crawls, but for OLDEST_E2E, meet the same Scrapy by the same hooks; long series of random examples find the same in
# any Python.
# What judges the files of this project, and runs none of its code, judges the same files.
OF_FILES := architecture contributing differences docs_messages docs_pages lua_mutants wheel_contents
oldest: setup ## what may differ on the oldest Python found here, the oldest Scrapy and other dependencies supported
	$(OLDEST_IN) $(PYTEST) -n $(JOBS_BESIDE) -m "not alone and not other_server and not slow" -k "not cluster and not random_turns and not (conformance and redis)" $(OF_FILES:%=--ignore=tests/unit/test_%.py) tests/unit tests/conformance tests/integration $(CRON_ON_OLDEST) $(OLDEST_E2E)

soak: setup ## the long forms, an hour and more: ten seeds of chaos, …; SOAK="chaos" for some of them
	$(PYTHON_IN) -m tests.soak $(SOAK)

wheel-test: setup ## build the wheel; test it, not the tree, in an environment of its own
	tools/wheel_test.sh

scrapy-quick: setup ## those of Scrapy's own tests that crawl, with the add-on on, of the newest version
	tools/scrapy_tests.sh newest quick

scrapy-tests: setup ## Scrapy's own tests with the add-on on, of the newest and the oldest version supported; CONTRIBUTING.md says more
	tools/scrapy_tests.sh newest
	tools/scrapy_tests.sh oldest

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
	rm -rf build dist .pycache .venv .venv-oldest .venv-servers .venv-wheel .venv-scrapy-suite .kafka .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* docs/_build crawl-output *.egg-info

.PHONY: help setup crawl quick test newest alone report oldest soak wheel-test scrapy-quick scrapy-tests template-test lint types docs bench bench-quick clean
