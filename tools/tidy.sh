#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# tools/tidy.sh BUILD JOBS [FILE...]: clang-tidy over the given or all sources that BUILD compiles. Any finding fails.
# Tests, benches and fuzzers go without the analyzer, which does not know that a failed assertion returns no more.
set -euo pipefail
build=$1 jobs=$2
shift 2
cd "$(dirname "$0")/.."
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
    mapfile -t files < <(find src -type f \( -name '*.c' -o -name '*.cc' \) | sort)
fi
mapfile -t tests < <(printf '%s\n' "${files[@]}" | grep -E '_(test|bench|fuzz)\.c$' || true)
mapfile -t sources < <(printf '%s\n' "${files[@]}" | grep -vE '_(test|bench|fuzz)\.c$' || true)
check() {
    printf '%s\n' "${@:2}" | xargs -r -P "$jobs" -n 4 clang-tidy -p "$build" --quiet --checks="$1" \
        --warnings-as-errors='*' 2> >(grep -vE '^[0-9]+ warnings? (generated|treated)' >&2 || true)
}
check '' "${sources[@]}"
check '-clang-analyzer-*' "${tests[@]}"
echo "tidy: ${#files[@]} files, no finding"
