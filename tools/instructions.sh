#!/usr/bin/env bash
# Counts the instructions of a point get with and without recording: perf stat, or callgrind where perf counts none.
#
#   tools/instructions.sh [GETS]
#
# The time of a machine with other work cannot show one percent; the number of instructions can.
set -euo pipefail
cd "$(dirname "$0")/.."
gets=${1:-20000}
program=${CARGO_TARGET_DIR:-target}/debug/examples/instructions

with_perf() {
    local out
    out=$(mktemp)
    perf stat -x, -e instructions:u -o "$out" -- "$@" >/dev/null
    awk -F, '/instructions/ { print $1; exit }' "$out"
    rm -f "$out"
}

with_callgrind() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 | awk '/Collected/ { print $NF }'
}

if command -v perf >/dev/null && [[ $(with_perf true 2>/dev/null) =~ ^[0-9]+$ ]]; then
    count=with_perf
elif command -v valgrind >/dev/null; then
    count=with_callgrind
    gets=$((gets / 10))
else
    echo "expected perf with a counter of instructions, or valgrind; found neither: install valgrind" >&2
    exit 1
fi

cargo build -q --workspace --example instructions
for recording in off on; do
    # A run without gets is the start and the stop of the store.
    idle=$($count "$program" 0 "$recording")
    busy=$($count "$program" "$gets" "$recording")
    echo "$recording $(((busy - idle) / gets))"
done | awk -v how="$count" '{ n[$1] = $2 }
    END {
        printf "instructions of a point get (%s): %d recorded, %d not, +%.1f %%\n",
            how, n["on"], n["off"], 100 * (n["on"] / n["off"] - 1)
    }'
