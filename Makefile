# Everything a contributor or the CI runs. `make` alone lists it; V=1 shows the commands; see CONTRIBUTING.md.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

V ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(2)'
else
Q :=
say = @:
endif

# K: kernels of the matrix to boot (all without); T: a pytest expression, for the tests to run.
K ?=
T ?=

VENV := .venv/bin
PYTEST := $(VENV)/python -m pytest -q -p no:cacheprovider $(if $(T),-k '$(T)')
BPF_SOURCES := src/fyke/bpf src/fyke/collectors
export V K

# A tier that can't run here is left out with a word to the user, but fails the CI, where nothing may go missing.
left_out = printf '  %-7s %s\n' SKIP '$(1): left out' >&2; \
	if [ -n "$$CI" ] && [ "$$CI" != false ]; then echo 'error: in CI no tier may be left out' >&2; exit 1; fi

.PHONY: help
help:
	@echo 'make demo       real packets through real namespaces, one of them dropped, with the reason (root)'
	@echo 'make test       set-up, checks, and all three tiers of tests'
	@echo 'make check      formats, lint, types, layers'
	@echo 'make test-unit  no root needed      make test-host  live tests on this kernel (root)'
	@echo 'make test-vm    the same live tests in Debian kernels 5.10 to the newest: K="6.1 6.12" chooses'
	@echo 'make test-arm64 some of them in an emulated arm64 machine'
	@echo 'make test-slow  the SQL of the views on Spark, too (Java 17; half a gigabyte is installed once)'
	@echo 'make bpf        the BPF objects     make format     put the sources in shape'
	@echo 'make skips      write down which tests each kernel skips'
	@echo 'make bench      measurements        make clean      remove what was built (.venv stays)'
	@echo 'T=EXPR runs only tests that match, V=1 shows commands.'

.PHONY: setup
setup:
	$(Q)tools/setup.sh all

.PHONY: venv
venv:
	$(Q)tools/setup.sh venv

.PHONY: bpf
bpf: venv
	$(Q)$(VENV)/python src/fyke/bpf/build.py

# For what works without the objects, if less: the unit tier, and the demo, which shows a recording then.
.PHONY: bpf-if-clang
bpf-if-clang: venv
	$(Q)if command -v clang >/dev/null; then $(VENV)/python src/fyke/bpf/build.py; \
	else $(call left_out,BPF objects need clang); fi

.PHONY: demo
demo: setup bpf-if-clang
	$(Q)tools/demo.sh

# ---- checks

.PHONY: check
check: venv
	$(call say,CHECK,ruff format)
	$(Q)$(VENV)/ruff format --quiet --check .  || { $(VENV)/ruff format --check .; echo 'hint: make format' >&2; exit 1; }
	$(call say,CHECK,ruff)
	$(Q)$(VENV)/ruff check --quiet .
	$(call say,CHECK,mypy)
	$(Q)$(VENV)/mypy --no-error-summary
	$(call say,CHECK,import-linter)
	$(Q)out=$$($(VENV)/lint-imports 2>&1) || { echo "$$out"; exit 1; }
	$(Q)if command -v clang-format >/dev/null; then \
		[ '$(V)' != 0 ] || printf '  %-7s %s\n' CHECK clang-format; \
		find $(BPF_SOURCES) -name '*.bpf.[ch]' | xargs clang-format --dry-run -Werror || { echo 'hint: make format' >&2; exit 1; }; \
	else $(call left_out,clang-format is missing); fi

.PHONY: format
format: venv
	$(call say,FORMAT,ruff clang-format)
	$(Q)$(VENV)/ruff format --quiet .
	$(Q)$(VENV)/ruff check --quiet --fix-only .
	$(Q)find $(BPF_SOURCES) -name '*.bpf.[ch]' | xargs clang-format -i

# ---- tests

.PHONY: test
test: setup check test-unit test-host test-vm

.PHONY: test-unit
test-unit: bpf-if-clang
	$(call say,TEST,unit)
	$(Q)$(PYTEST) -n auto --dist worksteal tests/unit tests/vm

# The report is read by the matrix: a test skipped here and in every guest is a test that nobody runs.
.PHONY: test-host
test-host: venv
	$(Q)rm -f build/host.xml
	$(Q)if [ "$$(id -u)" != 0 ]; then $(call left_out,host tests need root); else \
		[ '$(V)' != 0 ] || printf '  %-7s %s\n' TEST "host, Linux $$(uname -r)"; \
		$(MAKE) --no-print-directory bpf && \
		$(PYTEST) --timeout 120 --junit-xml build/host.xml tests/host; fi

.PHONY: test-vm
test-vm: venv
	$(Q)if [ "$$(uname -m)" != x86_64 ]; then $(call left_out,kernel matrix runs on x86_64 only); \
	elif ! command -v qemu-system-x86_64 >/dev/null; then $(call left_out,kernel matrix needs qemu-system-x86); else \
		$(MAKE) --no-print-directory bpf && \
		$(VENV)/python tests/vm/matrix.py $(K) $(if $(T),-k '$(T)'); fi

# The first path on the other architecture, all emulated: a quarter of an hour.
.PHONY: test-arm64
test-arm64:
	$(Q)EXTRA=qemu-system-arm tools/setup.sh all
	$(Q)$(MAKE) --no-print-directory bpf
	$(Q)$(VENV)/python tests/vm/matrix.py arm64 $(if $(T),-k '$(T)')

# What takes long, or needs what nothing else does: Spark, installed once into the user's cache (half a gigabyte).
.PHONY: test-slow
test-slow: venv
	$(Q)if ! command -v java >/dev/null; then $(call left_out,slow tests need Java 17); else \
		[ '$(V)' != 0 ] || printf '  %-7s %s\n' TEST slow; \
		$(PYTEST) --timeout 1800 tests/slow; fi

.PHONY: skips
skips: venv bpf
	$(Q)$(VENV)/python tests/vm/matrix.py --update-skips

.PHONY: bench
bench: setup bpf
	$(Q)PATH="$$PWD/$(VENV):$$PATH" $(VENV)/python -m bench

.PHONY: clean
clean:
	$(Q)rm -rf build dist src/fyke/bpf/objects .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	$(Q)find src tests -name __pycache__ -prune -exec rm -rf {} +
