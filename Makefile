# The way to build and to try this project. "make" alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help test build lint fuzz bench chaos clean prerequisites vet modules unit fuzz-briefly bench-once ran

# The version is stamped by "build" alone, so that a source tree of somebody else's,
# which git does not trust, builds too.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TARGETS   := linux/amd64 linux/arm64 windows/amd64
FUZZTIME  ?= 10s
BENCH     ?= .
TIMEOUT   ?= 15m

# Everything, and the program that sums the tests up, which ./... does not see.
PACKAGES := ./... ./.ci/report

LINTER_VERSION := v2.15.0
CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/adconnector-test
LINTER := $(CACHE)/golangci-lint-$(LINTER_VERSION)-$(shell go env GOVERSION)/golangci-lint

# What each step of "make test" did, for the summary at its end.
RAN := dist/ran

help: ## List the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 18

test: ## Install what the tests need and run everything; ends with what ran.
	@rm -rf $(RAN) && mkdir -p $(RAN)
	@$(MAKE) --no-print-directory prerequisites vet lint modules build unit chaos fuzz-briefly bench-once ran

build: ## Build the program for every platform into dist/.
	@for target in $(TARGETS); do \
		os=$${target%/*} arch=$${target#*/}; \
		out=dist/adconnector-$$os-$$arch; [ $$os != windows ] || out+=.exe; \
		echo "building $$out"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $$out ./cmd/adconnector; \
	done
	@mkdir -p $(RAN) && echo "builds      $(TARGETS), without cgo" > $(RAN)/4-builds

lint: $(LINTER) ## Look for mistakes and wrong formatting.
	$(LINTER) run $(PACKAGES)
	GOOS=windows $(LINTER) run $(PACKAGES)
	$(LINTER) fmt --diff
	@mkdir -p $(RAN) && echo "linters     golangci-lint $(LINTER_VERSION) for Linux and Windows, formatting" > $(RAN)/2-linters

fuzz: ## Fuzz every target for FUZZTIME (10s).
	@.ci/fuzz $(FUZZTIME)

bench: ## Measure; BENCH is a pattern of names (all).
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

# By itself, and without the race detector, because it judges how long things take.
chaos: ## Do to directories what happens to directories, while people sign in. CHAOS=20000 for so many of them.
	@mkdir -p $(RAN)
	ADCONNECTOR_TEST_ALL=1 ADCONNECTOR_TEST_CHAOS=$(CHAOS) go test -count 1 -v -timeout $(TIMEOUT) -run '^TestChaos' -exec "$(CURDIR)/.ci/as-root" ./connector | tee dist/chaos.txt
	@echo "chaos       $$(grep -c '^ *--- PASS: TestChaos\(/faults\|OfTheHub/blows\)/.*/' dist/chaos.txt) faults of directories" > $(RAN)/8-chaos

clean: ## Remove what was built, here and in the user's cache folder.
	rm -rf dist connector/wsfed/testdata/rp/node_modules $(CACHE)

# Steps of "make test".

prerequisites:
	@.ci/prerequisites

vet:
	go vet $(PACKAGES)
	GOOS=windows go vet $(PACKAGES)
	@echo "go vet      for Linux and Windows" > $(RAN)/1-vet

modules:
	go mod tidy -diff
	go mod verify
	@echo "modules     tidy and as published" > $(RAN)/3-modules

# Nothing may be skipped because it is missing: see dirtest.Missing.
unit:
	ADCONNECTOR_TEST_ALL=1 go test -json -count 1 -race -timeout $(TIMEOUT) -exec "$(CURDIR)/.ci/as-root" $(PACKAGES) | go run ./.ci/report $(RAN)/7-tests

fuzz-briefly:
	@.ci/fuzz 5s $(RAN)/5-fuzz

bench-once:
	ADCONNECTOR_TEST_ALL=1 go test -run '^$$' -bench . -benchtime 1x -exec "$(CURDIR)/.ci/as-root" ./... | tee dist/bench.txt
	@echo "benchmarks  $$(grep -c ' ns/op' dist/bench.txt), once each" > $(RAN)/6-benchmarks

ran:
	@echo; echo "What ran"; cat $(RAN)/*

$(LINTER):
	@echo "building golangci-lint $(LINTER_VERSION), once: this takes a minute or two"
	@mkdir -p $(dir $@)
	GOBIN=$(dir $@) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION)
