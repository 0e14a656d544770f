# SPDX-License-Identifier: Apache-2.0
# Thin targets that call the go command; "make" lists them. Real logic is in Go, under tools/.

# The Go toolchain that go.mod names, downloaded once where the installed one is older.
export GOTOOLCHAIN := auto
# A clone that belongs to another user would stop every build at the version stamp.
export GOFLAGS := -buildvcs=false

ARGS        ?=
FUZZTIME    ?= 30s
FUZZTOTAL   ?= 1h
BENCH       ?= .
COUNT       ?= 6
TESTTIMEOUT ?= 15m
# What "make test-clients" runs, as a regular expression; CLIENTFLAGS=-kafka=false leaves Apache Kafka out.
CLIENTS     ?= .*
CLIENTFLAGS ?=
# RACE=-race adds the race detector, which makes "make test" take some three times as long.
RACE        ?=

# with_rocksdb sets RocksDB up (at once, if it is there) and puts CGO_CFLAGS, CGO_LDFLAGS and TAGS
# into the environment of what follows; TAGS is empty where RocksDB can't be had.
with_rocksdb = env=$$(go run -C tools ./rocksdb) && eval "$$env" &&
tool         = go tool -modfile=tools/go.mod

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: ## the main job: word count over the Go source tree on the bundled broker; more flags by ARGS=
	@$(with_rocksdb) echo "demo: building examples/wordcount" >&2 && \
	go build -tags "$$TAGS" -o bin/wordcount ./examples/wordcount && \
	exec bin/wordcount $(ARGS) "$$(go env GOROOT)/src"

.PHONY: test
test: ## all tests, with checks of invariants
	@$(with_rocksdb) go test $(RACE) -shuffle=on -timeout $(TESTTIMEOUT) -tags "$$TAGS,invariants" ./...
	@$(with_rocksdb) MILLRACE_LINK=records go test $(RACE) -timeout $(TESTTIMEOUT) -tags "$$TAGS,invariants" \
	  ./internal/runtime ./internal/simtest ./examples/...
	@go test -tags failpoint -run 'Hit|Killed' ./internal/failpoint ./broker ./broker/internal/seglog
	@cd tools && go test ./rocksdb ./mutants ./fuzz

.PHONY: test-short
test-short: ## the tests that take no time, without cgo
	CGO_ENABLED=0 go test -short ./...

.PHONY: test-long
test-long: ## all tests, in their long form: more seeds, more kills
	@$(with_rocksdb) MILLRACE_LONG=1 go test -count=1 -shuffle=on -timeout 4h -tags "$$TAGS,invariants" ./...
	@MILLRACE_LONG=1 $(MAKE) failpoints

.PHONY: test-clients
test-clients: ## foreign clients on the bundled broker and on Apache Kafka, see docs/guide/clients.md
	@cd conformance && if go mod download; then \
	  go test -count=1 ./link && \
	  go test -count=1 -v -timeout 40m -parallel 4 -run '^TestClients$$/^all$$/^($(CLIENTS))$$' ./clients $(CLIENTFLAGS); \
	else echo "test-clients: skipped: the Go clients can't be had (go mod download in conformance)"; fi

.PHONY: race
race: ## all tests under the race detector
	@$(with_rocksdb) go test -race -shuffle=on -timeout 1h -tags "$$TAGS,invariants" ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME, none begun after FUZZTOTAL
	@go run -C tools ./fuzz -time $(FUZZTIME) -total $(FUZZTOTAL)

.PHONY: failpoints
failpoints: ## processes that die at named places, and what they leave; MILLRACE_LONG=1: 200 times under load
	@go test -count=1 -timeout 1h -tags failpoint -run 'Hit|Killed' ./internal/failpoint ./broker ./broker/internal/seglog

.PHONY: mutants
mutants: ## deliberate mistakes, each of which a named test must catch
	@go run -C tools ./mutants

.PHONY: bench
bench: bench-programs ## Millrace beside Kafka Streams and the loop by hand, in some 30 minutes; choose by ARGS=
	@mkdir -p benchmarks/results && exec bin/bench -out benchmarks/results/$$(date -u +%Y-%m-%d) $(ARGS)

.PHONY: bench-quick
bench-quick: bench-programs ## the same with a tenth of the records, within 5 minutes, for a look
	@exec bin/bench -quick $(ARGS)

.PHONY: bench-programs
bench-programs:
	@$(with_rocksdb) echo "bench: building the programs" >&2 && \
	go build -tags "$$TAGS" -o bin/millrace ./cmd/millrace && \
	go build -tags "$$TAGS" -o bin/bench-app ./benchmarks/app && \
	go build -o bin/bench ./benchmarks && \
	go test -c -o bin/bench-engine.test ./internal/runtime && \
	cd benchmarks/peers && go build -o ../../bin/bench-byhand ./byhand

.PHONY: bench-go
bench-go: ## micro-benchmarks by BENCH=, COUNT runs; compare two outputs with benchstat
	@$(with_rocksdb) go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -tags "$$TAGS" ./...

.PHONY: build
build: ## bin/millrace
	@$(with_rocksdb) go build -tags "$$TAGS" -o bin/millrace ./cmd/millrace

.PHONY: cross
cross: ## builds and vets without cgo, for this machine and for linux and darwin on arm64
	CGO_ENABLED=0 go build ./... && CGO_ENABLED=0 go vet ./...
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build ./... && CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go vet ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go build ./... && CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go vet ./...

.PHONY: fmt
fmt: ## formats all Go files, imports in three groups
	$(tool) golangci-lint fmt ./...
	cd tools && go tool golangci-lint fmt -c ../.golangci.yml ./...

.PHONY: fmt-check
fmt-check: ## fails if a Go file is not formatted
	@files=$$($(tool) gofumpt -l .) || exit 1; \
	if [ -n "$$files" ]; then printf 'not formatted (make fmt):\n%s\n' "$$files" >&2; exit 1; fi

.PHONY: vet
vet: ## go vet, with all tags
	@$(with_rocksdb) go vet -tags "$$TAGS,invariants" ./... && go vet -tags mutant ./internal/mutant ./broker/... && go vet -tags failpoint ./internal/failpoint ./broker/...
	@cd tools && go vet ./...
	@cd conformance && go vet ./...
	@cd benchmarks/peers && go vet ./...

.PHONY: lint
lint: ## golangci-lint; the first run builds it, which takes minutes
	@$(with_rocksdb) $(tool) golangci-lint run --build-tags "$$TAGS,invariants" ./...
	@cd tools && go tool golangci-lint run -c ../.golangci.yml ./...
	@cd conformance && go tool -modfile=../tools/go.mod golangci-lint run -c ../.golangci.yml ./...
	@cd benchmarks/peers && go tool -modfile=../../tools/go.mod golangci-lint run -c ../../.golangci.yml ./...

.PHONY: vuln
vuln: ## known vulnerabilities, where their data base answers
	@out=$$($(tool) govulncheck ./... 2>&1) || { rc=$$?; case "$$out" in \
	  *"fetching vulnerabilities"*) echo "vuln: skipped: the vulnerability data base does not answer"; exit 0;; \
	  *) printf '%s\n' "$$out"; exit $$rc;; esac; }; printf '%s\n' "$$out"

.PHONY: tidy
tidy: ## go.mod and go.sum of all modules
	go mod tidy
	cd tools && go mod tidy
	cd conformance && go mod tidy
	cd benchmarks/peers && go mod tidy

.PHONY: clean
clean: ## removes bin/; the cache folder stays (see CONTRIBUTING.md)
	rm -rf bin
