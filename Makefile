# Every target works as the first command after a clone: it makes the virtual environment it needs.
.DEFAULT_GOAL := help
.PHONY: help up check test crash-matrix kill-trial load soak broken-guards soak-calendar takeover-trial coverage mutants metrics-code walk bench curves scaling cluster bench-backup growth audit-dependencies board-pictures lint lint-php test-php phpstan types \
	format lock clean espocrm-extension espocrm-report

# Where it is set, each of the many processes that the tests start would compile the whole project.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { echo $$p; break; }; done)
PYTEST_WORKERS ?= 4
SCENARIOS ?= 500
TIMES ?= 100
CALENDAR_SCENARIOS ?= 300
COVERAGE_TESTS ?= tests
MUTANTS_PATHS ?= services/values/merge.py
MUTANTS_TESTS ?=
MUTANTS_MINUTES ?= 30
SOAK = HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest --numprocesses 0 --override-ini timeout=0 --exitfirst

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.runtime: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found on PATH."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "This Python cannot make virtual environments: install its venv module (Debian: python3-venv)."; exit 1; }
	@echo "Installing the pinned dependencies into $(VENV) (once, about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.bench: $(VENV)/.development requirements-bench.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock
	@touch $@

up: $(VENV)/.runtime ## run the whole system here until Ctrl-C
	@$(BIN)/bitbylaw up

check: $(VENV)/.runtime ## run the system, verify the sample flow, stop; exit status 0 or 1
	@$(BIN)/bitbylaw up --check

test: $(VENV)/.development ## all tests
	@$(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) --dist loadgroup

crash-matrix: $(VENV)/.development ## a worker is killed at each write of each flow, at four points (10 minutes)
	@CRASH_MATRIX=all $(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) --override-ini timeout=0 tests/reliability/crash_matrix

kill-trial: $(VENV)/.development ## kill -9 of everything at once under load, TIMES times (TIMES=100, SEED=1)
	@$(BIN)/python -W ignore tools/kill_trial.py --times $(TIMES) --seed $(or $(SEED),1)

load: $(VENV)/.development ## 10,000 events at once on two workers while the systems are slow and failing (15 minutes; LOAD="--events 200 --records 10")
	@$(BIN)/python -W ignore tools/load_trial.py $(LOAD)

soak: $(VENV)/.development ## HOURS=1: the whole firm for an hour, in JOBS=2 processes; without: the two searches (SCENARIOS=500, CALENDAR_SCENARIOS=300)
ifdef HOURS
	@$(BIN)/python -W ignore tools/simulation.py --hours $(HOURS) --jobs $(or $(JOBS),2) --first $(or $(SEED),$$(date +%s))
else
	@SOAK_SCENARIOS=$(SCENARIOS) $(SOAK) tests/integration/test_hostile_simulation.py
	@$(MAKE) --no-print-directory soak-calendar
endif

broken-guards: $(VENV)/.development ## break a guard of each promise in a copy; how soon does the simulation notice (docs/reliability.md)
	@$(BIN)/python -W ignore tools/broken_guards.py $(if $(ONLY),--only "$(ONLY)")

soak-calendar: $(VENV)/.development ## the calendar's share of it (CALENDAR_SCENARIOS=300, CALENDAR_KINDS=all)
	@SOAK_SCENARIOS=$(CALENDAR_SCENARIOS) $(SOAK) tests/integration/test_calendar_stateful.py

takeover-trial: $(VENV)/.development ## the evening of the switch: a firm of 3,000 Beteiligte and 10,000 Termine (TRIAL="--termine 300")
	@$(BIN)/python tools/takeover_trial.py $(TRIAL)

coverage: $(VENV)/.development ## which lines and branches tests reach (COVERAGE_TESTS=tests/unit); html in .local/coverage
	@$(BIN)/python -m pytest $(COVERAGE_TESTS) --numprocesses $(PYTEST_WORKERS) --dist loadgroup \
		--cov --cov-report=term --cov-report=html

mutants: $(VENV)/.development ## do tests notice a changed program (MUTANTS_PATHS=services/values/merge.py, MUTANTS_MINUTES=30)
	@$(BIN)/python tools/mutants.py --tests "$(MUTANTS_TESTS)" --minutes $(MUTANTS_MINUTES) $(MUTANTS_PATHS)

metrics-code: $(VENV)/.development ## how dense the code is, and the functions that are too complex
	@$(BIN)/python tools/code_metrics.py --list

walk: $(VENV)/.development ## follow one Beteiligter and one calendar event through services/: files, functions, hops
	@$(BIN)/python tools/walk.py

bench: $(VENV)/.bench ## how fast everything is, beside its peers; writes docs/benchmarks.md (ONLY=webhook,queue; SMALL=1: only that it works; LONG=1; REAL=1)
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(SMALL),--small) $(if $(LONG),--long) $(if $(REAL),--real)

curves: $(VENV)/.development ## what crons, board and audit read at 100 to 100,000 records; writes docs/scaling.md
	@$(BIN)/python -m benchmarks.curves

scaling: $(VENV)/.development ## a day of many firms, records or calendars: what breaks first; writes docs/scaling.md
	@$(BIN)/python -m benchmarks.scaling

cluster: $(VENV)/.development ## one and two real engines (III_ENGINE_BIN) with a worker each on RabbitMQ (must be installed) and Redis
	@$(BIN)/python -m benchmarks.cluster

bench-backup: $(VENV)/.development ## how long backup and restore take (RECORDS=100000); no part of the gate
	@PYTHONPATH=. $(BIN)/python tools/bench_backup.py $(or $(RECORDS),100000)

growth: $(VENV)/.development ## what grows per 1,000 events, on a whole system with twins (EVENTS=1000); no part of the gate
	@PYTHONPATH=. $(BIN)/python tools/growth.py $(or $(EVENTS),1000)

audit-dependencies: $(VENV)/.development ## known vulnerabilities of the pinned dependencies; says so if no service can be reached
	@test -x .local/audit/bin/pip-audit || { $(BIN)/python -m venv .local/audit && .local/audit/bin/pip install --quiet pip-audit==2.10.1; } \
		|| echo "pip-audit could not be installed"
	@.local/audit/bin/python tools/audit_dependencies.py

board-pictures: $(VENV)/.development ## pictures of all pages of the board, both sizes, light and dark, in docs/images/board
	@BOARD_PICTURES=docs/images/board $(BIN)/python -m pytest --numprocesses 0 -k pictures tests/board/test_browser.py

# What does not fit into a line has one argument a line; the formatter keeps that where a comma ends the list.
ONE_A_LINE := --quiet --select COM812 config.py services local_engine sandbox board cli steps tools

lint: $(VENV)/.development ## formatting, lint, security rules, import layers, word list
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/ruff check $(ONE_A_LINE) && $(BIN)/lint-imports --no-cache \
		&& $(BIN)/bandit --quiet --recursive --configfile pyproject.toml config.py services local_engine sandbox board cli steps tools \
		&& $(BIN)/python tools/check_words.py && echo "lint: ok"

lint-php: ## syntax of the EspoCRM extension; needs PHP (Debian: php-cli)
	@command -v php >/dev/null || { echo "PHP was not found: install php-cli."; exit 1; }
	@find espocrm-extension -name '*.php' -print0 | xargs -0 -n 1 php -l | grep -v '^No syntax errors' && exit 1 || echo "lint-php: ok"

test-php: ## PHPUnit tests of the EspoCRM extension against the EspoCRM in ESPOCRM_SOURCE; needs PHPUnit (Debian: phpunit)
	@command -v phpunit >/dev/null || { echo "PHPUnit was not found: install phpunit."; exit 1; }
	@test -f "$(ESPOCRM_SOURCE)/vendor/autoload.php" || { echo "ESPOCRM_SOURCE must name the folder of an EspoCRM."; exit 1; }
	@cd espocrm-extension && phpunit

phpstan: ## static types of the EspoCRM extension against the EspoCRM in ESPOCRM_SOURCE; needs phpstan on PATH
	@command -v phpstan >/dev/null || { echo "phpstan was not found on PATH."; exit 1; }
	@test -f "$(ESPOCRM_SOURCE)/vendor/autoload.php" || { echo "ESPOCRM_SOURCE must name the folder of an EspoCRM."; exit 1; }
	@cd espocrm-extension && phpstan analyse --no-progress

types: $(VENV)/.development ## static types
	@$(BIN)/mypy

format: $(VENV)/.development ## rewrite the code in the project's format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/ruff check --fix $(ONE_A_LINE) && $(BIN)/ruff format .

espocrm-extension: ## the installable EspoCRM package, espocrm-extension/build/bitbylaw-<version>.zip
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found on PATH."; exit 1; }
	@$(PYTHON) espocrm-extension/build.py

espocrm-report: $(VENV)/.development ## drive the EspoCRM in ESPOCRM_TEST_URL through all cases; result in docs/espocrm.md
	@$(BIN)/python tests/espocrm/report.py

lock: ## resolve the newest versions that fit pyproject.toml into the lock files
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-annotate --no-header \
		pyproject.toml --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--extra dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--extra bench --constraint requirements.lock pyproject.toml --output-file requirements-bench.lock

clean: ## remove what was installed and all local data
	rm -rf $(VENV) .local .mypy_cache .pytest_cache .ruff_cache
