# One environment for everything: made once, and again when pyproject.toml changes.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
OPERATIONS ?= 1000000
BIN = $(VENV)/bin
# A group is installed when its stamp is older than pyproject.toml; by uv, as nox does it.
READY = $(VENV)/ready
# pyright looks for packages where the python on the PATH has them.
HERE = PATH="$(abspath $(BIN)):$$PATH"
# The package without its extras, as most type checkers find it; with the types of Django, which has none of its own.
BARE = $(VENV)/bare

.PHONY: demo serve test test-alone test-slow test-all lint docs hooks dist release-check bench staleness plan-check chaos read-your-writes stress moving destructors crash compose clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

demo: $(READY)-demo  ## the four ways to read, side by side, on a real server
	$(BIN)/python -m example_project.demo $(ARGS)

serve: $(READY)-demo  ## the shop, to look at, until Ctrl-C (PORT=8000)
	$(BIN)/python -m example_project.demo --serve $(PORT)

# Four files at a time, even on two cores: the tests wait more than they work. xdist's own -n would start its workers without -X dev,
# and its own order would leave the longest files for the end: tests/conftest.py has them begun first.
WORKERS = --dist loadfile --no-loadscope-reorder --tx "4*popen//python=$(BIN)/python -X dev"
SLOW_WORKERS = --dist loadfile --tx "2*popen//python=$(BIN)/python -X dev"

# Coverage makes the suite half as slow again: it is measured where it is a gate.
COVERAGE = $(if $(CI),--cov --cov-report=term)

test: $(READY)-test  ## the suite without what takes long; three minutes (with CI set, which measures its coverage, four)
	$(BIN)/python -X dev -m pytest $(WORKERS) -m "not slow" $(COVERAGE) $(ARGS)

test-alone: $(READY)-test  ## every promise with PREFETCH off, each key for itself; two minutes
	$(BIN)/python -X dev -m pytest $(WORKERS) -m "not slow" --prefetch 0 tests/promises tests/backends $(ARGS)

test-slow: $(READY)-test  ## the rest of the suite: whole sites, other packages' suites, the documentation's commands
	$(BIN)/python -X dev -m pytest $(SLOW_WORKERS) -m slow $(ARGS)

test-all: $(READY)-matrix dist  ## the suite on the built wheel, on every Python, Django and django-redis (ARGS="--list" names the cells)
	$(BIN)/nox $(ARGS)

lint: $(READY)-lint $(READY)-bare  ## ruff, mypy --strict, pyright, completeness of types, the schemas of .github and .readthedocs.yaml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(HERE) pyright
	$(HERE) pyright --verifytypes tieredcache --ignoreexternal
	PATH="$(abspath $(BARE)/bin):$$PATH" $(BIN)/pyright --verifytypes tieredcache --ignoreexternal
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml

hooks: $(READY)-lint  ## ruff and the rest before each commit, from now on
	$(BIN)/pre-commit install

dist: $(READY)-matrix  ## the wheel and the source distribution
	rm -rf dist
	$(BIN)/python -m build --outdir dist

release-check: $(READY)-release dist  ## all that must hold of the files to publish (ARGS="--release": of a release)
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python -m tests.repository.release dist $(ARGS)
	rm -rf build/clean
	$(BIN)/python -m venv build/clean
	build/clean/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	build/clean/bin/python -I -X dev -W error tests/repository/bare.py

docs: $(READY)-docs  ## the site, into build/docs; a warning is an error
	$(BIN)/python -m sphinx -E -W -n --keep-going -q -d build/doctrees docs build/docs
	@echo "the site: build/docs/index.html"

bench: $(READY)-bench  ## what calls cost, against the floor and the peers; ten minutes (ARGS="--short")
	$(BIN)/python -m benchmarks $(ARGS)

staleness: $(READY)-bench  ## the bound, measured across processes; three minutes (ARGS="--seconds 10")
	$(BIN)/python -m benchmarks.load.staleness $(ARGS)

plan-check: $(READY)-demo  ## what the plan predicts for the demo, and what it does then; two minutes (ARGS="--rate 1")
	$(BIN)/python -m benchmarks.load.plan_check $(ARGS)

chaos: $(READY)-chaos  ## servers broken under traffic, in eight ways; seven minutes (ARGS="--short")
	$(BIN)/python -m benchmarks.load.chaos $(ARGS)

read-your-writes: $(READY)-test  ## a thousand times post, redirect, look: on gunicorn and uvicorn workers
	TURNS=1000 $(BIN)/python -m pytest tests/promises/test_workers.py -q -s

stress: $(READY)-test  ## own writes and lookup tables under threads and tasks, a million operations each (OPERATIONS=100000)
	$(BIN)/python -m tests.stress.races $(OPERATIONS)
	$(BIN)/python -m tests.stress.tables $(OPERATIONS)

moving: $(READY)-test $(READY)-cachex  ## the moving pages, that from django-cachex too: on Python 3.14 (PYTHON=python3.14)
	CACHEX=1 $(BIN)/python -m pytest tests/interop/test_moving.py -q $(ARGS)

destructors: $(READY)-test  ## both backends under values with unruly destructors, half a minute each
	$(BIN)/python -m tests.stress.destructors lru 30
	$(BIN)/python -m tests.stress.destructors tiered 30

crash: $(READY)-test  ## what plain lru-dict does with destructors that yield: it must crash
	$(BIN)/python -m tests.stress.destructors plain 10

$(READY)-%: pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is Python %d.%d: 3.11 or later is needed. Name one: make PYTHON=python3.13 ..." % sys.version_info[:2])'
	@test -x $(BIN)/python || { echo "creating $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "installing the $* group ..."
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.7"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group $*
	@touch $@

$(READY)-bare: $(READY)-lint
	@rm -rf $(BARE)
	@$(BIN)/uv venv --quiet --python $(BIN)/python $(BARE)
	@$(BIN)/uv pip install --quiet --python $(BARE)/bin/python --editable . django-stubs
	@touch $@

compose: $(READY)-test  ## docker-compose.yml run by this machine's Docker, if it has one; two minutes, and the images the first time
	$(BIN)/python -m tests.repository.compose

clean:  ## remove the environment and what the tests left
	rm -rf $(VENV) .nox .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
