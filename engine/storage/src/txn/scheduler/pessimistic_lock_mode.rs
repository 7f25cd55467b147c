//! Pessimistic locks in memory, and answers before Raft has applied a lock. TiKV:
//! `try_write_in_memory_pessimistic_locks`, `handle_async_write`.
use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicUsize, Ordering},
};

use engine_rocks::CF_LOCK;
use parking_lot::Mutex;
use tikv_kv::{MemoryLimits, Modify, OnProposed, TableAt};
use tokio::sync::oneshot;
use tracepoints::Req;
use txn_types::{Key, Lock, PessimisticLock};

use crate::{
    config::PessimisticLockMode,
    deadline::Deadline,
    errors::Result,
    statistics::SchedulerDetails,
    txn::commands::AfterWrite,
    types::{Answer, ProcessResult},
};

/// The mode and the limits, which can change while commands run.
pub(crate) struct LockMode {
    mode: AtomicU8,
    peer_limit: AtomicUsize,
    instance_limit: AtomicUsize,
}

impl LockMode {
    pub(super) fn new(mode: PessimisticLockMode, limits: MemoryLimits) -> Self {
        let new = Self {
            mode: AtomicU8::new(0),
            peer_limit: AtomicUsize::new(0),
            instance_limit: AtomicUsize::new(0),
        };
        new.set(mode, limits);
        new
    }

    /// Changes the mode of later commands.
    pub(crate) fn set(&self, mode: PessimisticLockMode, limits: MemoryLimits) {
        self.mode.store(mode as u8, Ordering::Relaxed);
        self.peer_limit.store(limits.peer, Ordering::Relaxed);
        self.instance_limit.store(limits.instance, Ordering::Relaxed);
    }

    fn is(&self, mode: PessimisticLockMode) -> bool {
        self.mode.load(Ordering::Relaxed) == mode as u8
    }

    pub(super) fn is_pipelined(&self) -> bool {
        self.is(PessimisticLockMode::Pipelined)
    }

    /// Puts the locks of a command into the leader's memory. Returns whether it did; otherwise they must be written.
    ///
    /// # Errors
    /// The deadline has passed.
    pub(super) async fn write_in_memory(
        &self,
        table: Option<&TableAt>,
        modifies: &[Modify],
        deadline: Deadline,
        req: Req,
    ) -> Result<bool> {
        let Some(table) = table.filter(|_| self.is(PessimisticLockMode::InMemory)) else {
            return Ok(false);
        };
        deadline.check()?;
        let lock = |modify: &Modify| match modify {
            Modify::Put(CF_LOCK, key, value) => {
                let lock = Lock::parse(value).ok().and_then(PessimisticLock::from_lock)?;
                Some((key.clone(), lock))
            }
            _ => None,
        };
        let locks: Option<Vec<(Key, PessimisticLock)>> = modifies.iter().map(lock).collect();
        let Some(bytes) = locks.and_then(|locks| table.try_insert(&locks, self.limits())) else {
            return Ok(false);
        };
        tracepoints::step!(LOCK_IN_MEMORY, req, term = table.term, locks = modifies.len(), bytes = bytes);
        Ok(true)
    }

    fn limits(&self) -> MemoryLimits {
        MemoryLimits {
            peer: self.peer_limit.load(Ordering::Relaxed),
            instance: self.instance_limit.load(Ordering::Relaxed),
        }
    }
}

type Pending = Arc<Mutex<Option<(oneshot::Sender<Answer>, Answer)>>>;

/// An answer that is sent once Raft has proposed the write.
pub(super) struct EarlyAnswer(Option<Pending>);

impl EarlyAnswer {
    /// Takes the response and its receiver, if the command is `pipelined`.
    pub(super) fn prepare(
        pipelined: bool,
        after: &mut AfterWrite,
        answer: &mut Option<oneshot::Sender<Answer>>,
        details: &SchedulerDetails,
    ) -> Self {
        let responds = matches!(after, AfterWrite::Respond(_));
        let Some(sender) = answer.take_if(|_| pipelined && responds) else { return Self(None) };
        let AfterWrite::Respond(response) = std::mem::replace(after, ProcessResult::Res.into()) else {
            return Self(None);
        };
        Self(Some(Arc::new(Mutex::new(Some((sender, (Ok(*response), *details)))))))
    }

    /// Returns the function that answers.
    pub(super) fn on_proposed(&self) -> Option<OnProposed> {
        let pending = self.0.clone()?;
        Some(OnProposed(Box::new(move || {
            if let Some((sender, answer)) = pending.lock().take() {
                // The client may be gone.
                drop(sender.send(answer));
            }
        })))
    }

    /// Gives response and receiver back if the write was not proposed.
    pub(super) fn end(self, after: &mut AfterWrite, answer: &mut Option<oneshot::Sender<Answer>>) {
        let pending = self.0.and_then(|pending| pending.lock().take());
        if let Some((sender, (Ok(response), _))) = pending {
            *answer = Some(sender);
            *after = response.into();
        }
    }
}
