//! Prewrite: the first phase, optimistic or of keys with pessimistic locks.
//!
//! Mirrors `src/storage/txn/commands/prewrite.rs`.
use kvproto::kvrpcpb::{self, AssertionLevel, Context, prewrite_request::PessimisticAction};
use tikv_kv::Snapshot;
use tracepoints::Facts;
use txn_types::{Mutation, TimeStamp, Write, WriteType};

use super::{TypedCommand, WriteCommand, WriteContext, WriteResult, command_ext, invalid_request, read_enum};
use crate::{
    errors::{Error, ErrorInner, Result},
    mvcc::{self, MvccTxn, SnapshotReader},
    txn::actions::{
        common::check_committed_record_on_err,
        prewrite::{CommitKind, TransactionKind, TransactionProperties, prewrite},
    },
    types::{PrewriteResult, ProcessResult},
};

/// Fields common to both kinds of prewrite.
#[derive(Clone, Debug)]
pub struct PrewriteParams {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Raw.
    pub primary: Vec<u8>,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Time to live of the lock, in milliseconds from the physical part of `start_ts`.
    pub lock_ttl: u64,
    /// Number of the transaction's keys in this region; a hint for resolving.
    pub txn_size: u64,
    /// Minimum commit timestamp of the transaction.
    pub min_commit_ts: TimeStamp,
    /// Commit timestamp above which the client falls back to two phases; zero: none.
    pub max_commit_ts: TimeStamp,
    /// Raw; `Some`: the client requests an async commit.
    pub secondary_keys: Option<Vec<Vec<u8>>>,
    /// Whether the client requests a commit in one phase.
    pub try_one_pc: bool,
    /// The strictness of the check of assertions.
    pub assertion_level: AssertionLevel,
}

/// Prewrite of an optimistic transaction.
#[derive(Clone, Debug)]
pub struct Prewrite {
    /// Fields common to both kinds of prewrite.
    pub params: PrewriteParams,
    /// Changes of the keys.
    pub mutations: Vec<Mutation>,
    /// Whether to skip the check for newer versions.
    pub skip_constraint_check: bool,
}

/// Mutation of a pessimistic transaction.
#[derive(Clone, Debug)]
pub struct PessimisticMutation {
    /// Change of the key.
    pub mutation: Mutation,
    /// The check of the key's pessimistic lock.
    pub action: PessimisticAction,
    /// The for_update_ts that the lock must have, if the client names one.
    pub expected_for_update_ts: Option<TimeStamp>,
}

/// Prewrite of a pessimistic transaction.
#[derive(Clone, Debug)]
pub struct PrewritePessimistic {
    /// Fields common to both kinds of prewrite.
    pub params: PrewriteParams,
    /// Changes of the keys.
    pub mutations: Vec<PessimisticMutation>,
    /// Timestamp at which the pessimistic statement reads.
    pub for_update_ts: TimeStamp,
}

/// Creates the prewrite command of a request.
///
/// # Errors
/// `InvalidRequest` for an invalid mutation, an unknown value of an enum, or if the lengths of the lists differ.
pub fn typed_prewrite(req: kvrpcpb::PrewriteRequest) -> Result<TypedCommand<PrewriteResult>> {
    let params = PrewriteParams {
        primary: req.primary_lock,
        start_ts: req.start_version.into(),
        lock_ttl: req.lock_ttl,
        txn_size: req.txn_size,
        min_commit_ts: req.min_commit_ts.into(),
        max_commit_ts: req.max_commit_ts.into(),
        secondary_keys: req.use_async_commit.then_some(req.secondaries),
        try_one_pc: req.try_one_pc,
        assertion_level: read_enum("assertion_level", req.assertion_level)?,
        ctx: req.context.unwrap_or_default(),
    };
    let mutations = req.mutations.into_iter().map(Mutation::try_from).collect::<txn_types::Result<Vec<_>>>();
    let mutations = mutations.map_err(|e| Error::from(ErrorInner::InvalidRequest(e)))?;
    if req.for_update_ts == 0 {
        let skip_constraint_check = req.skip_constraint_check;
        return Ok(Prewrite { params, mutations, skip_constraint_check }.into());
    }
    let (count, actions) = (mutations.len(), req.pessimistic_actions);
    if actions.len() != count {
        // TiKV leaves out the mutations without an action, and answers that all are prewritten.
        let found = actions.len();
        return Err(invalid_request(format!(
            "expected {count} pessimistic_actions, one for each mutation, found {found}"
        )));
    }
    let with_action = |(mutation, action): (Mutation, i32)| -> Result<PessimisticMutation> {
        let action = read_enum("pessimistic_actions", action)?;
        Ok(PessimisticMutation { mutation, action, expected_for_update_ts: None })
    };
    let mut mutations = mutations.into_iter().zip(actions).map(with_action).collect::<Result<Vec<_>>>()?;
    for constraint in req.for_update_ts_constraints {
        let Some(mutation) = mutations.get_mut(constraint.index as usize) else {
            let what = format!(
                "expected an index below {count} in for_update_ts_constraints, found {}",
                constraint.index
            );
            return Err(invalid_request(what));
        };
        mutation.expected_for_update_ts = Some(constraint.expected_for_update_ts.into());
    }
    Ok(PrewritePessimistic { params, mutations, for_update_ts: req.for_update_ts.into() }.into())
}

pub(super) fn write_bytes_of(mutation: &Mutation) -> usize {
    match mutation {
        Mutation::Put((key, value), _) | Mutation::Insert((key, value), _) => key.len() + value.len(),
        Mutation::CheckNotExists(..) => 0,
        other => other.key().len(),
    }
}

command_ext!(
    Prewrite, "prewrite", ctx: |cmd| &cmd.params.ctx, ts: |cmd| cmd.params.start_ts,
    keys: |cmd| cmd.mutations.iter().map(Mutation::key).collect(),
    fn write_bytes(&self) -> usize {
        self.mutations.iter().map(write_bytes_of).sum()
    }
);

command_ext!(
    PrewritePessimistic, "prewrite", ctx: |cmd| &cmd.params.ctx, ts: |cmd| cmd.params.start_ts,
    keys: |cmd| cmd.mutations.iter().map(|m| m.mutation.key()).collect(),
    fn write_bytes(&self) -> usize {
        self.mutations.iter().map(|m| write_bytes_of(&m.mutation)).sum()
    }
);

impl WriteCommand for Prewrite {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        let plain = |mutation| PessimisticMutation {
            mutation,
            action: PessimisticAction::SkipPessimisticCheck,
            expected_for_update_ts: None,
        };
        let kind = TransactionKind::Optimistic(self.skip_constraint_check);
        let mutations = self.mutations.into_iter().map(plain).collect();
        Prewriter { kind, mutations, params: self.params }.process_write(snapshot, context)
    }
}

impl WriteCommand for PrewritePessimistic {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        let kind = TransactionKind::Pessimistic(self.for_update_ts);
        Prewriter { kind, mutations: self.mutations, params: self.params }.process_write(snapshot, context)
    }
}

struct Prewriter {
    kind: TransactionKind,
    mutations: Vec<PessimisticMutation>,
    params: PrewriteParams,
}

/// Progress of a prewrite of several keys.
struct Progress {
    locks: Vec<Result<()>>,
    /// Zero after the fallback to two phases.
    final_min_commit_ts: TimeStamp,
    assertion_failure: Option<mvcc::Error>,
}

impl Prewriter {
    fn process_write<S: Snapshot>(
        mut self,
        snapshot: S,
        mut context: WriteContext<'_>,
    ) -> Result<WriteResult> {
        self.params.try_one_pc &= context.enable_one_pc;
        if !context.enable_async_commit {
            self.params.secondary_keys = None;
        }
        self.check_txn_status_cache(&context);
        if self.needs_min_commit_ts() {
            self.check_timestamps(&snapshot, &context)?;
        }
        let mut txn = context.txn(self.params.start_ts);
        let (start_ts, ctx) = (self.params.start_ts, self.params.ctx.clone());
        let done = context.read(start_ts, snapshot, &ctx, |reader| self.prewrite(&mut txn, reader))?;
        Ok(self.write_result(txn, done))
    }

    /// Treats the prewrite of a pessimistic transaction as repeated if the transaction is known to be committed:
    /// the first request may arrive after its repetition. A repeated prewrite does not skip the check for newer
    /// versions.
    fn check_txn_status_cache(&mut self, context: &WriteContext<'_>) {
        let TransactionKind::Pessimistic(_) = self.kind else { return };
        let start_ts = self.params.start_ts;
        let Some(commit_ts) = context.txn_status_cache.get_committed_no_promote(start_ts) else { return };
        log::warn!(
            "prewrite of a transaction that is committed, start_ts: {start_ts}, commit_ts: {commit_ts}"
        );
        tracepoints::step_inside!(
            TXN_STATUS_CACHE_HIT,
            context.req,
            Facts::new("Transaction status")
                .ts("start_ts", start_ts.into_inner())
                .ts("commit_ts", commit_ts.into_inner())
                .outcome("committed: the prewrite is late"),
            start_ts = start_ts.into_inner(),
            commit_ts = commit_ts.into_inner(),
        );
        self.params.ctx.is_retry_request = true;
    }

    /// Checks that min_commit_ts will be above all reads, also those at earlier leaders, and that its inputs
    /// can come from PD.
    /// TiKV: `check_max_ts_synced`.
    fn check_timestamps<S: Snapshot>(&self, snapshot: &S, context: &WriteContext<'_>) -> Result<()> {
        let start_ts = self.params.start_ts;
        if !snapshot.is_max_ts_synced() {
            let region_id = self.params.ctx.region_id;
            return Err(ErrorInner::MaxTimestampNotSynced { region_id, start_ts }.into());
        }
        let for_update_ts = match self.kind {
            TransactionKind::Optimistic(_) => TimeStamp::zero(),
            TransactionKind::Pessimistic(ts) => ts,
        };
        for ts in [start_ts, for_update_ts, self.params.min_commit_ts] {
            context.concurrency_manager.check_ts(ts, "prewrite")?;
        }
        Ok(())
    }

    fn prewrite<S: Snapshot>(
        &mut self,
        txn: &mut MvccTxn,
        reader: &mut SnapshotReader<S>,
    ) -> Result<Progress> {
        let mut progress =
            Progress { locks: Vec::new(), final_min_commit_ts: TimeStamp::zero(), assertion_failure: None };
        for mutation in std::mem::take(&mut self.mutations) {
            let key = mutation.mutation.key().clone();
            let result = self.prewrite_one(txn, reader, mutation);
            match result.map_err(|e| *e.0) {
                Ok(ts) if !(self.needs_min_commit_ts() && ts.is_zero()) => {
                    progress.final_min_commit_ts = progress.final_min_commit_ts.max(ts);
                }
                // Prewritten earlier, in two-phase mode.
                Ok(_) => self.fall_back_to_2pc(txn, &mut progress),
                Err(mvcc::ErrorInner::CommitTsTooLarge { .. }) => {
                    if let Some(commit_ts) = check_committed_record_on_err(txn, reader, &key)? {
                        return Ok(already_committed(commit_ts));
                    }
                    self.fall_back_to_2pc(txn, &mut progress);
                }
                Err(e @ mvcc::ErrorInner::KeyIsLocked(_)) => {
                    if let Some(commit_ts) = check_committed_record_on_err(txn, reader, &key)? {
                        return Ok(already_committed(commit_ts));
                    }
                    progress.locks.push(Err(mvcc::Error::from(e).into()));
                }
                Err(e) if may_be_committed(&e) => {
                    return match check_committed_record_on_err(txn, reader, &key)? {
                        Some(commit_ts) => Ok(already_committed(commit_ts)),
                        None => Err(mvcc::Error::from(e).into()),
                    };
                }
                // Return it only if nothing else fails: a conflict is the likelier cause.
                Err(e @ mvcc::ErrorInner::AssertionFailed { .. }) => {
                    progress.assertion_failure.get_or_insert(e.into());
                }
                Err(e) => return Err(mvcc::Error::from(e).into()),
            }
        }
        match progress.assertion_failure.take() {
            Some(e) => Err(e.into()),
            None => Ok(progress),
        }
    }

    fn prewrite_one<S: Snapshot>(
        &self,
        txn: &mut MvccTxn,
        reader: &mut SnapshotReader<S>,
        mutation: PessimisticMutation,
    ) -> mvcc::Result<TimeStamp> {
        let params = &self.params;
        let is_primary = mutation.mutation.key().is_encoded_from(&params.primary);
        let secondaries = params.secondary_keys.as_deref().map(|keys| if is_primary { keys } else { &[] });
        let props = TransactionProperties {
            start_ts: params.start_ts,
            kind: self.kind,
            commit_kind: self.commit_kind(),
            primary: &params.primary,
            txn_size: params.txn_size,
            lock_ttl: params.lock_ttl,
            min_commit_ts: params.min_commit_ts,
            is_retry_request: params.ctx.is_retry_request,
            assertion_level: params.assertion_level,
            txn_source: params.ctx.txn_source,
            generation: 0,
        };
        let one_pc = params.try_one_pc;
        let secondaries = if one_pc { None } else { secondaries };
        let PessimisticMutation { mutation, action, expected_for_update_ts } = mutation;
        prewrite(txn, reader, &props, mutation, secondaries, action, expected_for_update_ts)
    }

    fn commit_kind(&self) -> CommitKind {
        match (self.params.try_one_pc, &self.params.secondary_keys) {
            (true, _) => CommitKind::OnePc(self.params.max_commit_ts),
            (false, Some(_)) => CommitKind::Async(self.params.max_commit_ts),
            (false, None) => CommitKind::TwoPc,
        }
    }

    fn needs_min_commit_ts(&self) -> bool {
        self.commit_kind() != CommitKind::TwoPc
    }

    fn fall_back_to_2pc(&mut self, txn: &mut MvccTxn, progress: &mut Progress) {
        self.params.secondary_keys = None;
        self.params.try_one_pc = false;
        for (key, mut lock, _) in std::mem::take(&mut txn.locks_for_1pc) {
            lock.use_one_pc = false;
            txn.put_lock(key, &lock);
        }
        txn.guards.clear();
        progress.final_min_commit_ts = TimeStamp::zero();
    }

    fn write_result(self, mut txn: MvccTxn, done: Progress) -> WriteResult {
        let is_async = self.params.secondary_keys.is_some();
        let min_commit_ts = if is_async { done.final_min_commit_ts } else { TimeStamp::zero() };
        let start_ts = self.params.start_ts;
        let mut result = PrewriteResult { locks: done.locks, min_commit_ts, ..Default::default() };
        if !result.locks.is_empty() {
            // Some keys are locked: write nothing, the client retries.
            txn.clear();
        } else if self.params.try_one_pc {
            result.one_pc_commit_ts = done.final_min_commit_ts;
            one_pc_commit(&mut txn, done.final_min_commit_ts);
        }
        let one_pc = result.one_pc_commit_ts;
        let committed = (!one_pc.is_zero()).then_some((start_ts, one_pc));
        WriteResult::new(txn, ProcessResult::PrewriteResult { result }).with_committed(committed)
    }
}

/// Whether the error may be caused by our own commit, since the request is late or repeated.
fn may_be_committed(e: &mvcc::ErrorInner) -> bool {
    match e {
        mvcc::ErrorInner::WriteConflict(conflict) => conflict.conflict_commit_ts > conflict.start_ts,
        mvcc::ErrorInner::PessimisticLockNotFound { .. } => true,
        _ => false,
    }
}

fn already_committed(commit_ts: TimeStamp) -> Progress {
    Progress { locks: Vec::new(), final_min_commit_ts: commit_ts, assertion_failure: None }
}

/// Converts the collected locks to commit records.
fn one_pc_commit(txn: &mut MvccTxn, commit_ts: TimeStamp) {
    for (key, lock, delete_pessimistic_lock) in std::mem::take(&mut txn.locks_for_1pc) {
        if let Some(write_type) = WriteType::from_lock_type(lock.lock_type) {
            let write = Write::new(write_type, txn.start_ts, lock.short_value)
                .set_last_change(lock.last_change)
                .set_txn_source(lock.txn_source);
            txn.put_write(key.clone(), commit_ts, &write);
        }
        if delete_pessimistic_lock {
            txn.unlock_key(key, true, commit_ts);
        }
    }
}
