//! Prewrites one mutation: checks locks, newer versions and constraints, then writes a lock.
//!
//! Mirrors `src/storage/txn/actions/prewrite.rs`.
use kvproto::kvrpcpb::{
    Assertion, AssertionLevel, prewrite_request::PessimisticAction, write_conflict::Reason,
};
use tikv_kv::Snapshot;
use tracepoints::Req;
use txn_types::{
    Key, LastChange, Lock, LockOrSharedLocks, LockType, Mutation, SharedLocks, TimeStamp, Value, Write,
    WriteConflict, WriteType, is_short_value,
};

use super::{check_data_constraint::check_data_constraint, common::next_last_change_info};
use crate::mvcc::{Error, ErrorInner, MvccTxn, PessimisticLockNotFoundReason, Result, SnapshotReader, facts};

/// Properties common to all mutations of a prewrite.
#[derive(Clone, Debug)]
pub struct TransactionProperties<'a> {
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Optimistic or pessimistic.
    pub kind: TransactionKind,
    /// The kind of commit that the client plans.
    pub commit_kind: CommitKind,
    /// Raw.
    pub primary: &'a [u8],
    /// Number of the transaction's keys in this region; a hint for resolving.
    pub txn_size: u64,
    /// Time to live of the lock, in milliseconds from the physical part of `start_ts`.
    pub lock_ttl: u64,
    /// Minimum commit timestamp of the transaction.
    pub min_commit_ts: TimeStamp,
    /// Whether the client sends the request again.
    pub is_retry_request: bool,
    /// The strictness of the check of assertions.
    pub assertion_level: AssertionLevel,
    /// Source of the write, for CDC; 0 by default.
    pub txn_source: u64,
    /// Number of the flush of a pipelined transaction; 0 for others.
    pub generation: u64,
}

impl TransactionProperties<'_> {
    fn is_pessimistic(&self) -> bool {
        matches!(self.kind, TransactionKind::Pessimistic(_))
    }

    /// Returns the for_update_ts; zero for an optimistic transaction.
    fn for_update_ts(&self) -> TimeStamp {
        match self.kind {
            TransactionKind::Optimistic(_) => TimeStamp::zero(),
            TransactionKind::Pessimistic(ts) => ts,
        }
    }
}

/// Commit protocol of the transaction, with the maximum commit_ts (zero: any).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitKind {
    /// In two phases.
    TwoPc,
    /// In one phase, up to this commit timestamp; zero: any.
    OnePc(TimeStamp),
    /// As an async commit, up to this commit timestamp; zero: any.
    Async(TimeStamp),
}

/// Kind of a transaction, with what its prewrite checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionKind {
    /// Optimistic: whether the check for newer versions can be skipped.
    Optimistic(bool),
    /// Pessimistic, with the for_update_ts.
    Pessimistic(TimeStamp),
}

/// Prewrites one mutation. Returns the min_commit_ts of its lock if one is required, otherwise zero.
/// `secondary_keys` makes it an async-commit lock; they are empty on all keys except the primary.
///
/// # Errors
/// `KeyIsLocked`, `WriteConflict`, `AlreadyExist`, `PessimisticLockNotFound`, `AssertionFailed`,
/// `GenerationOutOfOrder`.
pub fn prewrite<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    txn_props: &TransactionProperties<'_>,
    mutation: Mutation,
    secondary_keys: Option<&[Vec<u8>]>,
    pessimistic_action: PessimisticAction,
    expected_for_update_ts: Option<TimeStamp>,
) -> Result<TimeStamp> {
    let mut mutation = PrewriteMutation::new(mutation, secondary_keys, pessimistic_action, txn_props)?;
    // A check for an absent value is a read at start_ts.
    if mutation.should_not_exist {
        txn.concurrency_manager.update_max_ts(txn_props.start_ts, "prewrite")?;
    }
    let mut amended = false;
    let mut joined = None;
    let lock_status = match reader.load_lock(&mutation.key)? {
        Some(LockOrSharedLocks::Lock(lock)) if !mutation.is_shared => {
            mutation.check_lock(lock, expected_for_update_ts, reader.reader.req)?
        }
        Some(LockOrSharedLocks::Shared(shared)) => {
            let own = mutation.own_shared_lock(&shared)?;
            joined = Some(shared);
            mutation.check_lock(own, expected_for_update_ts, reader.reader.req)?
        }
        Some(lock) => {
            let info = lock.into_lock_info(mutation.key.to_raw()?);
            return Err(ErrorInner::KeyIsLocked(Box::new(info)).into());
        }
        None if mutation.is_shared && pessimistic_action == PessimisticAction::DoPessimisticCheck => {
            let reason = PessimisticLockNotFoundReason::LockMissingAmendFail;
            return Err(mutation.pessimistic_lock_not_found(reason)?);
        }
        None if pessimistic_action == PessimisticAction::DoPessimisticCheck => {
            mutation.amend_pessimistic_lock(reader)?;
            amended = true;
            LockStatus::None
        }
        None => LockStatus::None,
    };
    let mut flushed_before = false;
    if let LockStatus::Locked(min_commit_ts) = lock_status {
        // The client repeats its request. A later flush overwrites an earlier one instead.
        if txn_props.generation == 0 {
            return Ok(min_commit_ts);
        }
        flushed_before = true;
    }
    let newest = match mutation.skip_constraint_check() {
        true => None,
        false => Some(mutation.check_conflict(reader)?),
    };
    // The assertion of a key's first flush is about the data before the transaction; later ones are not.
    if !amended && !flushed_before {
        mutation.check_assertion(reader, newest)?;
    }
    if mutation.should_not_write {
        txn.concurrency_manager.update_max_ts(txn_props.start_ts, "prewrite")?;
        let counts = txn_props.commit_kind != CommitKind::TwoPc;
        let min_commit_ts = txn_props.min_commit_ts.max(txn_props.start_ts.next());
        return Ok(if counts { min_commit_ts } else { TimeStamp::zero() });
    }
    mutation.write_lock(lock_status, txn, joined)
}

#[derive(Clone, Copy)]
enum LockStatus {
    /// The key is already prewritten, with this min_commit_ts.
    Locked(TimeStamp),
    /// The key has the transaction's pessimistic lock, with this for_update_ts.
    Pessimistic(TimeStamp),
    None,
}

struct PrewriteMutation<'a> {
    key: Key,
    value: Option<Value>,
    lock_type: LockType,
    is_shared: bool,
    secondary_keys: Option<&'a [Vec<u8>]>,
    pessimistic_action: PessimisticAction,
    min_commit_ts: TimeStamp,
    lock_ttl: u64,
    last_change: LastChange,
    should_not_exist: bool,
    should_not_write: bool,
    assertion: Assertion,
    props: &'a TransactionProperties<'a>,
}

impl<'a> PrewriteMutation<'a> {
    fn new(
        mutation: Mutation,
        secondary_keys: Option<&'a [Vec<u8>]>,
        pessimistic_action: PessimisticAction,
        props: &'a TransactionProperties<'a>,
    ) -> Result<Self> {
        let should_not_write = mutation.should_not_write();
        if props.is_pessimistic() && should_not_write {
            let what = "a pessimistic transaction cannot prewrite CheckNotExists; lock the key instead";
            return Err(ErrorInner::Other(what.into()).into());
        }
        Ok(Self {
            is_shared: matches!(mutation, Mutation::SharedLock(..)),
            lock_type: LockType::from_mutation(&mutation).unwrap_or(LockType::Lock),
            should_not_exist: mutation.should_not_exists(),
            assertion: mutation.get_assertion(),
            secondary_keys,
            pessimistic_action,
            min_commit_ts: props.min_commit_ts,
            lock_ttl: props.lock_ttl,
            last_change: LastChange::Unknown,
            should_not_write,
            props,
            key: mutation.key().clone(),
            value: mutation.into_key_value().1,
        })
    }

    /// Returns the transaction's part of shared locks.
    fn own_shared_lock(&self, shared: &SharedLocks) -> Result<Lock> {
        match (shared.get_lock(self.props.start_ts), self.is_shared) {
            (Some(own), true) => Ok(own.clone()),
            (Some(_), false) => {
                Err(ErrorInner::Other("use Op::SharedLock to prewrite on a shared lock".into()).into())
            }
            (None, true) => {
                Err(self.pessimistic_lock_not_found(PessimisticLockNotFoundReason::LockMissingAmendFail)?)
            }
            (None, false) => {
                let info = shared.clone().into_lock_info(self.key.to_raw()?);
                Err(ErrorInner::KeyIsLocked(Box::new(info)).into())
            }
        }
    }

    /// Handles an existing lock: the transaction's own, or an error.
    fn check_lock(
        &mut self,
        lock: Lock,
        expected_for_update_ts: Option<TimeStamp>,
        req: Req,
    ) -> Result<LockStatus> {
        if lock.ts != self.props.start_ts {
            if self.pessimistic_action == PessimisticAction::DoPessimisticCheck {
                return Err(self.pessimistic_lock_not_found(PessimisticLockNotFoundReason::LockTsMismatch)?);
            }
            let mut info = lock.into_lock_info(self.key.to_raw()?);
            // A pessimistic transaction gets here only for a key without lock; as in TiKV, it must not wait.
            if self.props.is_pessimistic() {
                info.lock_ttl = 0;
            }
            return Err(ErrorInner::KeyIsLocked(Box::new(info)).into());
        }
        self.last_change = lock.last_change;
        if !lock.is_pessimistic_lock() {
            self.check_generation(&lock, req)?;
            let min_commit_ts = if lock.use_async_commit { lock.min_commit_ts } else { TimeStamp::zero() };
            return Ok(LockStatus::Locked(min_commit_ts));
        }
        if !self.props.is_pessimistic() {
            let (start_ts, key) = (self.props.start_ts, self.key.to_raw()?);
            return Err(ErrorInner::LockTypeNotMatch { start_ts, key, pessimistic: true }.into());
        }
        if expected_for_update_ts.is_some_and(|ts| ts != lock.for_update_ts) {
            let reason = PessimisticLockNotFoundReason::LockForUpdateTsMismatch;
            return Err(self.pessimistic_lock_not_found(reason)?);
        }
        // Heartbeats and readers may have raised these.
        self.lock_ttl = self.lock_ttl.max(lock.ttl);
        self.min_commit_ts = self.min_commit_ts.max(lock.min_commit_ts);
        Ok(LockStatus::Pessimistic(lock.for_update_ts))
    }

    /// Checks a flush against the transaction's earlier flush of the key. TiKV: `PrewriteMutation::check_lock`.
    fn check_generation(&self, lock: &Lock, req: Req) -> Result<()> {
        let generation = self.props.generation;
        let late = generation > 0 && lock.generation >= generation;
        // A key that an earlier flush has put exists, although it is not committed.
        let exists = lock.generation > 0 && self.should_not_exist && lock.lock_type == LockType::Put;
        if generation > 0 {
            tracepoints::step_inside!(
                FLUSH_CHECK_GENERATION,
                req,
                facts::generation(&self.key, lock, generation),
                generation = generation,
                lock_generation = lock.generation,
                failed = late || exists,
            );
        }
        if late {
            let (key, lock) = (self.key.clone(), Box::new(lock.clone()));
            return Err(ErrorInner::GenerationOutOfOrder { generation, key, lock }.into());
        }
        if exists {
            let (key, existing_start_ts) = (self.key.to_raw()?, lock.ts);
            return Err(ErrorInner::AlreadyExist { key, existing_start_ts }.into());
        }
        Ok(())
    }

    fn pessimistic_lock_not_found(&self, reason: PessimisticLockNotFoundReason) -> Result<Error> {
        let (start_ts, key) = (self.props.start_ts, self.key.to_raw()?);
        Ok(ErrorInner::PessimisticLockNotFound { start_ts, key, reason }.into())
    }

    /// Handles a lost pessimistic lock (by pipelined locking): harmless without writes since start_ts.
    fn amend_pessimistic_lock<S: Snapshot>(&mut self, reader: &mut SnapshotReader<S>) -> Result<()> {
        let newest = reader.seek_write(&self.key, TimeStamp::max())?;
        self.last_change = match &newest {
            Some((commit_ts, _)) if *commit_ts >= reader.start_ts => {
                let reason = PessimisticLockNotFoundReason::LockMissingAmendFail;
                return Err(self.pessimistic_lock_not_found(reason)?);
            }
            Some((commit_ts, write)) => next_last_change_info(&self.key, write, *commit_ts, reader)?,
            None => LastChange::NotExist,
        };
        self.check_assertion(reader, Some(newest.map(|(ts, write)| (write, ts))))
    }

    /// Stamps the result of the check for a newer version.
    fn check_conflict<S: Snapshot>(
        &mut self,
        reader: &mut SnapshotReader<S>,
    ) -> Result<Option<(Write, TimeStamp)>> {
        let checked = self.check_for_newer_version(reader);
        let newest = checked.as_ref().ok().and_then(Option::as_ref);
        let (start_ts, for_update_ts) = (self.props.start_ts, self.props.for_update_ts());
        let error = || checked.as_ref().err().map(ToString::to_string);
        tracepoints::step_inside!(
            PREWRITE_CHECK_CONFLICT,
            reader.reader.req,
            facts::conflict(&self.key, start_ts, for_update_ts, newest, error()),
            start_ts = start_ts.into_inner(),
            commit_ts = newest.map_or(0, |(_, commit_ts)| commit_ts.into_inner()),
            failed = checked.is_err(),
        );
        checked
    }

    /// Checks the newest record and returns it.
    fn check_for_newer_version<S: Snapshot>(
        &mut self,
        reader: &mut SnapshotReader<S>,
    ) -> Result<Option<(Write, TimeStamp)>> {
        let start_ts = self.props.start_ts;
        let mut seek_ts = TimeStamp::max();
        while let Some((commit_ts, write)) = reader.seek_write(&self.key, seek_ts)? {
            let rolled_back = write.write_type == WriteType::Rollback || write.has_overlapped_rollback;
            if commit_ts == start_ts && rolled_back {
                return Err(self.write_conflict(&write, commit_ts, Reason::SelfRolledBack)?);
            }
            if seek_ts.is_max() {
                self.last_change = next_last_change_info(&self.key, &write, commit_ts, reader)?;
            }
            match self.props.kind {
                TransactionKind::Optimistic(_) if commit_ts > start_ts => {
                    return Err(self.write_conflict(&write, commit_ts, Reason::Optimistic)?);
                }
                TransactionKind::Pessimistic(for_update_ts) => {
                    let lazy = self.pessimistic_action == PessimisticAction::DoConstraintCheck;
                    if lazy && commit_ts > start_ts {
                        return Err(self.write_conflict(&write, commit_ts, Reason::LazyUniquenessCheck)?);
                    }
                    if commit_ts > for_update_ts && write.write_type == WriteType::Rollback {
                        seek_ts = commit_ts.prev();
                        continue;
                    }
                    if commit_ts > for_update_ts {
                        let reason = PessimisticLockNotFoundReason::NonLockKeyConflict;
                        return Err(self.pessimistic_lock_not_found(reason)?);
                    }
                }
                TransactionKind::Optimistic(_) => {}
            }
            check_data_constraint(reader, self.should_not_exist, &write, commit_ts, &self.key)?;
            return Ok(Some((write, commit_ts)));
        }
        if seek_ts.is_max() {
            self.last_change = LastChange::NotExist;
        }
        Ok(None)
    }

    fn write_conflict(&self, write: &Write, commit_ts: TimeStamp, reason: Reason) -> Result<Error> {
        Ok(WriteConflict {
            start_ts: self.props.start_ts,
            conflict_start_ts: write.start_ts,
            conflict_commit_ts: commit_ts,
            key: self.key.to_raw()?,
            primary: self.props.primary.to_vec(),
            reason,
        }
        .into())
    }

    /// Writes the lock, and a long value to CF default. `joined`: the shared locks that the lock is a part of.
    fn write_lock(
        self,
        lock_status: LockStatus,
        txn: &mut MvccTxn,
        joined: Option<SharedLocks>,
    ) -> Result<TimeStamp> {
        let from_request = self.props.for_update_ts();
        let (for_update_ts, had_pessimistic_lock) = match lock_status {
            LockStatus::Pessimistic(from_lock) => (from_request.max(from_lock), true),
            _ => (from_request, false),
        };
        let props = self.props;
        let mut lock = Lock::new(
            self.lock_type,
            props.primary.to_vec(),
            props.start_ts,
            self.lock_ttl,
            None,
            for_update_ts,
            props.txn_size,
            self.min_commit_ts,
            false,
        )
        .set_txn_source(props.txn_source)
        .with_generation(props.generation);
        if self.lock_type == LockType::Lock {
            lock = lock.set_last_change(self.last_change);
        }
        match self.value {
            Some(value) if is_short_value(&value) => lock.short_value = Some(value),
            Some(value) => txn.put_value(self.key.clone(), props.start_ts, value),
            None => {}
        }
        let max_commit_ts = match props.commit_kind {
            CommitKind::TwoPc => {
                put_lock(txn, self.key, lock, joined)?;
                return Ok(TimeStamp::zero());
            }
            CommitKind::OnePc(max) | CommitKind::Async(max) => max,
        };
        lock.use_one_pc = self.secondary_keys.is_none();
        if let Some(secondaries) = self.secondary_keys {
            lock = lock.use_async_commit(secondaries.to_vec());
        }
        let result = async_commit_timestamps(&self.key, &mut lock, for_update_ts, max_commit_ts, txn);
        if let Err(ErrorInner::CommitTsTooLarge { .. }) = &result {
            // The caller falls back to two phases: write a plain lock.
            (lock.use_one_pc, lock.use_async_commit) = (false, false);
            lock.secondaries = Vec::new();
        }
        if lock.use_one_pc && joined.is_none() {
            txn.locks_for_1pc.push((self.key, lock, had_pessimistic_lock));
        } else {
            put_lock(txn, self.key, lock, joined)?;
        }
        Ok(result?)
    }

    /// Checks the mutation's assertion. `newest`: the newest record, if already read.
    fn check_assertion<S: Snapshot>(
        &mut self,
        reader: &mut SnapshotReader<S>,
        newest: Option<Option<(Write, TimeStamp)>>,
    ) -> Result<()> {
        let level = self.props.assertion_level;
        let skip = level != AssertionLevel::Strict && newest.is_none();
        if self.assertion == Assertion::None || level == AssertionLevel::Off || skip {
            return Ok(());
        }
        tracepoints::step_inside!(
            PREWRITE_CHECK_ASSERTION,
            reader.reader.req,
            facts::change("Assertion", &self.key)
                .text("expected", format!("{:?}", self.assertion))
                .text("level", format!("{level:?}")),
            start_ts = self.props.start_ts.into_inner(),
        );
        // A writer reads the latest version, so any fence means that GC removed the version.
        let taken = |(w, _): &(Write, TimeStamp)| w.gc_fence.is_some_and(|fence| !fence.is_zero());
        let is_data = |w: &Write| matches!(w.write_type, WriteType::Put | WriteType::Delete);
        let version = match newest {
            Some(found) => match found.filter(|v| !taken(v)) {
                Some((write, ts)) if !is_data(&write) => reader.get_write_with_commit_ts(&self.key, ts)?,
                other => other,
            },
            None => reader.get_write_with_commit_ts(&self.key, TimeStamp::max())?,
        };
        let exists = version.as_ref().is_some_and(|(w, _)| w.write_type == WriteType::Put);
        let held = match self.assertion {
            Assertion::Exist => exists,
            Assertion::NotExist => !exists,
            Assertion::None => true,
        };
        if held {
            return Ok(());
        }
        // A conflict is more useful to the client than a failed assertion.
        if self.skip_constraint_check() {
            self.check_for_newer_version(reader)?;
        }
        let (existing_start_ts, existing_commit_ts) =
            version.map_or((TimeStamp::zero(), TimeStamp::zero()), |(w, ts)| (w.start_ts, ts));
        Err(ErrorInner::AssertionFailed {
            start_ts: self.props.start_ts,
            key: self.key.to_raw()?,
            assertion: self.assertion,
            existing_start_ts,
            existing_commit_ts,
        }
        .into())
    }

    /// Whether a newer version is impossible or irrelevant.
    fn skip_constraint_check(&self) -> bool {
        match self.props.kind {
            TransactionKind::Optimistic(skip) => skip,
            TransactionKind::Pessimistic(_) => match self.pessimistic_action {
                PessimisticAction::DoPessimisticCheck => true,
                // A retry may arrive after the transaction was committed.
                PessimisticAction::SkipPessimisticCheck => !self.props.is_retry_request,
                PessimisticAction::DoConstraintCheck => false,
            },
        }
    }
}

/// Writes the lock, or its part of shared locks.
fn put_lock(txn: &mut MvccTxn, key: Key, lock: Lock, joined: Option<SharedLocks>) -> Result<()> {
    let Some(mut shared) = joined else {
        txn.put_lock(key, &lock);
        return Ok(());
    };
    let refused = match (lock.generation, lock.use_one_pc, lock.use_async_commit) {
        (0, false, false) => None,
        (0, true, _) => Some("shared lock prewrite is incompatible with one-phase commit".to_owned()),
        (0, false, true) => {
            Some("shared lock prewrite cannot use async-commit, falling back to 2PC".to_owned())
        }
        (generation, ..) => Some(format!(
            "shared lock prewrite does not support non-zero generation, generation: {generation}"
        )),
    };
    if let Some(what) = refused {
        return Err(ErrorInner::Other(what).into());
    }
    shared.update_lock(lock)?;
    txn.put_shared_locks(key, &shared);
    Ok(())
}

/// Sets the lock's min_commit_ts above all earlier reads, and adds the lock to the memory table, so that a
/// later read either raises max_ts first or finds the lock.
fn async_commit_timestamps(
    key: &Key,
    lock: &mut Lock,
    for_update_ts: TimeStamp,
    max_commit_ts: TimeStamp,
    txn: &mut MvccTxn,
) -> std::result::Result<TimeStamp, ErrorInner> {
    let guard = txn.concurrency_manager.lock_key(key);
    let min_commit_ts = guard.with_lock(|slot| {
        let max_ts = txn.concurrency_manager.max_ts();
        let min_commit_ts = max_ts.max(lock.ts).max(for_update_ts).next().max(lock.min_commit_ts);
        if !max_commit_ts.is_zero() && min_commit_ts > max_commit_ts {
            return Err(ErrorInner::CommitTsTooLarge { start_ts: lock.ts, min_commit_ts, max_commit_ts });
        }
        lock.min_commit_ts = min_commit_ts;
        *slot = Some(lock.clone());
        Ok(min_commit_ts)
    })?;
    txn.guards.push(guard);
    Ok(min_commit_ts)
}
