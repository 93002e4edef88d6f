#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# tools/bench.sh BUILD: runs every bench of BUILD one after the other, below a line that says where and what.
set -euo pipefail
build=$1
top=$(cd "$(dirname "$0")/.." && pwd)
commit=$(git -C "$top" describe --always --dirty 2>/dev/null || echo "no checkout")
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo)
printf '# freshet %s · %s · %s cores · %s · %s · %s\n' \
    "$commit" "${cpu:-unknown processor}" "$(nproc)" "$memory" "$(uname -sr)" "$(date -u +%Y-%m-%d)"
status=0
while read -r bench; do
    printf '\n## %s\n' "$(basename "$bench")"
    (cd "$top" && FRESHET="$top/$build/freshet" "$bench" </dev/null) || { status=1; echo "bench: $bench FAILED"; }
done < <(find "$top/$build/bench" "$top/bench" -maxdepth 1 -type f \( -name '*_bench' -o -name '*_bench.sh' \
         -o -name '*_bench.py' \) -perm -u+x 2>/dev/null | sort)
exit "$status"
