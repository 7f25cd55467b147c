//! Transactions of every kind: begun, locked, prewritten, then committed, rolled back, or left to others.
use kvproto::kvrpcpb::{prewrite_request::PessimisticAction, *};
use rand::Rng;

use super::{
    Run,
    caller::owned,
    percolator::{Key, Verdict, Write},
};

/// Time for which locks live; a crash is shown to the server as a later time.
const TTL: u64 = 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TwoPhases,
    AsyncCommit,
    OnePhase,
    Pessimistic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begun,
    /// The pessimistic locks are held since this `for_update_ts`.
    Locked(u64),
    /// An async commit must commit at this timestamp.
    Prewritten(Option<u64>),
}

/// A transaction of the client. Its first key is the primary.
#[derive(Clone, Debug)]
pub struct Txn {
    pub start: u64,
    kind: Kind,
    writes: Vec<(Key, Write)>,
    phase: Phase,
}

impl Txn {
    fn keys(&self) -> Vec<Key> {
        self.writes.iter().map(|(key, _)| *key).collect()
    }

    fn primary(&self) -> Key {
        self.writes[0].0
    }

    fn writes_of(&self, keys: &[Key]) -> Vec<(Key, Write)> {
        self.writes.iter().filter(|(key, _)| keys.contains(key)).cloned().collect()
    }
}

fn mutation((key, write): &(Key, Write)) -> Mutation {
    let (op, value) = match write {
        Write::Set(Some(value)) => (Op::Put, value.clone()),
        Write::Set(None) => (Op::Del, Vec::new()),
        Write::Lock => (Op::Lock, Vec::new()),
    };
    Mutation { op: op as i32, key: key.to_vec(), value, ..Default::default() }
}

/// Translates the errors of a reply.
fn verdict(errors: &[KeyError], context: &str) -> Verdict {
    match errors.first() {
        None => Verdict::Done,
        Some(KeyError { locked: Some(lock), .. }) => Verdict::Locked(lock.lock_version),
        Some(KeyError { conflict: Some(_), .. }) => Verdict::Conflict,
        Some(other) => panic!("{context}: {other:?}"),
    }
}

impl Run {
    pub fn begin(&mut self) {
        let start = self.caller.ts();
        let kind = match self.rng.random_range(0..4) {
            0 => Kind::TwoPhases,
            1 => Kind::AsyncCommit,
            2 => Kind::OnePhase,
            _ => Kind::Pessimistic,
        };
        let writes = self.choose_keys().into_iter().map(|key| (key, self.choose_write(start))).collect();
        self.open.push(Txn { start, kind, writes, phase: Phase::Begun });
    }

    /// Removes a transaction in a phase that `wanted` accepts.
    fn take(&mut self, wanted: impl Fn(&Txn) -> bool) -> Option<Txn> {
        let found: Vec<usize> = (0..self.open.len()).filter(|n| wanted(&self.open[*n])).collect();
        let n = *rand::seq::IndexedRandom::choose(&found[..], &mut self.rng)?;
        Some(self.open.remove(n))
    }

    /// Locks or prewrites the keys of a transaction.
    pub fn advance(&mut self) {
        let Some(mut txn) = self.take(|txn| !matches!(txn.phase, Phase::Prewritten(_))) else { return };
        let done = match (txn.kind, txn.phase) {
            (Kind::Pessimistic, Phase::Begun) => self.lock(&mut txn),
            _ => self.prewrite(&mut txn),
        };
        if done {
            self.open.push(txn);
        }
    }

    fn count_refusal(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Locked(_) => self.count("locked"),
            Verdict::Conflict => self.count("conflict"),
            Verdict::Done => {}
        }
    }

    /// Locks all keys, or none.
    fn lock(&mut self, txn: &mut Txn) -> bool {
        // A client begins with its own start, and repeats with a newer timestamp after a conflict.
        let for_update = if self.rng.random_bool(0.5) { txn.start } else { self.caller.ts() };
        for group in self.caller.groups(&txn.keys()) {
            let reply = self.caller.call(group[0], false, async |mut client, context| {
                let lock = |key: &Key| Mutation {
                    op: Op::PessimisticLock as i32,
                    key: key.to_vec(),
                    ..Default::default()
                };
                let request = PessimisticLockRequest {
                    context: Some(context),
                    mutations: group.iter().map(lock).collect(),
                    primary_lock: txn.primary().to_vec(),
                    start_version: txn.start,
                    for_update_ts: for_update,
                    lock_ttl: TTL,
                    // Do not wait.
                    wait_timeout: -1,
                    return_values: true,
                    ..Default::default()
                };
                client.kv_pessimistic_lock(request).await
            });
            let expected = self.model.lock(&group, txn.start, for_update);
            assert_eq!(verdict(&reply.errors, &self.context), expected, "{}: {txn:?}", self.context);
            self.count_refusal(expected);
            if expected != Verdict::Done {
                self.unlock(txn, for_update);
                return false;
            }
            let values: Vec<_> = group.iter().map(|key| self.model.latest(key, u64::MAX)).collect();
            let found: Vec<_> = std::iter::zip(reply.values, reply.not_founds)
                .map(|(value, not_found)| (!not_found).then_some(value))
                .collect();
            assert_eq!(found, values, "{}: values of {txn:?}", self.context);
        }
        self.count("pessimistic lock");
        txn.phase = Phase::Locked(for_update);
        true
    }

    fn unlock(&mut self, txn: &Txn, for_update: u64) {
        let replies = self.caller.call_groups(&txn.keys(), async |mut client, context, keys| {
            let request = PessimisticRollbackRequest {
                context: Some(context),
                start_version: txn.start,
                for_update_ts: for_update,
                keys,
            };
            client.kv_pessimistic_rollback(request).await
        });
        for (group, reply) in replies {
            assert!(reply.errors.is_empty(), "{}: {reply:?}", self.context);
            self.model.unlock(&group, txn.start);
        }
    }

    /// Prewrites all keys, or rolls them back.
    fn prewrite(&mut self, txn: &mut Txn) -> bool {
        let (keys, mut promised) = (txn.keys(), 0);
        let groups = self.caller.groups(&keys);
        for group in &groups {
            let reply = self.send_prewrite(txn, group, groups.len() == 1);
            let pessimistic = txn.kind == Kind::Pessimistic;
            let expected = self.model.prewrite(&txn.writes_of(group), txn.start, pessimistic);
            assert_eq!(verdict(&reply.errors, &self.context), expected, "{}: {txn:?}", self.context);
            self.count_refusal(expected);
            if expected != Verdict::Done {
                self.roll_back(txn);
                return false;
            }
            if reply.one_pc_commit_ts != 0 {
                assert!(txn.kind == Kind::OnePhase && reply.one_pc_commit_ts > txn.start, "{}", self.context);
                self.model.commit(group, txn.start, reply.one_pc_commit_ts);
                self.count("one-phase commit");
                return false;
            }
            if txn.kind == Kind::AsyncCommit {
                assert!(reply.min_commit_ts > txn.start, "{}: {reply:?}", self.context);
                self.model.promise(group, txn.start, reply.min_commit_ts);
                promised = promised.max(reply.min_commit_ts);
            }
        }
        assert!(txn.kind != Kind::OnePhase || groups.len() > 1, "{}: no one-phase commit", self.context);
        txn.phase = Phase::Prewritten((promised != 0).then_some(promised));
        true
    }

    fn send_prewrite(&self, txn: &Txn, group: &[Key], alone: bool) -> PrewriteResponse {
        let keys = txn.keys();
        self.caller.call(group[0], false, async |mut client, context| {
            let mut request = PrewriteRequest {
                context: Some(context),
                mutations: txn.writes_of(group).iter().map(mutation).collect(),
                primary_lock: txn.primary().to_vec(),
                start_version: txn.start,
                lock_ttl: TTL,
                txn_size: keys.len() as u64,
                try_one_pc: txn.kind == Kind::OnePhase && alone,
                use_async_commit: txn.kind == Kind::AsyncCommit,
                ..Default::default()
            };
            if request.use_async_commit && group.contains(&txn.primary()) {
                request.secondaries = owned(&keys[1..]);
            }
            if let Phase::Locked(for_update) = txn.phase {
                request.for_update_ts = for_update;
                request.pessimistic_actions = vec![PessimisticAction::DoPessimisticCheck as i32; group.len()];
            }
            client.kv_prewrite(request).await
        })
    }

    fn roll_back(&mut self, txn: &Txn) {
        let replies = self.caller.call_groups(&txn.keys(), async |mut client, context, keys| {
            let request = BatchRollbackRequest {
                context: Some(context),
                start_version: txn.start,
                keys,
                ..Default::default()
            };
            client.kv_batch_rollback(request).await
        });
        for (group, reply) in replies {
            assert!(reply.error.is_none(), "{}: {txn:?}: {reply:?}", self.context);
            self.model.rollback(&group, txn.start);
        }
    }

    /// Commits a prewritten transaction, or rolls it back.
    pub fn finish(&mut self) {
        let Some(txn) = self.take(|txn| matches!(txn.phase, Phase::Prewritten(_))) else { return };
        let Phase::Prewritten(promised) = txn.phase else { unreachable!("chosen by its phase") };
        match promised {
            // All keys are prewritten, so an async commit is committed.
            Some(commit) => {
                self.commit(&txn, commit);
                self.count("promised commit");
            }
            None if self.rng.random_bool(0.7) => {
                let commit = self.caller.ts();
                self.commit(&txn, commit);
                self.count("commit");
            }
            None => {
                self.roll_back(&txn);
                self.count("rollback");
            }
        }
    }

    fn commit(&mut self, txn: &Txn, commit: u64) {
        let replies = self.caller.call_groups(&txn.keys(), async |mut client, context, keys| {
            let request = CommitRequest {
                context: Some(context),
                start_version: txn.start,
                keys,
                commit_version: commit,
                ..Default::default()
            };
            client.kv_commit(request).await
        });
        for (group, reply) in replies {
            assert!(reply.error.is_none(), "{}: {txn:?}: {reply:?}", self.context);
            self.model.commit(&group, txn.start, commit);
        }
    }

    /// The client of a transaction vanishes. Another one decides by the primary.
    pub fn crash(&mut self) {
        let Some(txn) = self.take(|_| true) else { return };
        let status = self.caller.call(txn.primary(), false, async |mut client, context| {
            let request = CheckTxnStatusRequest {
                context: Some(context),
                primary_key: txn.primary().to_vec(),
                lock_ts: txn.start,
                current_ts: u64::MAX,
                rollback_if_not_exist: true,
                ..Default::default()
            };
            client.kv_check_txn_status(request).await
        });
        assert!(status.error.is_none() && status.commit_version == 0, "{}: {status:?}", self.context);
        if let Phase::Prewritten(Some(promised)) = txn.phase {
            let primary = status.lock_info.unwrap_or_else(|| panic!("{}: {txn:?}", self.context));
            assert!(primary.use_async_commit, "{}: {primary:?}", self.context);
            let commit = self.check_secondaries(&txn).max(primary.min_commit_ts);
            assert_eq!(commit, promised, "{}: {txn:?}", self.context);
            self.resolve(&txn, commit);
            self.model.commit(&txn.keys(), txn.start, commit);
            self.count("recovered promise");
            return;
        }
        assert_eq!((status.lock_ttl, status.lock_info), (0, None), "{}: {txn:?}", self.context);
        self.model.rollback(&[txn.primary()], txn.start);
        if txn.phase != Phase::Begun {
            self.resolve(&txn, 0);
            self.model.rollback(&txn.keys(), txn.start);
            self.count("recovered rollback");
        }
    }

    /// Returns the highest timestamp that the locks of the secondaries promise.
    fn check_secondaries(&self, txn: &Txn) -> u64 {
        let replies = self.caller.call_groups(&txn.keys()[1..], async |mut client, context, keys| {
            let request =
                CheckSecondaryLocksRequest { context: Some(context), keys, start_version: txn.start };
            client.kv_check_secondary_locks(request).await
        });
        let mut highest = 0;
        for (group, reply) in replies {
            assert_eq!((reply.locks.len(), reply.commit_ts), (group.len(), 0), "{}: {reply:?}", self.context);
            highest = reply.locks.iter().map(|lock| lock.min_commit_ts).fold(highest, u64::max);
        }
        highest
    }

    fn resolve(&self, txn: &Txn, commit: u64) {
        let replies = self.caller.call_groups(&txn.keys(), async |mut client, context, keys| {
            let request = ResolveLockRequest {
                context: Some(context),
                start_version: txn.start,
                commit_version: commit,
                keys,
                ..Default::default()
            };
            client.kv_resolve_lock(request).await
        });
        for (_, reply) in replies {
            assert!(reply.error.is_none(), "{}: {txn:?}: {reply:?}", self.context);
        }
    }

    /// Extends the life of a primary's lock.
    pub fn heart_beat(&mut self) {
        let Some(txn) = self.take(|_| true) else { return };
        let reply = self.caller.call(txn.primary(), false, async |mut client, context| {
            let request = TxnHeartBeatRequest {
                context: Some(context),
                primary_lock: txn.primary().to_vec(),
                start_version: txn.start,
                advise_lock_ttl: 2 * TTL,
                ..Default::default()
            };
            client.kv_txn_heart_beat(request).await
        });
        match txn.phase {
            Phase::Begun => {
                let missing = reply.error.as_ref().is_some_and(|error| error.txn_not_found.is_some());
                assert!(missing, "{}: {reply:?}", self.context);
            }
            _ => assert_eq!((reply.lock_ttl, &reply.error), (2 * TTL, &None), "{}: {txn:?}", self.context),
        }
        self.open.push(txn);
    }
}
