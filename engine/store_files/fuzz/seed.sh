#!/usr/bin/env bash
# Fills corpus/ with files of a real TiKV's data directories, truncated if they are long, and with keys that its tikv-ctl
# printed. The corpus is not committed.
#
#   fuzz/seed.sh DIR...      DIR: folders with data directories (db/, raft-engine/) and captures (*.txt) in them
#
# The tests create seeds for everything else (other compressions, filters, indexes; encryption; snapshots):
#   FUZZ_CORPUS=$PWD/engine/store_files/fuzz/corpus cargo test -p tikv-ctl --test mutations seeds
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 DIR... (folders with data directories of TiKV in them)" >&2; exit 1; }
corpus="$(cd "$(dirname "$0")" && pwd)/corpus"
longest=65536
mkdir -p "$corpus"/{sst,salvage,manifest,options,wal,raft_log,records,blob,keys}

# The name of a seed is the hash of its contents, so a second run adds nothing.
add() {
    local name
    name="seed-$(head -c "$3" "$2" | sha1sum | cut -c1-16)"
    head -c "$3" "$2" > "$corpus/$1/$name"
}

for dir in "$@"; do
    # A table is read from its end, so long ones cannot be truncated.
    find "$dir" -name '*.sst' -size -128k | while read -r file; do
        add sst "$file" 131072
        add salvage "$file" 131072
    done
    find "$dir" -name 'MANIFEST-*' | while read -r file; do add manifest "$file" $longest; done
    find "$dir" -name 'OPTIONS-*' | while read -r file; do add options "$file" $longest; done
    find "$dir" -path '*/db/*.log' -size +0 | while read -r file; do add wal "$file" $longest; done
    find "$dir" \( -name '*.raftlog' -o -name '*.rewrite' \) | while read -r file; do add raft_log "$file" $longest; done
    find "$dir" -name '*.blob' -size +0 | while read -r file; do
        add records "$file" 4096
        add blob "$file" $longest
    done
    { grep -rhoa --include='*.txt' -E 'z[!-~]{8,200}|(0x)?7A[0-9A-F]{12,200}|t[0-9]+_[ri][!-~]{1,40}' "$dir" || true; } \
        | sort -u | head -400 | while read -r key; do
        printf '%s' "$key" > "$corpus/keys/seed-$(printf '%s' "$key" | sha1sum | cut -c1-16)"
    done
done
for record in 'P\x05v\x01xR' 'P\x04pk\x05\xb8\x17v\x01xf\0\0\0\0\0\0\0\x05' '\x08\x02\x12\x04\x0a\x02\x08\x01' '\x80\0\2\0\1\0\1\2\3\1\0\2\0\7\x09'; do
    printf "$record" > "$corpus/records/seed-$(printf "$record" | sha1sum | cut -c1-16)"
done
# A log of one put: a cleanly stopped TiKV leaves no log.
put='\0\0\0\0\x11\0\1\7\0\0\0\0\0\0\0\1\0\0\0\1\1k\1v'
printf "$put$put" > "$corpus/wal/seed-$(printf "$put" | sha1sum | cut -c1-16)"
for target in "$corpus"/*/; do echo "$(basename "$target"): $(find "$target" -type f | wc -l) seeds"; done
