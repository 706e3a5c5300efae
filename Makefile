# Postern: make help lists what there is to make.
GO ?= go
FUZZTIME ?= 10s
export GO FUZZTIME

build: ## the static binary for this machine: bin/postern
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/postern ./cmd/postern

demo: build ## a hub, a gateway with devices and an operator, all on this machine
	@exec bin/postern demo

test: ## everything: set-up, unit tests, race detector, real servers (YES=1, REQUIRE_PEERS=1)
	@.ci/test

race: ## unit tests under the race detector
	$(GO) test -race -short $$($(GO) list ./... | grep -v -E '/internal/(peertest|integration|bench)$$')

bench: ## rate, latency and memory of the gateway beside a bare responder, on real servers (SOAK=10m)
	@.ci/peers
	POSTERN_BENCH=1 POSTERN_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 60m -run 'Floors$$' ./internal/bench
	@$(MAKE) bench-exi

bench-exi: ## the codec alone: MB/s of XML text, ns and allocations per stanza
	POSTERN_VECTORS="$${POSTERN_VECTORS:-$(wildcard $(CURDIR)/../shared/vectors)}" $(GO) test -run '^$$' -bench . -benchmem ./exi ./exi/exitest ./exi/xmltext ./exi/schemas

bench-scan: ## 200 and 2,000 simulated nodes at 1 s: jitter, CPU, memory with a full read-out of the history (SCAN=1m)
	POSTERN_SCAN=$(or $(SCAN),1m) POSTERN_SCAN_FLOORS=1 $(GO) test -count=1 -v -timeout 60m -run 'TestScan$$' ./internal/integration

bench-idle: ## what a gateway costs that nobody asks: CPU and wake-ups, with the example configuration (IDLE=30s)
	POSTERN_IDLE=$(or $(IDLE),30s) $(GO) test -count=1 -v -run 'TestIdle$$' ./internal/integration

bench-peers: ## the codec beside EXIficient, in one run (needs java and Maven)
	@.ci/bench-peers

replug: ## a Modbus line's adapter unplugged and plugged in 1,000 times without a leak (five minutes; REPLUGS=100)
	POSTERN_REPLUGS=$(or $(REPLUGS),1000) $(GO) test -count=1 -v -timeout 30m -run 'TestReplug' ./drivers/modbus

hil: ## drivers and a gateway on a real arm64 kernel in QEMU (fetches Debian packages the first time)
	@board/hil/run.sh

powercut: ## a gateway whose power is cut N times (5) at random moments, in QEMU, against an outside count
	@POSTERN_CUTS=$(or $(N),5) board/hil/run.sh '^TestPowerCut' 60m

hil-system: ## the package under a real systemd in QEMU: limits, restarts, hangs, a watchdog that resets (root; 5 minutes)
	@POSTERN_HIL_SYSTEM=$$(board/hil/system.sh) board/hil/run.sh '^TestSystemd$$'

fuzz: ## every fuzz target for FUZZTIME
	@.ci/fuzz

lint: ## gofmt, vet, staticcheck, tidy, length of files
	@.ci/lint

cross: ## stripped binaries for arm 6, arm 7, arm64, riscv64, amd64 in dist/
	@.ci/cross

deb: ## Debian packages for armhf, arm64, amd64 in dist/ (needs Go 1.26.4)
	@board/packaging/build.sh deb

tarball: ## static tarballs for arm 6, arm 7, arm64, riscv64, amd64 in dist/
	@board/packaging/build.sh tarball

package-test: ## install, upgrade, remove and purge the package in a Debian of its own (root)
	@board/packaging/test.sh

generate: ## files derived from others: examples, documentation, tables
	$(GO) generate ./...

clean: ## what the targets above left behind
	rm -rf bin dist

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: build demo test race bench bench-exi bench-idle bench-peers bench-scan replug hil hil-system powercut fuzz lint cross deb tarball package-test generate clean help
