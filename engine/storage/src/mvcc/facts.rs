//! Facts for a person who steps, at the stages that decide: the records seen, and the values compared.
//!
//! Runs only for a stepped request.
use tracepoints::{
    Facts,
    facts::{FactValue, shown},
};
use txn_types::{Key, Lock, LockOrSharedLocks, SharedLocks, TimeStamp, Write, WriteRef, WriteType};

/// Maximum number of transactions shown of those that share a lock.
pub const MAX_HOLDERS: usize = 8;

/// Returns the user key as readable text.
pub fn key_text(key: &Key) -> String {
    shown(&key.to_raw().unwrap_or_else(|_| key.as_encoded().clone()))
}

/// Adds a timestamp with a note.
pub fn ts(facts: Facts, name: &str, ts: TimeStamp, note: &str) -> Facts {
    match ts {
        ts if ts.is_max() => facts.text(name, "the latest version").note(note),
        ts => facts.row(name, FactValue::Ts(ts.into_inner()), note),
    }
}

/// Shows the lock that a transaction found on a key.
pub fn loaded_lock(key: &Key, own: TimeStamp, lock: Option<&LockOrSharedLocks>) -> Facts {
    let facts = Facts::new("Lock").text("key", key_text(key));
    match lock {
        None => facts.outcome("no lock"),
        Some(LockOrSharedLocks::Lock(lock)) => {
            let whose = if lock.ts == own { "own lock" } else { "lock of another transaction" };
            lock_rows(facts, lock).outcome(whose)
        }
        Some(LockOrSharedLocks::Shared(shared)) => {
            let joined = shared.contains_start_ts(own);
            let whose =
                if joined { "shared, also by this transaction" } else { "shared by other transactions" };
            shared_rows(facts, shared).outcome(whose)
        }
    }
}

/// Adds the fields of a lock.
pub fn lock_rows(facts: Facts, lock: &Lock) -> Facts {
    let mut facts = ts(facts, "start_ts", lock.ts, "of the lock's transaction")
        .text("kind", format!("{:?}", lock.lock_type))
        .bytes("primary", &lock.primary)
        .number("ttl_ms", lock.ttl)
        .ts_unless_zero("for_update_ts", lock.for_update_ts.into_inner())
        .ts_unless_zero("min_commit_ts", lock.min_commit_ts.into_inner())
        .flag("async commit", lock.use_async_commit);
    if lock.generation > 0 {
        facts = facts.number("generation", lock.generation).note("number of the flush");
    }
    if let Some(value) = &lock.short_value {
        facts = facts.bytes("value", value);
    }
    facts
}

/// Adds each lock of shared locks.
pub fn shared_rows(facts: Facts, shared: &SharedLocks) -> Facts {
    let facts = facts.flag("shrink only", shared.is_shrink_only());
    shared.iter().take(MAX_HOLDERS).fold(facts, |facts, lock| {
        let note = format!("{:?}, primary {}", lock.lock_type, shown(&lock.primary));
        ts(facts, "holder", lock.ts, &note)
    })
}

/// Shows what a pipelined transaction reads of its own flushes.
pub fn buffered(key: &Key, own: TimeStamp, lock: Option<&Lock>) -> Facts {
    let facts = ts(Facts::new("Buffer").text("key", key_text(key)), "start_ts", own, "of the reader");
    match lock {
        None => facts.outcome("not flushed"),
        Some(lock) if lock.ts != own => lock_rows(facts, lock).outcome("lock of another transaction"),
        Some(lock) => lock_rows(facts, lock).outcome("flushed"),
    }
}

/// Shows the check of a flush against the transaction's earlier flush of the key.
pub fn generation(key: &Key, lock: &Lock, generation: u64) -> Facts {
    let facts =
        lock_rows(change("Generation of the lock", key), lock).number("generation of this flush", generation);
    match lock.generation < generation {
        true => facts.outcome("an earlier flush: overwritten"),
        false => facts.failed("not an earlier flush: this one is skipped"),
    }
}

/// Shows whether a lock blocks a read at `read_ts`.
pub fn read_lock(key: &Key, lock: Option<&Lock>, read_ts: TimeStamp, blocks: bool) -> Facts {
    let facts = ts(Facts::new("Lock").text("key", key_text(key)), "read at", read_ts, "");
    let Some(lock) = lock else { return facts.outcome("no lock") };
    let note = match (blocks, lock.ts > read_ts) {
        (true, _) => "not newer than the read: it may be committed before it",
        (false, true) => "newer than the read: it will be committed after it",
        (false, false) => "does not change what the read returns",
    };
    let facts = lock_rows(facts, lock).text("start_ts of the lock", note);
    if blocks { facts.failed("locked") } else { facts.outcome("does not block") }
}

/// Shows a record of CF write that a read passes.
pub fn version(key: &Key, read_ts: TimeStamp, commit_ts: TimeStamp, write: &WriteRef<'_>) -> Facts {
    let facts = Facts::new("Version").text("key", key_text(key));
    let facts = ts(facts, "read at", read_ts, "");
    let (note, outcome) = if commit_ts > read_ts {
        ("newer than the read", "skipped")
    } else {
        match write.write_type {
            WriteType::Put => ("not newer than the read", "chosen"),
            WriteType::Delete => ("not newer than the read", "chosen: deleted"),
            WriteType::Lock => ("a Lock record has no value", "skipped"),
            WriteType::Rollback => ("a Rollback record has no value", "skipped"),
        }
    };
    write_rows(ts(facts, "commit_ts", commit_ts, note), write).outcome(outcome)
}

/// Shows a record that GC keeps or deletes.
pub fn gc_version(key: &Key, commit_ts: TimeStamp, write: &Write, stays: bool) -> Facts {
    let facts = ts(Facts::new("Version").text("key", key_text(key)), "commit_ts", commit_ts, "");
    let what = if stays { "kept" } else { "deleted" };
    let outcome = format!("{} at {commit_ts}: {:?}, {what}", key_text(key), write.write_type);
    write_rows(facts, &write.as_ref()).outcome(outcome)
}

fn write_rows(facts: Facts, write: &WriteRef<'_>) -> Facts {
    let facts = ts(facts, "start_ts", write.start_ts, "").text("kind", format!("{:?}", write.write_type));
    match (write.write_type, write.short_value) {
        (WriteType::Put, Some(value)) => facts.bytes("value", value),
        (WriteType::Put, None) => facts.text("value", "in CF default"),
        _ => facts,
    }
}

/// Shows the newest record at or before a timestamp, as a command sees it.
pub fn sought(key: &Key, at: TimeStamp, found: Option<&(TimeStamp, Write)>) -> Facts {
    let facts = ts(Facts::new("Record").text("key", key_text(key)), "at or before", at, "");
    match found {
        None => facts.outcome("none"),
        Some((commit_ts, write)) => {
            let kind = format!("{:?}", write.write_type);
            write_rows(ts(facts, "commit_ts", *commit_ts, ""), &write.as_ref()).outcome(kind)
        }
    }
}

/// Shows the check of a prewrite for a newer version.
pub fn conflict(
    key: &Key,
    start_ts: TimeStamp,
    for_update_ts: TimeStamp,
    newest: Option<&(Write, TimeStamp)>,
    error: Option<String>,
) -> Facts {
    let facts = ts(Facts::new("Conflict check").text("key", key_text(key)), "start_ts", start_ts, "");
    let facts = facts.ts_unless_zero("for_update_ts", for_update_ts.into_inner());
    match (newest, error) {
        (_, Some(error)) => facts.text("error", error).failed("conflict"),
        (None, None) => facts.outcome("no newer version").text("newest record", "none"),
        (Some((write, commit_ts)), None) => {
            let facts = ts(facts, "newest commit_ts", *commit_ts, "not newer than the transaction");
            facts.text("kind", format!("{:?}", write.write_type)).outcome("no newer version")
        }
    }
}

/// Shows the check of a commit against the lock.
pub fn commit_check(key: &Key, lock: &Lock, commit_ts: TimeStamp) -> Facts {
    let facts = ts(Facts::new("Commit check").text("key", key_text(key)), "commit_ts", commit_ts, "");
    let fits = commit_ts >= lock.min_commit_ts;
    let note = if fits { "not above commit_ts" } else { "above commit_ts: a reader has pushed it" };
    let facts = ts(facts, "min_commit_ts", lock.min_commit_ts, note);
    let facts = facts.text("kind", format!("{:?}", lock.lock_type));
    if fits { facts.outcome("may commit") } else { facts.failed("commit_ts expired") }
}

/// Shows whether the time to live of a lock has ended at `current_ts`.
pub fn ttl_check(key: &Key, lock: &Lock, current_ts: TimeStamp, expired: bool) -> Facts {
    let facts = lock_rows(Facts::new("Lock's time to live").text("key", key_text(key)), lock);
    let ends = lock.ts.physical().saturating_add(lock.ttl);
    let facts = match current_ts {
        ts if ts.is_zero() => facts.text("current_ts", "none: roll back at once"),
        now if now.is_max() => facts.text("current_ts", "the latest: roll back at once"),
        now => {
            let facts = ts(facts, "current_ts", now, "");
            let by = ends.abs_diff(now.physical());
            facts.text("ends", format!("{by} ms {} current_ts", if expired { "before" } else { "after" }))
        }
    };
    facts.outcome(if expired { "expired" } else { "alive" })
}

/// Shows the key of a record that a command writes or removes.
pub fn change(title: &str, key: &Key) -> Facts {
    Facts::new(title).text("key", key_text(key))
}

/// Shows a commit or rollback record that a command writes.
pub fn put_write(key: &Key, commit_ts: TimeStamp, write: &Write) -> Facts {
    write_rows(ts(change("Write a record", key), "commit_ts", commit_ts, ""), &write.as_ref())
        .flag("protected rollback", write.write_type == WriteType::Rollback && write.as_ref().is_protected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_why_it_is_skipped_or_chosen() {
        let key = Key::from_raw(b"k");
        let outcome = |kind, commit_ts: u64| {
            let write = Write::new(kind, 3.into(), None);
            version(&key, 10.into(), commit_ts.into(), &write.as_ref()).outcome
        };
        assert_eq!(outcome(WriteType::Put, 11), "skipped");
        assert_eq!(outcome(WriteType::Rollback, 9), "skipped");
        assert_eq!(outcome(WriteType::Lock, 9), "skipped");
        assert_eq!(outcome(WriteType::Delete, 9), "chosen: deleted");
        assert_eq!(outcome(WriteType::Put, 10), "chosen");
    }
}
