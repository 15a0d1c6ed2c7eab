# The commands for people. `make help` lists them.
#
# Needs git and make; scripts/install installs everything else that is missing.

# Erlang reads file names and source as UTF-8 only if the locale says so.
export LC_ALL := C.UTF-8
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
# "make prop" and "make prop RUNS=20000".
.PHONY: help build run test test-tls crash test-observer screenshots prop demo lint format options functions metrics asan tsan coverage fuzz bench docs install uninstall deb deb-check clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## installs missing packages, and builds
	@scripts/install run
	@mix compile </dev/null

run: ## opens IEx with the application running; evaluates standard input if it is not a terminal
	@scripts/install run
	@scripts/run

test: ## runs every test, and lint
	@scripts/install test
	@scripts/test

test-tls: ## the whole conformance suite with all nodes over TLS 1.3, then over TLS 1.2; a part of it is in make test
	@scripts/install test
	@scripts/test tls-all

crash: ## kills, power cuts and failing disks under durable buckets, for an hour; KV_KILLS, KV_CRASHES, KV_CUTS: scripts/crash
	@scripts/install crash
	@scripts/crash

prop: ## RUNS random programs against the model of buckets and clients
	@scripts/install test
	@RUNS=$(or $(RUNS),100000) scripts/with-epmd rebar3 ct --readable=true --suite test/conformance/kv_model_SUITE

test-observer: ## the real Observer, under a virtual display, looks at both nodes
	@scripts/install test
	@scripts/test observer

screenshots: ## the same, and writes its pictures to docs/images
	@scripts/install screenshots
	@KV_IMAGES="$$PWD/docs/images" scripts/test observer

demo: ## the tour: makes buckets, kills everything there is to kill, and tells what recovered and how soon
	@scripts/install run
	@mix compile </dev/null
	@mix run --no-compile scripts/demo.exs </dev/null

lint: ## checks format, arrows between rooms, links of documents, clang-tidy, xref and dialyzer
	@scripts/install test
	@$(MAKE) -C c_src
	@scripts/arrows
	@scripts/docs check
	@$(MAKE) -C c_src lint
	@$(MAKE) -C bench/c lint
	@mix format --check-formatted
	@rebar3 xref
	@scripts/dialyzer

format: ## formats C and Elixir
	@scripts/install test
	@$(MAKE) -C c_src format
	@$(MAKE) -C bench/c format
	@mix format

asan: ## the C tests under the address and undefined behaviour sanitizers
	@scripts/install test
	@$(MAKE) -C c_src asan

tsan: ## what threads share, under the thread sanitizer
	@scripts/install test
	@$(MAKE) -C c_src tsan

coverage: ## percent of each C room's lines that the C tests run
	@scripts/install test
	@$(MAKE) -C c_src coverage

options: ## writes the table of options into its documents, and into the manual page
	@scripts/install run
	@mix compile </dev/null
	@mix run --no-start scripts/options.exs
	@scripts/man >_build/kv_node.1 && mv _build/kv_node.1 man/kv_node.1

functions: ## writes docs/functions.md: the functions that other nodes may call on the C node
	@$(MAKE) build
	@KV_WRITE_FUNCTIONS=1 scripts/with-epmd mix test test/kv/functions_test.exs

fuzz: ## FUZZ_RUNS random inputs for each decoder
	@scripts/install fuzz
	@$(MAKE) -C c_src fuzz

metrics: ## writes the list of figures into docs/metrics.md
	@$(MAKE) build
	@KV_WRITE_METRICS=1 scripts/with-epmd mix test test/kv/metrics_test.exs

bench: ## measures kv against other tables and Redis; ONLY=calls,memory for parts, QUICK=1 for a short run: bench/README.md
	@scripts/install bench
	@scripts/bench

docs: ## checks the documents, runs their examples, and writes them and the reference as HTML to _build/docs
	@scripts/install docs
	@mix compile </dev/null
	@scripts/docs html

install: ## installs program, manual page, unit of systemd, libkv.a and headers under DESTDIR and PREFIX
	@$(MAKE) -C c_src install

uninstall: ## removes what make install has installed, with the same DESTDIR and PREFIX
	@$(MAKE) -C c_src uninstall

deb: ## builds the Debian package of the node as a service, into _build/deb
	@scripts/install deb
	@scripts/deb

deb-check: ## installs, uses, removes and purges that package in a Debian of its own; needs root
	@scripts/install deb
	@scripts/deb-check

clean: ## removes everything that was built
	@rm -rf _build
	@rm -f priv/kv_node priv/kv_nif.so

include scripts/otp.mk
