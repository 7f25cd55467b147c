#!/usr/bin/env bash
# Checks that the whole workspace compiles for macOS and for Linux on ARM, for which we have no machine.
#
#   tools/check_targets.sh                              both targets
#   tools/check_targets.sh aarch64-apple-darwin         one of them
#   tools/check_targets.sh test aarch64-unknown-linux-gnu [CARGO ARGS]   runs tests under qemu-user
#
# rustup's targets are not needed: Debian's `rustc-web` and `rust-web-src` contain a compiler and its standard library's source.
# The script unpacks them into the cache, without installing them. For the check, C parts are stubs: nothing is linked.
# Needs a Debian (or Ubuntu) with apt-get and libclang. Takes about 8 minutes for both targets on two idle cores.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tikv-toolkit/cross
toolchain=$cache/toolchain stubs=$cache/stubs
mkdir -p "$cache/debs/partial" "$stubs"

unpack_toolchain() {
    [ -e "$toolchain/.complete" ] && return
    command -v apt-get >/dev/null || { echo "expected apt-get, found none: run this on Debian or Ubuntu, whose packages contain the compiler" >&2; exit 1; }
    echo "unpacking Debian's rustc-web and rust-web-src into $toolchain" >&2
    apt-cache show rustc-web >/dev/null 2>&1 || apt-get update -qq
    local packages
    packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        rustc-web cargo-web rust-web-src | grep -E '^(rustc-web|rust-web-src|cargo-web|libstd-rust|libgit2|libmbed|libhttp-parser|libllhttp|libssh2)' | sort -u)
    packages="$packages $(apt-cache depends $(echo "$packages" | grep '^libstd-rust-web-[0-9]') | awk '/Depends: libllvm/ { print $2 }')"
    # shellcheck disable=SC2086
    (cd "$cache/debs" && apt-get download -qq $packages 2>/dev/null)
    rm -rf "$toolchain"
    for package in "$cache"/debs/*.deb; do dpkg -x "$package" "$toolchain"; done
    touch "$toolchain/.complete"
}

# Writes a C compiler and an archiver that create each requested file, but empty.
write_stubs() {
    cat >"$stubs/cc" <<'STUB'
#!/bin/sh
out= previous= preprocess=
for argument in "$@"; do
    [ "$previous" = -o ] && out=$argument
    case $argument in -E) preprocess=1 ;; -o?*) out=${argument#-o} ;; esac
    previous=$argument
done
[ -n "$preprocess" ] && exec cc "$@"
[ -n "$out" ] && : >"$out"
exit 0
STUB
    printf '#!/bin/sh\nfor argument in "$@"; do case $argument in *.a) : >"$argument" ;; esac; done\n' >"$stubs/ar"
    chmod +x "$stubs/cc" "$stubs/ar"
    : >"$stubs/librocksdb.a"
    : >"$stubs/libjemalloc.a"
}

use_toolchain() {
    export RUSTC_BOOTSTRAP=1 RUSTC="$toolchain/usr/bin/rustc"
    export LD_LIBRARY_PATH="$toolchain/usr/lib/$(uname -m)-linux-gnu"
    export CARGO_TARGET_DIR="${CROSS_TARGET_DIR:-$cache/target}"
    cargo="$toolchain/usr/bin/cargo"
}

check() {
    local target=$1 variable=${1//-/_} bindings headers
    cargo fetch --locked -q
    bindings=$(find "${CARGO_HOME:-$HOME/.cargo}"/registry/src -maxdepth 2 -name 'rust-librocksdb-sys-*' | sort | tail -n 1)
    # A foreign target has no system headers here; clang's own are enough for RocksDB's C interface.
    headers=$(dirname "$(find /usr/lib/llvm-*/lib/clang /usr/lib/clang -name stdbool.h 2>/dev/null | sort | tail -n 1)")
    env "CC_$variable=$stubs/cc" "CXX_$variable=$stubs/cc" "AR_$variable=$stubs/ar" CXX=c++ \
        ROCKSDB_LIB_DIR="$stubs" ROCKSDB_STATIC=1 ROCKSDB_INCLUDE_DIR="$bindings/rocksdb/include" \
        JEMALLOC_OVERRIDE="$stubs/libjemalloc.a" BINDGEN_EXTRA_CLANG_ARGS="-ffreestanding -isystem $headers" \
        "$cargo" check -Zbuild-std=std,panic_abort,proc_macro,test --target "$target" --workspace --all-targets --keep-going
}

# Builds with Debian's cross compiler and runs the tests in an emulator.
test_emulated() {
    local target=aarch64-unknown-linux-gnu
    for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
        command -v $tool >/dev/null || { echo "expected $tool, found none: apt-get install g++-aarch64-linux-gnu qemu-user" >&2; exit 1; }
    done
    env CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
        "$cargo" test -Zbuild-std=std,panic_abort,proc_macro,test --target $target "$@"
}

tools/prerequisites.sh libclang
unpack_toolchain
write_stubs
use_toolchain
case "${1:-}" in
    test) shift 2; test_emulated "$@" ;;
    '') for target in aarch64-apple-darwin aarch64-unknown-linux-gnu; do echo "== $target" >&2; check $target; done ;;
    aarch64-apple-darwin | aarch64-unknown-linux-gnu) check "$1" ;;
    *) echo "expected aarch64-apple-darwin, aarch64-unknown-linux-gnu or test, found $1" >&2; exit 2 ;;
esac
