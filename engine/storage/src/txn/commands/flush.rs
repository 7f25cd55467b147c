//! Flush: writes a part of a pipelined transaction before its commit.
//!
//! Mirrors `src/storage/txn/commands/flush.rs`.
use kvproto::kvrpcpb::{self, AssertionLevel, Context, prewrite_request::PessimisticAction};
use tikv_kv::Snapshot;
use txn_types::{Mutation, TimeStamp};

use super::{
    TypedCommand, WriteCommand, WriteContext, WriteResult, command_ext, prewrite::write_bytes_of, read_enum,
};
use crate::{
    errors::{Error, ErrorInner, Result},
    mvcc::{self, MvccTxn, SnapshotReader},
    txn::actions::{
        common::check_committed_record_on_err,
        prewrite::{CommitKind, TransactionKind, TransactionProperties, prewrite},
    },
    types::ProcessResult,
};

/// Writes of one flush. The client numbers its flushes; a key may be in several of them, and the last one counts.
#[derive(Clone, Debug)]
pub struct Flush {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Raw.
    pub primary: Vec<u8>,
    /// Changes of the keys.
    pub mutations: Vec<Mutation>,
    /// Number of the flush, from 1.
    pub generation: u64,
    /// Time to live of the locks, in milliseconds from the physical part of `start_ts`.
    pub lock_ttl: u64,
    /// The strictness of the check of assertions.
    pub assertion_level: AssertionLevel,
}

/// Creates the flush command of a request. Like TiKV, ignores `min_commit_ts` of the request: the locks have the
/// timestamp after `start_ts`, so that readers may raise it.
///
/// # Errors
/// `InvalidRequest` for an invalid mutation, or an unknown level of assertions.
pub fn typed_flush(req: kvrpcpb::FlushRequest) -> Result<TypedCommand<Vec<Result<()>>>> {
    let mutations = req.mutations.into_iter().map(Mutation::try_from).collect::<txn_types::Result<Vec<_>>>();
    let command = Flush {
        start_ts: req.start_ts.into(),
        primary: req.primary_key,
        mutations: mutations.map_err(|e| Error::from(ErrorInner::InvalidRequest(e)))?,
        generation: req.generation,
        lock_ttl: req.lock_ttl,
        assertion_level: read_enum("assertion_level", req.assertion_level)?,
        ctx: req.context.unwrap_or_default(),
    };
    Ok(command.into())
}

command_ext!(
    Flush, "flush", ctx: |cmd| &cmd.ctx, ts: |cmd| cmd.start_ts,
    keys: |cmd| cmd.mutations.iter().map(Mutation::key).collect(),
    fn write_bytes(&self) -> usize {
        self.mutations.iter().map(write_bytes_of).sum()
    }
);

impl WriteCommand for Flush {
    fn process_write<S: Snapshot>(
        mut self,
        snapshot: S,
        mut context: WriteContext<'_>,
    ) -> Result<WriteResult> {
        if self.generation == 0 {
            return Err(Error::other("generation should be greater than 0 for Flush requests"));
        }
        let mut txn = context.txn(self.start_ts);
        let (start_ts, ctx) = (self.start_ts, self.ctx.clone());
        let results = context.read(start_ts, snapshot, &ctx, |reader| self.flush(&mut txn, reader))?;
        // Keys without an error are written, even if others are locked: a repetition skips them.
        Ok(WriteResult::new(txn, ProcessResult::MultiRes { results }))
    }
}

impl Flush {
    fn flush<S: Snapshot>(
        &mut self,
        txn: &mut MvccTxn,
        reader: &mut SnapshotReader<S>,
    ) -> Result<Vec<Result<()>>> {
        let (mut locks, mut assertion_failure) = (Vec::new(), None);
        for mutation in std::mem::take(&mut self.mutations) {
            let key = mutation.key().clone();
            let Err(e) = self.flush_one(txn, reader, mutation) else { continue };
            match *e.0 {
                mvcc::ErrorInner::KeyIsLocked(_) => match check_committed_record_on_err(txn, reader, &key)? {
                    Some(_) => return Ok(Vec::new()),
                    None => locks.push(Err(mvcc::Error(e.0).into())),
                },
                mvcc::ErrorInner::WriteConflict(ref conflict)
                    if conflict.conflict_commit_ts > conflict.start_ts =>
                {
                    return match check_committed_record_on_err(txn, reader, &key)? {
                        Some(_) => Ok(Vec::new()),
                        None => Err(mvcc::Error(e.0).into()),
                    };
                }
                // Return the failed assertion only if nothing else fails: a conflict is the likelier cause.
                mvcc::ErrorInner::AssertionFailed { .. } => _ = assertion_failure.get_or_insert(e),
                mvcc::ErrorInner::GenerationOutOfOrder { .. } => {
                    log::info!("skipped a key of a late flush: {e}")
                }
                _ => return Err(e.into()),
            }
        }
        match assertion_failure {
            Some(e) => Err(e.into()),
            None => Ok(locks),
        }
    }

    fn flush_one<S: Snapshot>(
        &self,
        txn: &mut MvccTxn,
        reader: &mut SnapshotReader<S>,
        mutation: Mutation,
    ) -> mvcc::Result<()> {
        let props = TransactionProperties {
            start_ts: self.start_ts,
            kind: TransactionKind::Optimistic(false),
            commit_kind: CommitKind::TwoPc,
            primary: &self.primary,
            // Unknown before the last flush. The greatest size makes a reader resolve a whole region, not single keys.
            txn_size: u64::MAX,
            lock_ttl: self.lock_ttl,
            min_commit_ts: self.start_ts.next(),
            is_retry_request: self.ctx.is_retry_request,
            assertion_level: self.assertion_level,
            txn_source: self.ctx.txn_source,
            generation: self.generation,
        };
        prewrite(txn, reader, &props, mutation, None, PessimisticAction::SkipPessimisticCheck, None).map(drop)
    }
}
