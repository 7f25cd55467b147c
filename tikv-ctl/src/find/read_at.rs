//! Simulates a transaction's read at a timestamp: the returned version, and the reason for passing over each
//! other one (TiKV `PointGetter`).
use kvproto::kvrpcpb::{MvccInfo, Op};

/// The decision of a read about one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionVerdict {
    /// Timestamp of the commit.
    pub commit_ts: u64,
    /// Timestamp of the transaction's start.
    pub start_ts: u64,
    /// Kind of the write.
    pub op: Op,
    /// Reason why it is returned or not.
    pub why: String,
}

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadResult {
    /// Timestamp of the read.
    pub ts: u64,
    /// Commit timestamp and value of the returned version; the value is missing if CF default lost it.
    pub returned: Option<(u64, Option<Vec<u8>>)>,
    /// The lock that the read waits for.
    pub lock: Option<String>,
    /// Versions, the newest first.
    pub versions: Vec<VersionVerdict>,
}

/// Parts of a write record that [`MvccInfo`] does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordParts {
    /// Whether the record contains the value: in [`MvccInfo`], an empty value and none look alike.
    pub is_short: bool,
    /// Commit timestamp of a later version: if GC has removed that, this one is not valid. 0: none.
    pub gc_fence: u64,
}

/// Reads at `ts` in the records of a key. `parts` returns the other parts of the write record at a commit
/// timestamp.
pub fn read_at(info: &MvccInfo, ts: u64, parts: &dyn Fn(u64) -> RecordParts) -> ReadResult {
    let mut result = ReadResult { ts, returned: None, lock: lock_in_the_way(info, ts), versions: Vec::new() };
    let mut decided: Option<u64> = None;
    for write in &info.writes {
        let op = write.r#type();
        let why = if write.commit_ts > ts {
            "committed after the read's timestamp".to_owned()
        } else if let Some(by) = decided {
            format!("older than the version at {by}, which decides")
        } else {
            // A rollback has neither a value nor a fence.
            let is_rollback = op == Op::Rollback;
            let RecordParts { is_short, gc_fence } =
                if is_rollback { RecordParts::default() } else { parts(write.commit_ts) };
            match op {
                _ if gc_fence != 0 && gc_fence <= ts => {
                    decided = Some(write.commit_ts);
                    format!("GC has removed the version at {gc_fence}, and with it this one: no data")
                }
                Op::Put => {
                    decided = Some(write.commit_ts);
                    let short = is_short.then_some(write.short_value.as_slice());
                    let value = value_of(info, write.start_ts, short);
                    let missing = value.is_none();
                    result.returned = Some((write.commit_ts, value));
                    match missing {
                        false => "returned: the newest version at or before the timestamp".to_owned(),
                        true => {
                            "would be returned, but CF default has no value for it: data is lost".to_owned()
                        }
                    }
                }
                Op::Del => {
                    decided = Some(write.commit_ts);
                    "a delete: the read returns nothing".to_owned()
                }
                Op::Rollback => "a rollback: no data, skipped".to_owned(),
                _ => "a lock record: no data, skipped".to_owned(),
            }
        };
        result.versions.push(VersionVerdict {
            commit_ts: write.commit_ts,
            start_ts: write.start_ts,
            op,
            why,
        });
    }
    result
}

fn value_of(info: &MvccInfo, start_ts: u64, short: Option<&[u8]>) -> Option<Vec<u8>> {
    let long = info.values.iter().find(|value| value.start_ts == start_ts).map(|value| value.value.clone());
    short.map(<[u8]>::to_vec).or(long)
}

fn lock_in_the_way(info: &MvccInfo, ts: u64) -> Option<String> {
    let lock = info.lock.as_ref()?;
    let kind = match lock.r#type() {
        Op::Put => "Put",
        Op::Del => "Delete",
        // Lock and pessimistic locks do not change the data that a read returns.
        _ => return None,
    };
    (lock.start_ts <= ts).then(|| {
        format!(
            "a {kind} lock of the transaction that started at {}: the read waits until it is committed or rolled \
             back (its primary is {})",
            lock.start_ts,
            keys::escape(&lock.primary)
        )
    })
}

#[cfg(test)]
mod tests {
    use kvproto::kvrpcpb::{MvccLock, MvccValue, MvccWrite};

    use super::*;

    fn write(op: Op, start_ts: u64, commit_ts: u64) -> MvccWrite {
        MvccWrite { r#type: op.into(), start_ts, commit_ts, ..Default::default() }
    }

    #[test]
    fn the_newest_committed_version_is_read() {
        let info = MvccInfo {
            writes: vec![
                write(Op::Put, 30, 31),
                write(Op::Rollback, 25, 25),
                write(Op::Put, 20, 21),
                write(Op::Del, 10, 11),
                write(Op::Put, 5, 6),
            ],
            values: vec![MvccValue { start_ts: 20, value: b"long".to_vec() }],
            lock: Some(MvccLock { r#type: Op::Put.into(), start_ts: 40, ..Default::default() }),
        };
        let parts = |commit_ts: u64| RecordParts { is_short: commit_ts != 21, gc_fence: 0 };
        let at = |ts| read_at(&info, ts, &parts);
        assert_eq!(at(26).returned, Some((21, Some(b"long".to_vec()))));
        assert!(at(26).versions[0].why.contains("after") && at(26).versions[1].why.contains("rollback"));
        assert!(at(26).versions[3].why.contains("older than the version at 21"));
        assert_eq!(at(15).returned, None);
        let lost = read_at(&MvccInfo { values: Vec::new(), ..info.clone() }, 26, &|_| RecordParts::default());
        assert!(lost.returned == Some((21, None)) && lost.versions[2].why.contains("data is lost"));
        assert_eq!(at(6).returned.map(|(ts, _)| ts), Some(6));
        assert!(at(39).lock.is_none() && at(40).lock.is_some());
        let fence = |commit_ts: u64| if commit_ts == 21 { 28 } else { 0 };
        let fenced = |ts| read_at(&info, ts, &|at| RecordParts { is_short: false, gc_fence: fence(at) });
        assert_eq!(fenced(27).returned, Some((21, Some(b"long".to_vec()))));
        assert!(fenced(28).returned.is_none() && fenced(28).versions[2].why.contains("GC has removed"));
    }
}
