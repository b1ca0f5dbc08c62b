# Targets of this repository; `make help` lists them. Tools are pinned here and are not dependencies of the module.
GOFUMPT      = go run mvdan.cc/gofumpt@v0.12.0
GOLANGCI     = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK  = go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The race detector needs a C compiler; without one the tests run without it.
RACE := $(shell command -v $$(go env CC) >/dev/null 2>&1 && echo -race)

# PostgreSQL's grammar is WebAssembly, which the race detector makes ten times as slow; where there is a C compiler, the tests use its C form: not
# optimised, which would take a minute longer than it saves.
GRAMMAR := $(if $(RACE),-tags pgquery_cgo)

# A binary of the race detector sleeps for a second before it ends, in case other threads are still at it.
export GORACE ?= atexit_sleep_ms=10

VERSIONS ?= 15 16 17 18
FUZZTIME ?= 5s
PROGRAMS ?= 2000

.DEFAULT_GOAL := help
.PHONY: help build demo demo-app test check fmt fmt-check vet lint vuln tidy-check test-docker test-flaky test-thorough soundness fuzz matrix benchmarks bench-check bench-pgbench bench-proxy bench-baseline clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/interlock
	go build -o bin/interlock ./cmd/interlock

demo: build ## the main job: run every scenario with every defence at every migration
	./bin/interlock run

# APP is node where there is one that is new enough, else go.
APP ?= $(shell node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null && echo node || echo go)
API = scenarios/inspection-api/$(APP)
DEMO = --out interlock-out/demo-app

demo-app: build ## the races of the reference application (APP=node or go) in its own SQL: found, repeated 100 times, and gone from its fixed form
	rm -rf interlock-out/demo-app
	./bin/interlock explore --target $(API)-production.yaml $(DEMO); test $$? = 1
	./bin/interlock replay interlock-out/demo-app/inspection-api-schedules-$(APP)-production-at-2-S2.json --times 100 $(DEMO); test $$? = 1
	./bin/interlock explore --target $(API)-production-sessions.yaml $(DEMO); test $$? = 1
	./bin/interlock explore --target $(API)-retrying-sessions.yaml --faults lost-ack $(DEMO); test $$? = 1
	./bin/interlock explore --target $(API)-idempotent-sessions.yaml --faults lost-ack $(DEMO)
	./bin/interlock explore --target $(API)-fixed.yaml $(DEMO)
	./bin/interlock explore --target $(API)-fixed-sessions.yaml $(DEMO)

test: ## the tests, with the race detector; finds a Postgres itself
	CGO_CFLAGS='-O0 -g0' GOGC=400 go test $(RACE) $(GRAMMAR) -ldflags=-w -vet=off -p 3 -timeout 5m ./...

check: fmt-check vet lint tidy-check test-docker fuzz test-flaky test-thorough vuln ## everything that CI runs besides test
	$(MAKE) soundness PROGRAMS=300

fmt: ## format the code
	$(GOFUMPT) -w .

fmt-check:
	@out=$$($(GOFUMPT) -l .) && test -z "$$out" || { echo "not formatted (make fmt):"; echo "$$out"; exit 1; }

vet:
	go vet ./...

lint: ## golangci-lint, with the short list of .golangci.yml
	$(GOLANGCI) run --allow-parallel-runners ./...

tidy-check:
	go mod tidy -diff

test-docker: build ## the Docker ways and the whole run on each of them; needs a Docker daemon
	INTERLOCK_TEST_DOCKER=1 go test $(RACE) -count 1 -timeout 10m ./harness/server/docker ./harness/server/dockertest ./harness/server/auto
	./bin/interlock run --postgres docker --out interlock-out/docker
	./bin/interlock run --postgres dockertest --out interlock-out/dockertest

test-flaky: ## the concurrent parts, many times over
	go test $(RACE) -count 20 -timeout 10m -run 'Kill|Parallel|Barrier|Play' ./harness/server/local ./harness/stress
	INTERLOCK_TEST_THOROUGH=1 go test $(RACE) -count 5 -timeout 10m -run 'Repeats|Misbehave|Deadlock|Wake' ./harness/explore
	go test $(RACE) -count 4 -timeout 10m ./harness/monitor ./harness/monitor/notify ./harness/monitor/agenda

test-thorough: ## what takes too long for test: every hazard and its safe form through the gate, 50 kills, every way and number of workers, pages in a browser
	INTERLOCK_TEST_KILLS=50 go test -count 1 -timeout 10m -run 'Killed' ./cmd/interlock
	INTERLOCK_TEST_THOROUGH=1 go test -count 1 -timeout 10m ./harness ./harness/gate ./harness/traffic ./harness/ddl ./harness/explore ./harness/wire ./harness/proxy/... ./harness/isolation/... ./harness/populate ./harness/server/dsn ./harness/server/embedded ./harness/server/local ./harness/sched ./harness/target/... ./harness/load ./harness/reproduce ./harness/stress ./harness/monitor ./harness/monitor/notify ./harness/monitor/agenda ./harness/monitor/daemon ./scenarios/...
	INTERLOCK_TEST_THOROUGH=1 INTERLOCK_TEST_SCREENSHOTS=$(CURDIR)/interlock-out/screenshots go test -count 1 -timeout 5m ./reports ./harness/monitor/web
	INTERLOCK_TEST_THOROUGH=1 go test -count 1 -timeout 15m -run 'Scripts' ./cmd/interlock

soundness: ## what the reduction leaves out, against all orders, for PROGRAMS random programs; takes long
	INTERLOCK_SCHED_PROGRAMS=$(PROGRAMS) go test -count 1 -timeout 30m -run 'TestReducedLosesNothing|Counts' ./harness/sched
	INTERLOCK_EXPLORE_PROGRAMS=$(PROGRAMS) go test -count 1 -timeout 120m -v -run TestReducedLosesNothing ./harness/explore

# Go's fuzzing engine may take the end of its own time for a failure, when its deadline is seen by a worker first: then that is all it has to say.
fuzz: ## each fuzz target for FUZZTIME
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z]*' $$package/*_test.go | cut -c 6-); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package >$$log 2>&1; status=$$?; cat $$log; \
			[ $$status -eq 0 ] || grep -A 1 "^--- FAIL: $$target " $$log | grep -qx '    context deadline exceeded' || exit 1; \
		done; \
	done

vuln: ## known vulnerabilities; needs the network
	@$(GOVULNCHECK) ./... || { status=$$?; \
		if [ $$status -eq 3 ]; then exit $$status; fi; echo "govulncheck could not reach its database: not checked"; }

matrix: build ## the short tests and the demo on each of VERSIONS; the binaries are downloaded when they are not there
	@for version in $(VERSIONS); do \
		echo "== PostgreSQL $$version"; \
		./bin/interlock run --postgres embedded --pg-version $$version --out interlock-out/$$version || exit 1; \
		INTERLOCK_TEST_VERSION=$$version go test -short -count 1 -timeout 5m $$(go list ./... | grep -v /harness/target) || exit 1; \
	done

benchmarks: ## the figures of docs/BENCHMARKS.md
	go test -run '^$$' -bench . -benchtime 20x -timeout 30m ./harness/server/... ./scenarios/... ./harness/sched ./harness/wire ./harness/explore ./harness/isolation

bench-pgbench: ## throughput against pgbench -M prepared, in turns; the ratios last
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	go test -run '^$$' -bench Pgbench -benchtime 1x -timeout 15m ./harness/load | tee $$log && \
		awk '/of-pgbench/ { sub(/^BenchmarkPgbench./, ""); sub(/-[0-9]+$$/, "", $$1); for (i = 2; i < NF; i++) if ($$(i + 1) == "of-pgbench") print $$1, $$i }' $$log

bench-proxy: ## the proxy against one that only copies bytes: pgbench with 8 clients, and the latency of one
	go test -run '^$$' -bench Proxy -benchtime 10x -timeout 15m ./harness/proxy

bench-baseline: ## whether a baseline calls an unchanged run slower, and one with a slower operation; 14 minutes
	go test -run '^$$' -bench Baseline -benchtime 20x -timeout 30m -v ./harness/load

clean: ## remove what was built
	rm -rf bin interlock-out
