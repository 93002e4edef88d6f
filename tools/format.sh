#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# tools/format.sh --check|--write [FILE...]: clang-format over the given or all C and C++ sources.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:---check}
shift || true
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
    mapfile -t files < <(find src include tests bench examples -type f \
                         \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) 2>/dev/null | sort)
fi
case "$mode" in
    --check) clang-format --dry-run -Werror "${files[@]}" ;;
    --write) clang-format -i "${files[@]}" ;;
    *) echo "format: --check or --write" >&2; exit 2 ;;
esac
