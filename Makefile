# routerd: PostgreSQL for every tenant behind one port.
# `make help` lists what there is to do; each target installs what it needs and is missing.

DIR  ?= ./data
PORT ?= 5432
# Anything else for routerd, e.g. make run ARGS="--log-level debug".
ARGS ?=
# How long `make soak` goes on, in minutes.
MINUTES ?= 10
# Which of its parts to run, by a regular expression, e.g. make soak ONLY='chaos|fuzz'.
ONLY ?=
# Where `make install` and `make uninstall` work; DESTDIR, if there is one, goes before it.
PREFIX ?= /usr/local
# Which integration tests to run, e.g. make integration TESTS="-k cancel". Most of them wait most of the time, so three
# go on at once, each file's in one process.
TESTS ?=

SWIFT   ?= swift
SOURCES := Package.swift Sources Tests Benchmarks Examples

.DEFAULT_GOAL := help
.PHONY: help run build install uninstall deb test unit threads gate integration soak docs lint format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: build ## Build and serve ./data on 127.0.0.1:5432 (DIR=, PORT=, ARGS= change that)
	@exec .build/release/routerd serve --dir "$(DIR)" --port "$(PORT)" $(ARGS)

build: ## Build the release: .build/release/routerd
	@scripts/install.sh run
	@$(SWIFT) build -c release --static-swift-stdlib --product routerd

install: ## Install what was built, its manual pages and its service (PREFIX=, DESTDIR=)
	@DESTDIR="$(DESTDIR)" scripts/package.sh install "$(PREFIX)"

uninstall: ## Remove what was installed; tenants' data stays (PREFIX=, DESTDIR=)
	@DESTDIR="$(DESTDIR)" scripts/package.sh uninstall "$(PREFIX)"

deb: build ## Make a Debian package: .build/routerd_VERSION_ARCHITECTURE.deb
	@scripts/package.sh deb .build

test: lint unit threads gate integration ## Check the format, build without warnings, run every test

unit: ## Build without warnings and run the Swift tests
	@scripts/install.sh run
	@scripts/build-tests.sh
	@$(SWIFT) test --skip-build

threads: ## Run the reactor's tests under the thread sanitizer
	@scripts/install.sh run
	@scripts/threads.sh

gate: ## Count what a release spends on a message: memory and references none, system calls no more than said
	@scripts/install.sh test
	@ROUTERD_HOT_PATH=1 $(SWIFT) build -c release --scratch-path .build/gate --product HotPath
	@ROUTERD_BINARY=.build/gate/release/HotPath .venv/bin/python -m pytest Tests/integration/test_hot_path.py

integration: ## Run the black-box tests on the debug program (TESTS= selects)
	@scripts/install.sh test
	@scripts/build-tests.sh
	@.venv/bin/python -m pytest Tests/integration --numprocesses 3 --dist loadfile $(TESTS)

soak: ## Run the long versions of the tests for MINUTES=10 or longer (ONLY= selects)
	@scripts/install.sh soak
	@scripts/build-tests.sh
	@scripts/soak.sh "$(MINUTES)" "$(ONLY)"

docs: ## Compile the library's documentation to .build/docs/TenantRouter.doccarchive; a warning is an error
	@scripts/install.sh run
	@scripts/docs.sh

lint: ## Check the format of every source file
	@$(SWIFT) format lint --strict --parallel --recursive $(SOURCES)

format: ## Format every source file in place
	@$(SWIFT) format --in-place --parallel --recursive $(SOURCES)

clean: ## Remove what was built and installed privately; tenants' data stays
	rm -rf .build .venv .pytest_cache
