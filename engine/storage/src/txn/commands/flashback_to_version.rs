//! FlashbackToVersion: restores a region's data at a version by new writes above all later versions.
//!
//! Mirrors `commands/flashback_to_version.rs`, `flashback_to_version_read_phase.rs` and
//! `actions/flashback_to_version.rs`. A read phase finds the next keys, a write phase changes them, until
//! none is left.
use kvproto::kvrpcpb::Context;
use tikv_kv::Snapshot;
use txn_types::{Key, Lock, LockOrSharedLocks, LockType, TimeStamp, Write, WriteType};

use super::{AfterWrite, Command, TypedCommand, WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{
    errors::{ErrorInner, Result},
    mvcc::{self, MAX_TXN_WRITE_SIZE, MvccReader, MvccTxn, ScanMode, SnapshotReader},
    txn::actions::check_txn_status::{rollback_lock, rollback_shared_lock},
    types::ProcessResult,
};

/// Maximum number of keys in one write phase.
const MAX_BATCH_KEYS: usize = 256;

/// Timestamps and range of a flashback.
#[derive(Clone, Debug)]
pub struct Flashback {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Later commits are undone.
    pub version: TimeStamp,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Zero in the prepare phase.
    pub commit_ts: TimeStamp,
    /// Encoded start of the range, inclusive.
    pub start_key: Key,
    /// `None`: the region's end.
    pub end_key: Option<Key>,
}

/// Keys changed by one write phase.
#[derive(Clone, Debug)]
enum Step {
    /// Roll back locks of transactions that will not be committed.
    Rollback(Vec<(Key, LockOrSharedLocks)>),
    /// Lock the first key, so that concurrent readers resolve nothing beyond `start_ts`.
    Lock(Key),
    /// Overwrite keys other than the first one.
    Overwrite(Vec<Key>),
    /// Commit the first key, which ends the flashback.
    Commit(Key),
}

/// Finds the next step; needs no latches.
#[derive(Clone, Debug)]
pub struct FlashbackToVersionReadPhase {
    /// Timestamps and range.
    pub flashback: Flashback,
    /// Key to continue from.
    next: Key,
}

/// Executes the step.
#[derive(Clone, Debug)]
pub struct FlashbackToVersion {
    flashback: Flashback,
    step: Step,
}

impl From<Flashback> for TypedCommand<()> {
    fn from(flashback: Flashback) -> Self {
        let next = flashback.start_key.clone();
        FlashbackToVersionReadPhase { flashback, next }.into()
    }
}

macro_rules! flashback_ext {
    ($name:ty, $keys:expr $(, $extra:item)*) => {
        command_ext!(
            $name, "flashback_to_version", ctx: |cmd| &cmd.flashback.ctx, ts: |cmd| cmd.flashback.start_ts,
            keys: $keys,
            fn allowed_in_flashback(&self) -> bool {
                true
            }
            $(, $extra)*
        );
    };
}
flashback_ext!(
    FlashbackToVersionReadPhase,
    |_| Vec::new(),
    fn readonly(&self) -> bool {
        true
    }
);
flashback_ext!(FlashbackToVersion, |cmd| match &cmd.step {
    Step::Rollback(locks) => locks.iter().map(|(key, _)| key).collect(),
    Step::Overwrite(keys) => keys.iter().collect(),
    Step::Lock(key) | Step::Commit(key) => vec![key],
});

impl WriteCommand for FlashbackToVersionReadPhase {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        let txn = context.txn(self.flashback.start_ts);
        let fill_cache = !self.flashback.ctx.not_fill_cache;
        let mut reader = MvccReader::new(snapshot, Some(ScanMode::Forward), fill_cache);
        let step = self.step(&mut reader);
        context.statistics.add(&reader.statistics);
        let after = match step? {
            None => ProcessResult::Res.into(),
            Some(step) => {
                let cmd = FlashbackToVersion { flashback: self.flashback, step };
                AfterWrite::Run(Box::new(Command::FlashbackToVersion(cmd)))
            }
        };
        Ok(WriteResult::new(txn, after))
    }
}

impl FlashbackToVersionReadPhase {
    fn step<S: Snapshot>(&self, reader: &mut MvccReader<S>) -> Result<Option<Step>> {
        let Flashback { version, start_ts, commit_ts, start_key, end_key, .. } = &self.flashback;
        let end = end_key.as_ref();
        if commit_ts.is_zero() {
            let foreign = |lock: &Lock| lock.ts != *start_ts;
            let (locks, _) = reader.scan_locks(Some(&self.next), end, foreign, MAX_BATCH_KEYS)?;
            if !locks.is_empty() {
                return Ok(Some(Step::Rollback(locks)));
            }
            let first = reader.scan_changed_keys(start_key, end, *version, 1)?;
            return Ok(first.into_iter().next().map(|(key, _)| Step::Lock(key)));
        }
        if commit_ts <= start_ts {
            return Err(ErrorInner::InvalidTxnTso { start_ts: *start_ts, commit_ts: *commit_ts }.into());
        }
        let Some((first, _)) = reader.scan_changed_keys(start_key, end, *version, 1)?.pop() else {
            return Ok(None);
        };
        if is_done(reader, &first, &self.flashback)? {
            return Ok(None);
        }
        let mut next = self.next.clone();
        loop {
            let changed = reader.scan_changed_keys(&next, end, *version, MAX_BATCH_KEYS)?;
            let Some((last, _)) = changed.last() else { return Ok(Some(Step::Commit(first))) };
            next = last.clone().append_ts(TimeStamp::zero());
            let left = changed.into_iter().filter(|(key, newest)| *key != first && newest < commit_ts);
            let keys: Vec<Key> = left.map(|(key, _)| key).collect();
            // An earlier attempt has already changed all of these keys.
            if !keys.is_empty() {
                return Ok(Some(Step::Overwrite(keys)));
            }
        }
    }
}

/// Whether the flashback has already ended and this is a repetition.
fn is_done<S: Snapshot>(reader: &mut MvccReader<S>, first: &Key, flashback: &Flashback) -> Result<bool> {
    let Flashback { start_ts, commit_ts, .. } = flashback;
    match reader.load_lock(first)? {
        Some(LockOrSharedLocks::Lock(lock)) if lock.ts == *start_ts => return Ok(false),
        Some(_) => {}
        None => {
            let write = reader.seek_write(first, *commit_ts)?;
            if write.is_some_and(|(ts, write)| ts == *commit_ts && write.start_ts == *start_ts) {
                return Ok(true);
            }
        }
    }
    Err(ErrorInner::FlashbackNotPrepared(flashback.ctx.region_id).into())
}

impl WriteCommand for FlashbackToVersion {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let Self { flashback, step } = self;
        let mut txn = context.txn(flashback.start_ts);
        let next = context.read(flashback.start_ts, snapshot, &flashback.ctx, |reader| match step {
            Step::Rollback(locks) => roll_back(&mut txn, reader, locks).map(Some),
            Step::Overwrite(keys) => overwrite(&mut txn, reader, keys, &flashback).map(Some),
            Step::Lock(key) => lock_first(&mut txn, reader, key, &flashback).map(|()| None),
            Step::Commit(key) => commit_first(&mut txn, reader, key, &flashback).map(|()| None),
        })?;
        let after = match next {
            None => ProcessResult::Res.into(),
            Some(next) => {
                let cmd = FlashbackToVersionReadPhase { flashback, next };
                AfterWrite::Run(Box::new(Command::FlashbackToVersionReadPhase(cmd)))
            }
        };
        Ok(WriteResult::new(txn, after))
    }
}

/// Rolls back locks until the write is full; returns the last processed key.
fn roll_back<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    locks: Vec<(Key, LockOrSharedLocks)>,
) -> Result<Key> {
    let mut last = Key::from_encoded(Vec::new());
    for (key, lock) in locks {
        last = key.clone();
        match lock {
            LockOrSharedLocks::Lock(lock) => {
                (txn.start_ts, reader.start_ts) = (lock.ts, lock.ts);
                rollback_lock(txn, reader, key, &lock, lock.is_pessimistic_txn(), true)?;
            }
            // The read phase has excluded only the flashback's own lock, which is never shared.
            LockOrSharedLocks::Shared(mut shared) => {
                for start_ts in shared.iter_ts().collect::<Vec<_>>() {
                    (txn.start_ts, reader.start_ts) = (start_ts, start_ts);
                    rollback_shared_lock(txn, reader, key.clone(), &mut shared, true)?;
                }
            }
        }
        if txn.write_size() >= MAX_TXN_WRITE_SIZE {
            break;
        }
    }
    Ok(last)
}

/// Returns type and short value of the key at the version; writes a long value to CF default again.
fn restore_version<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: &Key,
    flashback: &Flashback,
) -> Result<(WriteType, Option<Vec<u8>>)> {
    let Some((then, _)) = reader.reader.get_write_with_commit_ts(key, flashback.version, None)? else {
        return Ok((WriteType::Delete, None));
    };
    if then.short_value.is_none() {
        let value = reader.load_data(key, then)?;
        txn.put_value(key.clone(), flashback.start_ts, value);
        return Ok((WriteType::Put, None));
    }
    Ok((WriteType::Put, then.short_value))
}

fn overwrite<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    keys: Vec<Key>,
    flashback: &Flashback,
) -> Result<Key> {
    let mut last = flashback.start_key.clone();
    for key in keys {
        let (kind, short_value) = restore_version(txn, reader, &key, flashback)?;
        last = key.clone();
        txn.put_write(key, flashback.commit_ts, &Write::new(kind, flashback.start_ts, short_value));
        if txn.write_size() >= MAX_TXN_WRITE_SIZE {
            break;
        }
    }
    Ok(last)
}

fn lock_first<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    flashback: &Flashback,
) -> Result<()> {
    // A lock here is the flashback's own: this is a repetition.
    if reader.load_lock(&key)?.is_some() {
        return Ok(());
    }
    let (kind, short_value) = restore_version(txn, reader, &key, flashback)?;
    let kind = if kind == WriteType::Put { LockType::Put } else { LockType::Delete };
    let primary = key.as_encoded().clone();
    let (zero, start_ts) = (TimeStamp::zero(), flashback.start_ts);
    let lock = Lock::new(kind, primary, start_ts, 0, short_value, zero, 1, zero, false);
    txn.put_lock(key, &lock);
    Ok(())
}

fn commit_first<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    flashback: &Flashback,
) -> Result<()> {
    let Flashback { start_ts, commit_ts, .. } = *flashback;
    let lock = match reader.load_lock(&key)? {
        Some(LockOrSharedLocks::Lock(lock)) if lock.ts == start_ts => lock,
        _ => {
            let key = key.into_raw()?;
            let error = mvcc::ErrorInner::TxnLockNotFound { start_ts, commit_ts, key, mvcc_info: None };
            return Err(mvcc::Error::from(error).into());
        }
    };
    let kind = if lock.lock_type == LockType::Put { WriteType::Put } else { WriteType::Delete };
    txn.put_write(key.clone(), commit_ts, &Write::new(kind, start_ts, lock.short_value));
    txn.unlock_key(key, false, commit_ts);
    Ok(())
}
