#!/usr/bin/env bash
# Runs the same operations with real clients of TiKV against a cluster of three stores, and compares their results.
#
#   recipes/interop/run.sh BIN WORK [CLIENT ...]
#
# BIN has pd-server, tikv-server and tikv-ctl. WORK keeps what is built and downloaded. Without names, every client runs.
# REWRITE=1 writes the results of the client `go` to expected.txt; the other clients are compared with them.
# Prints one line of totals at the end. Exits with 1 if a result differs, and with 77 if no client can run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
bin=$(cd "$1" && pwd) work=$(cd "$2" && pwd)
shift 2
operations=$here/operations.txt expected=$here/expected.txt
# Bounds in seconds of the servers and of one program: they end by then.
servers_s=900 program_s=240
cluster=$(mktemp -d)
totals=$cluster/totals
pids=() ran=() different=0 skipped=0

stop() {
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$cluster"
}
trap stop EXIT

fail() { echo "interop: $*" >&2; exit 1; }

# ---- The cluster

serve() {
    local log="$cluster/$1.log"; shift
    timeout "$servers_s" "$@" >"$log" 2>&1 &
    pids+=($!)
}

# Waits for a line of a server, and prints what the pattern finds in it.
await() {
    local log="$cluster/$1.log" found
    for _ in $(seq 300); do
        found=$(sed -nE "s/$2/\1/p" "$log" 2>/dev/null | head -n 1)
        [ -z "$found" ] || { echo "$found"; return; }
        sleep 0.2
    done
    echo "interop: expected a line like '$2' of $1 within 60 s, found:" >&2
    tail -n 5 "$log" >&2
    return 1
}

# Asks without curl, which may be missing.
ask_pd() {
    exec 9<>"/dev/tcp/${pd%:*}/${pd#*:}"
    printf 'GET %s HTTP/1.0\r\nHost: pd\r\n\r\n' "$1" >&9
    timeout 10 cat <&9 || true
    exec 9>&-
}

# Waits until PD knows this many regions, each with a leader and three peers.
await_regions() {
    local text
    for _ in $(seq 150); do
        text=$(ask_pd /pd/api/v1/regions)
        if [ "$(grep -c '"leader": {' <<<"$text")" = "$1" ] && [ "$(grep -c '"store_id"' <<<"$text")" = $((4 * $1)) ]; then
            return
        fi
        sleep 0.4
    done
    fail "expected $1 regions with three peers and a leader within 60 s; see the logs of the stores"
}

start_cluster() {
    serve pd "$bin/pd-server" --addr 127.0.0.1:0 --data-dir "$cluster/pd"
    pd=$(await pd '.* is ready at (.*)')
    local i
    for i in 1 2 3; do
        serve "store$i" "$bin/tikv-server" --addr 127.0.0.1:0 --status-addr '' --pd-endpoints "$pd" --data-dir "$cluster/s$i"
    done
    for i in 1 2 3; do await "store$i" 'store [0-9]+ serves on ([^;]*);.*' >/dev/null; done
    await_regions 1
}

# Splits the keys of each client, so that its batches, scans and commits cross regions.
split_regions() {
    local region count=1 client key
    region=$(ask_pd /pd/api/v1/regions | sed -nE 's/^ *"id": ([0-9]+),$/\1/p' | head -n 1)
    # In the order of the keys: the last region keeps its id.
    for key in $(for client in $(clients | sort); do echo "$client/r/m" "$client/t/m"; done); do
        "$bin/tikv-ctl" --pd "$pd" split-region -r "$region" -k "$key" >"$cluster/split.log" 2>&1 ||
            fail "cannot split region $region at $key: $(tail -n 1 "$cluster/split.log")"
        count=$((count + 1))
    done
    await_regions "$count"
}

# ---- The list of operations

clients() { awk '$1 == "client" { print $2 }' "$operations"; }

# Prints the sections that a client has no call for.
lacks() { awk -v name="$1" '$1 == "client" && $2 == name { for (i = 4; i <= NF; i++) printf " %s", $i; print " " }' "$operations"; }

# The options of sections.awk for the first run of a client.
select_all() { echo "without=$(lacks "$1")read_back "; }

# Announces what takes long without any output.
say() { echo "$*" >&2; }

# ---- The clients: each has a function that prepares it, and one that runs it. A reason not to run is one line.

log_tail() { grep -v '^ *$' "$1" | tail -n 1 | cut -c1-200; }

prepare_go() {
    command -v go >/dev/null || { echo "no Go"; return 1; }
    (cd "$here/go" && timeout 300 go mod download) >"$work/go.log" 2>&1 ||
        { echo "its modules cannot be downloaded: $(log_tail "$work/go.log")"; return 1; }
    [ -e "$work/go-client" ] || say "go: the first build of the client takes about a minute"
    (cd "$here/go" && go build -p 2 -o "$work/go-client" .) >"$work/go.log" 2>&1 || { cat "$work/go.log" >&2; exit 1; }
}

run_go() { "$work/go-client" "$@"; }

prepare_python() {
    command -v python3 >/dev/null || { echo "no Python 3"; return 1; }
    local venv="$work/python"
    cmp -s "$here/python/requirements.txt" "$venv/installed" && return
    { python3 -m venv --clear "$venv" &&
        timeout 300 "$venv/bin/pip" install --quiet --only-binary :all: -r "$here/python/requirements.txt"; } >"$work/python.log" 2>&1 ||
        { echo "its packages cannot be installed: $(log_tail "$work/python.log")"; return 1; }
    cp "$here/python/requirements.txt" "$venv/installed"
}

run_python() { PYTHONDONTWRITEBYTECODE=1 "$work/python/bin/python" "$here/python/main.py" "$@"; }

prepare_java() {
    command -v javac >/dev/null || { echo "no JDK"; return 1; }
    command -v mvn >/dev/null || { echo "no Maven"; return 1; }
    if ! cmp -s "$here/java/pom.xml" "$work/java/pom.xml"; then
        rm -rf "$work/java" && mkdir -p "$work/java"
        timeout 300 mvn -q -B -f "$here/java/pom.xml" dependency:build-classpath -Dmdep.outputFile="$work/java/classpath" \
            >"$work/java.log" 2>&1 || { echo "its packages cannot be downloaded: $(log_tail "$work/java.log")"; return 1; }
        cp "$here/java/pom.xml" "$work/java/pom.xml"
    fi
    javac -d "$work/java" -cp "$(<"$work/java/classpath")" "$here"/java/interop/*.java >"$work/java.log" 2>&1 ||
        { cat "$work/java.log" >&2; exit 1; }
}

run_java() { java -cp "$work/java:$(<"$work/java/classpath")" interop.Main "$@"; }

# ---- The comparison

# Runs operations with a client on the keys of an owner: run_client CLIENT OWNER OPTION, an option of sections.awk.
run_client() {
    local run="$cluster/$1-$2"
    awk -v "$3" -f "$here/sections.awk" "$operations" >"$run.operations"
    # The functions of the clients are needed in the shell that has the bound.
    export -f "run_$1"
    here=$here work=$work timeout -k 5 "$program_s" bash -c "run_$1 $pd $2" <"$run.operations" >"$run.results" 2>"$run.errors" ||
        { echo "$1: the program ended with code $?: $(log_tail "$run.errors")"; different=1; }
}

# Compares the results of run_client with the expected ones.
compare() {
    local run="$cluster/$1-$2"
    awk -v "$3" -f "$here/sections.awk" "$expected" >"$run.expected"
    awk -v name="$1" -v totals="$totals" -f "$here/compare.awk" "$run.expected" "$run.results" || different=1
    echo "$1 with the keys of $2: $(tail -n 1 "$totals" | awk '{ print $1 " of " $1 + $2 }') operations as expected"
}

# Writes the results of `go` in the sections of the operations.
rewrite() {
    run_client go go "$(select_all go)"
    cp "$cluster/go-go.results" "$cluster/all"
    run_client go go only=read_back
    cat "$cluster/go-go.results" >>"$cluster/all"
    awk 'NR == FNR { result[FNR] = $0; next }
        /^\[.*\]$/ { print (headers++ ? "\n" : "") $0; next }
        /^#/ || /^client / || /^$/ { next }
        { print result[++line] }' "$cluster/all" "$operations" >"$expected"
}

run_all() {
    local client owner
    for client in "${ran[@]}"; do
        if [ "$client" != go ] || [ -z "${REWRITE:-}" ]; then
            run_client "$client" "$client" "$(select_all "$client")"
        else
            awk -v "$(select_all go)" -f "$here/sections.awk" "$expected" >"$cluster/go-go.results"
        fi
        compare "$client" "$client" "$(select_all "$client")"
    done
    for client in "${ran[@]}"; do
        for owner in "${ran[@]}"; do
            [ "$client" = "$owner" ] && continue
            run_client "$client" "$owner" only=read_back
            compare "$client" "$owner" only=read_back
        done
    done
}

command -v timeout >/dev/null || fail "expected the program timeout, found none: install GNU coreutils"
[ $# -gt 0 ] || set -- $(clients)
for client in "$@"; do
    clients | grep -qx "$client" || fail "expected one of $(echo $(clients)), found $client"
done
for client in "$@"; do
    if reason=$("prepare_$client"); then
        ran+=("$client")
        lacked=$(lacks "$client")
        [ -z "${lacked// /}" ] || echo "$client: the client has no call for:${lacked% }"
    else
        [ -n "$reason" ] || fail "cannot build the program of $client"
        skipped=$((skipped + $(awk -v "$(select_all "$client")" -f "$here/sections.awk" "$operations" | wc -l)))
        echo "$client: skipped: $reason"
    fi
done
if [ ${#ran[@]} = 0 ]; then
    echo "interop: no client can run: install Go, Python or a JDK with Maven, and let them reach their registries" >&2
    exit 77
fi
start_cluster
split_regions
[ -z "${REWRITE:-}" ] || rewrite
run_all
awk -v skipped="$skipped" '{ passed += $1; failed += $2 } END {
    printf "interop: %d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : "" }' "$totals"
exit "$different"
