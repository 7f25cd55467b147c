#!/bin/sh
# Runs a build that takes minutes, and shows its progress and the remaining time.
#
#   tools/first_build.sh cargo build ...
#   tools/first_build.sh --estimate SECONDS cargo build ...    prints the progress after SECONDS, and builds nothing
#
# It runs in the folder of the workspace. Cargo's output goes to a log file. The script prints it only if the build fails.
set -u
target=${CARGO_TARGET_DIR:-target}
log=$target/first-build.log
began=$target/first-build.began

# The number of object files of RocksDB that are compiled.
compiled_objects() {
    for folder in "$target"/debug/build/rust-librocksdb-sys-*/out; do
        [ -d "$folder" ] && { find "$folder" -name '*.o' | wc -l; return; }
    done
    echo 0
}

# The number of executables that `cargo test` links: a test for each library, program and file of tests, and the programs.
expected_executables() {
    sed -n '/^members/,/^]/s/^ *"\(.*\)",*$/\1/p' Cargo.toml | while read -r crate; do
        find "$crate/src" "$crate/tests" -type f 2>/dev/null | awk -v crate="$crate" '
            { file = substr($0, length(crate) + 2) }
            file == "src/lib.rs" || file ~ /^tests\/[^\/]*\.rs$/ || file ~ /^tests\/[^\/]*\/main\.rs$/ { n += 1 }
            file == "src/main.rs" || file ~ /^src\/bin\/[^\/]*\.rs$/ || file ~ /^src\/bin\/[^\/]*\/main\.rs$/ { n += 2 }
            END { print n + 0 }'
    done | awk '{ n += $1 } END { print n + 0 }'
}

# The number of executables that were linked since the build began.
linked_executables() {
    find "$target/debug/deps" -type f -perm -u+x -newer "$began" ! -name '*.*' 2>/dev/null | wc -l
}

# Prints the progress after $1 seconds of the command $2 $3. Shares of the work, measured on two cores: a crate counts 1, and
# RocksDB's 350 objects together as many as 330 crates. One system builds only a part of the crates in Cargo.lock: 85 %.
# Crates and RocksDB take 11 of 21 minutes of `cargo test`, and its executables 10.
progress() {
    tests=0 linked=0
    [ "$2 $3" = "cargo test" ] && tests=$(expected_executables) linked=$(linked_executables)
    awk -v t="$1" -v tests="$tests" -v linked="$linked" -v d="$(compiled_objects)" \
        -v crates="$(grep -c '^name = ' Cargo.lock)" -v s="$(grep -c '^ *Compiling ' "$log")" '
        function share(done, all) { return done > all ? 1 : done / all }
        BEGIN {
            c = int(crates * 85 / 100); weight = 330
            part = (c * share(s, c) + weight * share(d, 350)) / (c + weight)
            if (tests > 0) part = (11 * part + 10 * share(linked, tests)) / 21
            if (part > 0.99) part = 0.99
            left = part > 0.03 ? sprintf("about %d min left", t * (1 - part) / part / 60 + 0.5) : "estimating the time left"
            if (left == "about 0 min left") left = "less than a minute left"
            printf "first build: %d %%, %d min so far, %s", part * 100 + 1e-9, t / 60, left
        }'
}

if [ "${1:-}" = --estimate ]; then
    progress "$2" "$3" "$4"
    exit
fi

mkdir -p "$target"
: >"$log"
: >"$began"
start=$(date +%s)
"$@" >"$log" 2>&1 &
build=$!
trap 'kill $build 2>/dev/null; wait $build; exit 130' INT TERM HUP
ticks=0
while kill -0 $build 2>/dev/null; do
    sleep 1
    ticks=$((ticks + 1))
    if [ -t 2 ]; then printf '\r\033[K%s' "$(progress $(($(date +%s) - start)) "$1" "${2:-}")" >&2
    elif [ $((ticks % 30)) = 0 ]; then printf '%s\n' "$(progress $(($(date +%s) - start)) "$1" "${2:-}")" >&2
    fi
done
wait $build
code=$?
[ -t 2 ] && printf '\r\033[K' >&2
if [ $code != 0 ]; then
    tail -n 40 "$log" >&2
    echo "the build failed; its whole output is in $log" >&2
fi
exit $code
