#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# tools/tidy.sh BUILD JOBS [FILE...]: clang-tidy over the given or all sources that BUILD compiles. Any finding fails.
set -euo pipefail
build=$1 jobs=$2
shift 2
cd "$(dirname "$0")/.."
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
    mapfile -t files < <(find src -type f \( -name '*.c' -o -name '*.cc' \) | sort)
fi
printf '%s\n' "${files[@]}" | xargs -P "$jobs" -n 4 clang-tidy -p "$build" --quiet --warnings-as-errors='*' 2> >(
    grep -vE '^[0-9]+ warnings? (generated|treated)' >&2 || true)
echo "tidy: ${#files[@]} files, no finding"
