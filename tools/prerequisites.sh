#!/bin/sh
# Checks everything that a build needs before it starts. Prints one line for each missing thing, and exits with 1 if there is any.
#
#   tools/prerequisites.sh            all checks
#   tools/prerequisites.sh libclang   only that check: libclang, compiler, rust, disk
#
# SYSTEM_ROOT is a prefix of each system path, so that tests can use their own libraries.
set -u
toolkit=$(cd "$(dirname "$0")/.." && pwd)
root=${SYSTEM_ROOT:-}
system=${SYSTEM_NAME:-$(uname -s)}
missing=0

report() { printf 'missing: %s\n' "$*" >&2; missing=1; }

# Accepts the names that bindgen looks for. `libclang-cpp` is another library: it has no C interface.
has_libclang() {
    for file in "$1"/libclang.so "$1"/libclang-*.so "$1"/libclang.so.* "$1"/libclang-*.so.* "$1"/libclang.dylib; do
        case $file in *libclang-cpp.* | *'*'*) continue ;; esac
        # Skips dangling links.
        [ -e "$file" ] && return 0
    done
    return 1
}

# Prints the folders that bindgen searches, in its order (clang-sys, build/common.rs).
libclang_folders() {
    prefix=$(${LLVM_CONFIG_PATH:-llvm-config} --prefix 2>/dev/null) && printf '%s\n' "$prefix/lib" "$prefix/lib64"
    if [ "$system" = Darwin ]; then
        developer=$(xcode-select --print-path 2>/dev/null) &&
            printf '%s\n' "$developer/Toolchains/XcodeDefault.xctoolchain/usr/lib"
    fi
    printf '%s:%s\n' "${LD_LIBRARY_PATH:-}" "${LIBRARY_PATH:-}" | tr ':' '\n' | grep .
    if [ "$system" = Darwin ]; then
        set -- "$root"/usr/local/opt/llvm*/lib/llvm*/lib "$root"/Library/Developer/CommandLineTools/usr/lib \
            "$root"/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib \
            "$root"/usr/local/opt/llvm*/lib
    else
        set -- "$root"/usr/local/llvm*/lib* "$root"/usr/local/lib*/*/* "$root"/usr/local/lib*/* "$root"/usr/local/lib* \
            "$root"/usr/lib*/*/* "$root"/usr/lib*/* "$root"/usr/lib*
    fi
    for folder in "$@"; do [ -d "$folder" ] && printf '%s\n' "$folder"; done
}

find_libclang() {
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        has_libclang "$LIBCLANG_PATH" && return 0
        case $LIBCLANG_PATH in
            *libclang-cpp.*) return 1 ;;
            */libclang*.so* | */libclang.dylib) [ -f "$LIBCLANG_PATH" ] && return 0 ;;
        esac
        return 1
    fi
    libclang_folders | while IFS= read -r folder; do
        if has_libclang "$folder"; then echo "$folder"; break; fi
    done | grep -q .
}

how_to_install() { # packages of Debian, Fedora, Arch, Alpine, Homebrew
    if [ "$system" = Darwin ]; then
        if command -v brew >/dev/null 2>&1; then echo "brew install $5"; else echo "xcode-select --install"; fi
    elif command -v apt-get >/dev/null 2>&1; then echo "apt-get install $1"
    elif command -v dnf >/dev/null 2>&1; then echo "dnf install $2"
    elif command -v pacman >/dev/null 2>&1; then echo "pacman -S $3"
    elif command -v apk >/dev/null 2>&1; then echo "apk add $4"
    else echo "install the package of your system (Debian: $1, Fedora: $2)"
    fi
}

# libclang needs clang's own headers such as stddef.h, which some systems have in another package.
has_clang_headers() {
    [ "$system" = Darwin ] && return 0
    [ -n "${LIBCLANG_PATH:-}" ] && set -- "$LIBCLANG_PATH"/clang/*/include "$(dirname "$LIBCLANG_PATH")"/clang/*/include
    for folder in "$@" "$root"/usr/lib*/clang/*/include "$root"/usr/lib*/llvm*/lib*/clang/*/include \
        "$root"/usr/local/lib*/clang/*/include "$root"/usr/local/llvm*/lib*/clang/*/include \
        "$(${CLANG_PATH:-clang} -print-resource-dir 2>/dev/null)"/include; do
        [ -e "$folder/stddef.h" ] && return 0
    done
    return 1
}

check_libclang() {
    if find_libclang; then
        has_clang_headers ||
            report "clang's own headers (libclang is here, its stddef.h is not): $(how_to_install libclang-dev clang clang clang-dev llvm)"
        return
    fi
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        report "libclang: LIBCLANG_PATH is $LIBCLANG_PATH, which has no libclang.so or libclang.dylib; correct it or unset it"
    else
        report "libclang (RocksDB's bindings need it): $(how_to_install libclang-dev clang-devel clang clang-dev llvm), or set LIBCLANG_PATH to its folder"
    fi
}

check_compiler() {
    compiler=${CXX:-c++}
    case $compiler in */grouped-c++) compiler=${GROUPED_CXX:-c++} ;; esac
    if ! command -v "$compiler" >/dev/null 2>&1; then
        report "a C++ compiler ($compiler was not found): $(how_to_install g++ gcc-c++ gcc g++ llvm)"
        return
    fi
    folder=$(mktemp -d) || { report "a folder for temporary files: set TMPDIR to a writable folder"; return; }
    printf '#include <optional>\n#include <concepts>\nstd::optional<int> one() { return 1; }\n' >"$folder/one.cc"
    "$compiler" -std=c++20 -c "$folder/one.cc" -o "$folder/one.o" 2>"$folder/errors" ||
        report "a C++ compiler with C++20 ($compiler: $(head -n 1 "$folder/errors")): $(how_to_install g++ gcc-c++ gcc g++ llvm)"
    rm -rf "$folder"
}

check_rust() {
    wanted=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$toolkit/Cargo.toml")
    if ! command -v cargo >/dev/null 2>&1; then
        report "cargo: install Rust $wanted or later, see https://rustup.rs"
        return
    fi
    found=$(cargo --version | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
    awk -v wanted="$wanted" -v found="$found" 'BEGIN { split(wanted, w, "."); split(found, f, "."); exit !(f[1] > w[1] || f[1] == w[1] && f[2] >= w[2]) }' ||
        report "Rust $wanted or later (found $found): rustup update stable"
}

check_disk() {
    folder=${CARGO_TARGET_DIR:-$toolkit/target}
    # Later builds need little additional space.
    [ -e "$folder/debug/tikv-tui" ] && return
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free" -ge "${DISK_GIB:-10}" ] ||
        report "disk: a build needs ${DISK_GIB:-10} GiB, and $folder has $free GiB free; free some space, or set CARGO_TARGET_DIR to another disk"
}

[ $# -gt 0 ] || set -- rust compiler libclang disk
for check in "$@"; do
    case $check in
        rust | compiler | libclang | disk) "check_$check" ;;
        *) echo "expected rust, compiler, libclang or disk, found $check" >&2; exit 2 ;;
    esac
done
exit $missing
