#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# tools/fuzz.sh BUILD SECONDS JOBS: runs every fuzz target of BUILD for SECONDS, JOBS at a time. A target starts from
# the seeds beside its source and from what it found before (BUILD/corpus/TARGET); and where the corpora of the tests
# are (FR_CORPUS, else where BUILD's tests find them) from other people's files, which tools/fuzz_seeds.py turns into
# seeds in BUILD/corpora/TARGET. A finding is left in BUILD/findings/ and named, with the end of that target's output;
# the exit is 1.
set -euo pipefail
build=$1 seconds=$2 jobs=$3
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$build/findings" "$build/corpus"
export build seconds top

corpora=${FR_CORPUS:-$(sed -n 's/^FR_CORPUS:[^=]*=//p' "$build/CMakeCache.txt")}
[ ! -d "$corpora" ] || python3 -B "$top/tools/fuzz_seeds.py" "$corpora" "$build/corpora"

# The target is MODULE_NAME_fuzz; its source and seeds are found by the NAME_fuzz part in the module's folder.
seeds_of() {
    find "$top/src" -type d -path "*/seeds/*_fuzz" | while read -r folder; do
        local module
        module=$(basename "$(dirname "$(dirname "$folder")")")
        [ "${module}_$(basename "$folder")" != "$1" ] || echo "$folder"
    done
}

fuzz_one() {
    local target=$1 out="$build/findings/$1.txt" seeds status=0
    mapfile -t seeds < <(seeds_of "$target")
    [ ! -d "$build/corpora/$target" ] || seeds+=("$build/corpora/$target")
    mkdir -p "$build/corpus/$target"
    "$build/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/findings/$target-" "$build/corpus/$target" "${seeds[@]}" >"$out" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        printf 'fuzz: %s FAILED (exit %d)\n' "$target" "$status"
        tail -n 60 "$out"
        return 1
    fi
    printf 'fuzz: %-32s %9s runs, no finding\n' "$target" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$out")"
    rm -f "$out"
}
export -f fuzz_one seeds_of

mapfile -t targets < <(find "$build/fuzz" -maxdepth 1 -type f -name '*_fuzz' -perm -u+x -printf '%f\n' | sort)
[ ${#targets[@]} -gt 0 ] || { echo "fuzz: no targets in $build/fuzz" >&2; exit 1; }
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'fuzz_one {}'
