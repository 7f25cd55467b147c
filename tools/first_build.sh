#!/bin/sh
# Runs a build that takes minutes, and shows its progress and the remaining time.
#
#   tools/first_build.sh cargo build ...
#
# Cargo's output goes to a log file. The script prints it only if the build fails.
set -u
log=${CARGO_TARGET_DIR:-target}/first-build.log
mkdir -p "$(dirname "$log")"
: >"$log"
crates=$(grep -c '^name = ' Cargo.lock)
# Shares of the work, measured on two cores: a crate counts 1, and RocksDB's 350 objects together as many as 330 crates.
objects=350 weight=330
# One system builds only a part of the crates in Cargo.lock.
crates=$((crates * 85 / 100))
start=$(date +%s)

compiled_objects() {
    for folder in "${CARGO_TARGET_DIR:-target}"/debug/build/rust-librocksdb-sys-*/out; do
        [ -d "$folder" ] && { find "$folder" -name '*.o' | wc -l; return; }
    done
    echo 0
}

progress() {
    started=$(grep -c '^ *Compiling ' "$log")
    done=$(compiled_objects)
    awk -v s="$started" -v c="$crates" -v d="$done" -v o="$objects" -v w="$weight" -v t="$(($(date +%s) - start))" '
        BEGIN {
            if (s > c) s = c; if (d > o) d = o
            part = (s + d * w / o) / (c + w); if (part > 0.99) part = 0.99
            left = part > 0.03 ? sprintf("about %d min left", t * (1 - part) / part / 60 + 0.5) : "estimating the time left"
            if (left == "about 0 min left") left = "less than a minute left"
            printf "first build: %d %%, %d min so far, %s", part * 100, t / 60, left
        }'
}

"$@" >"$log" 2>&1 &
build=$!
trap 'kill $build 2>/dev/null; wait $build; exit 130' INT TERM HUP
ticks=0
while kill -0 $build 2>/dev/null; do
    sleep 1
    ticks=$((ticks + 1))
    if [ -t 2 ]; then printf '\r\033[K%s' "$(progress)" >&2
    elif [ $((ticks % 30)) = 0 ]; then printf '%s\n' "$(progress)" >&2
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
