# SPDX-License-Identifier: MIT OR Apache-2.0
# The front door. Each target installs what it needs on a fresh Debian 12 (as root), then asks CMake.
#   make build      release build: build/freshet, build/libfreshet.{a,so}
#   make run        build, then a generated network served on 127.0.0.1:8787
#   make test       everything built with gcc, all tests
#   make test-asan  clang, AddressSanitizer and UndefinedBehaviorSanitizer, all but the slow tests
#   make test-tsan  clang, ThreadSanitizer, all but the slow tests
#   make test-partners  beside other people's programs: FR_PDS=FOLDER (see tests/partner_pds_test.py)
#   make test-peers repositories against other people's implementations, PEER_CASES (500) of them (tests/peers)
#   make fuzz       every fuzz target for FUZZ_SECONDS (60)
#   make bench      every bench, with machine and commit
#   make install    into PREFIX (/usr/local), under DESTDIR when given
#   make format     rewrites sources by .clang-format;  make tidy  checks format and clang-tidy
#   make clean      removes build folders
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
PEER_CASES ?= 500
JOBS ?= $(shell nproc)
CMAKE_BUILD = cmake --build --preset $(1) -- -j $(JOBS)

.PHONY: build run test test-asan test-tsan test-partners test-peers fuzz bench install format tidy clean
.DEFAULT_GOAL := build

build:
	@tools/setup.sh build
	@cmake --preset release -DCMAKE_INSTALL_PREFIX=$(PREFIX) --log-level=NOTICE >/dev/null
	@$(call CMAKE_BUILD,release)

run: build
	@build/freshet demo

test:
	@tools/setup.sh build test
	@cmake --preset gcc --log-level=NOTICE >/dev/null
	@$(call CMAKE_BUILD,gcc)
	@ctest --preset gcc

test-asan test-tsan: test-%:
	@tools/setup.sh build test clang
	@cmake --preset $* --log-level=NOTICE >/dev/null
	@$(call CMAKE_BUILD,$*)
	@ctest --preset $*

test-partners: build
	@tools/setup.sh test
	@FRESHET=build/freshet FR_PDS=$(FR_PDS) python3 -B tests/partner_pds_test.py

test-peers:
	@tools/setup.sh build test
	@cmake --preset gcc --log-level=NOTICE >/dev/null
	@cmake --build --preset gcc --target peer_ours -- -j $(JOBS)
	@tests/peers/run.py --ours build-gcc/peer_ours --count $(PEER_CASES) || [ $$? = 77 ]

fuzz:
	@tools/setup.sh build clang
	@cmake --preset fuzz --log-level=NOTICE >/dev/null
	@$(call CMAKE_BUILD,fuzz)
	@tools/fuzz.sh build-fuzz $(FUZZ_SECONDS) $(JOBS)

bench: build
	@cmake --build build --target benches -- -j $(JOBS)
	@tools/bench.sh build

install: build
	@cmake --install build

format:
	@tools/setup.sh style
	@tools/format.sh --write

tidy:
	@tools/setup.sh build clang style
	@tools/format.sh --check
	@cmake --preset clang --log-level=NOTICE >/dev/null
	@tools/tidy.sh build-clang $(JOBS)

clean:
	@rm -rf build build-gcc build-clang build-asan build-tsan build-fuzz
