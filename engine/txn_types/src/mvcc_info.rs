//! Lock and write records as `kvrpcpb.MvccInfo` has them. TiKV: `MvccInfoCollector`.
use kvproto::kvrpcpb::{MvccLock, MvccWrite, Op};

use crate::{LockOrSharedLocks, TimeStamp, WriteRef, WriteType};

impl From<WriteType> for Op {
    fn from(write_type: WriteType) -> Op {
        match write_type {
            WriteType::Put => Op::Put,
            WriteType::Delete => Op::Del,
            WriteType::Lock => Op::Lock,
            WriteType::Rollback => Op::Rollback,
        }
    }
}

impl From<LockOrSharedLocks> for MvccLock {
    /// Sets only the fields that TiKV sets.
    fn from(lock: LockOrSharedLocks) -> MvccLock {
        match lock {
            LockOrSharedLocks::Lock(lock) => MvccLock {
                r#type: Op::from(lock.lock_type).into(),
                start_ts: lock.ts.into_inner(),
                primary: lock.primary,
                short_value: lock.short_value.unwrap_or_default(),
                ..Default::default()
            },
            // A shared lock has no single start and no single primary.
            LockOrSharedLocks::Shared(_) => MvccLock { r#type: Op::SharedLock.into(), ..Default::default() },
        }
    }
}

impl WriteRef<'_> {
    /// Returns the record of a version committed at `commit_ts`.
    pub fn to_mvcc_write(&self, commit_ts: TimeStamp) -> MvccWrite {
        let mut out = MvccWrite::default();
        self.fill_mvcc_write(commit_ts, &mut out);
        out
    }

    /// Writes the record into `out`, which is new or was filled by this function, and reuses its memory.
    #[inline]
    pub fn fill_mvcc_write(&self, commit_ts: TimeStamp, out: &mut MvccWrite) {
        // TiKV sets no other field.
        out.r#type = Op::from(self.write_type).into();
        out.start_ts = self.start_ts.into_inner();
        out.commit_ts = commit_ts.into_inner();
        out.short_value.clear();
        out.short_value.extend_from_slice(self.short_value.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lock, LockType, Write};

    #[test]
    fn records_have_tikvs_fields() {
        let zero = TimeStamp::zero();
        let value = Some(b"v".to_vec());
        let lock =
            Lock::new(LockType::Delete, b"pk".to_vec(), 5.into(), 3000, value.clone(), zero, 1, zero, false);
        let row = MvccLock::from(LockOrSharedLocks::Lock(lock));
        assert_eq!(
            (row.r#type(), row.start_ts, row.primary, row.short_value),
            (Op::Del, 5, b"pk".to_vec(), b"v".to_vec())
        );

        let mut row = Write::new(WriteType::Put, 5.into(), value).as_ref().to_mvcc_write(8.into());
        assert_eq!((row.r#type(), row.start_ts, row.commit_ts), (Op::Put, 5, 8));
        assert_eq!(row.short_value, b"v");
        Write::new(WriteType::Rollback, 9.into(), None).as_ref().fill_mvcc_write(9.into(), &mut row);
        assert_eq!((row.r#type(), row.start_ts, row.commit_ts), (Op::Rollback, 9, 9));
        assert!(row.short_value.is_empty(), "no value of the record before is left");
    }
}
