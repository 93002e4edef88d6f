#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# tools/setup.sh GROUP...: makes sure that the Debian packages of these groups are there. Quick and silent when they
# are; as root it installs what is missing; otherwise it names the packages and fails.
set -euo pipefail

build=(build-essential cmake ninja-build pkg-config librocksdb-dev libsimdjson-dev liburcu-dev libuv1-dev libwslay-dev
       libsecp256k1-dev libzstd-dev libxxhash-dev libcmocka-dev libssl-dev zlib1g-dev libcurl4-openssl-dev)
test=(python3 curl zstd binutils)
clang=(clang lld libclang-rt-14-dev)
style=(clang-format clang-tidy)

wanted=()
for group in "$@"; do
    case "$group" in
        build) wanted+=("${build[@]}") ;;
        test) wanted+=("${test[@]}") ;;
        clang) wanted+=("${clang[@]}") ;;
        style) wanted+=("${style[@]}") ;;
        *) echo "setup: no group called $group (build test clang style)" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is not Debian; the build needs what these packages hold: ${wanted[*]}" >&2
    exit 0
fi

installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null \
            | sed -n 's/ installed$//p' || true)
missing=()
for package in "${wanted[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "setup: these Debian packages are missing: ${missing[*]}" >&2
    echo "setup: as root: apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
quiet=(-qq -o=Dpkg::Use-Pty=0)
apt-get "${quiet[@]}" update </dev/null
apt-get "${quiet[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
echo "setup: done"
