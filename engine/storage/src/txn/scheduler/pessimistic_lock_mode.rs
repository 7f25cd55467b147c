//! Pessimistic locks in memory, and answers before Raft has applied a lock. TiKV:
//! `try_write_in_memory_pessimistic_locks`, `handle_async_write`.
use std::sync::Arc;

use engine_rocks::CF_LOCK;
use parking_lot::{Mutex, RwLock};
use tikv_kv::{MemoryLimits, Modify, OnProposed, TableAt};
use tokio::sync::oneshot;
use tracepoints::{Probe, Req};
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
pub(crate) struct LockMode(RwLock<(PessimisticLockMode, MemoryLimits)>);

impl LockMode {
    pub(super) fn new(mode: PessimisticLockMode, limits: MemoryLimits) -> Self {
        Self(RwLock::new((mode, limits)))
    }

    /// Changes the mode and the limits. A command reads them when it writes its locks.
    pub(crate) fn set(&self, mode: PessimisticLockMode, limits: MemoryLimits) {
        *self.0.write() = (mode, limits);
    }

    pub(super) fn is_pipelined(&self) -> bool {
        self.0.read().0 == PessimisticLockMode::Pipelined
    }

    /// Puts the locks of a command into the memory of the region's leader. Returns whether it did; otherwise they must
    /// be written.
    ///
    /// # Errors
    /// The deadline has passed.
    pub(super) async fn write_in_memory(
        &self,
        table: Option<&TableAt>,
        modifies: &[Modify],
        deadline: Deadline,
        (req, region): (Req, u64),
    ) -> Result<bool> {
        let (mode, limits) = *self.0.read();
        let Some(table) = table.filter(|_| mode == PessimisticLockMode::InMemory) else {
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
        let Some(bytes) = locks.and_then(|locks| table.try_insert(&locks, limits)) else {
            return Ok(false);
        };
        step_probe!(
            LOCK_IN_MEMORY,
            req,
            || {
                let store = u64::from(tracepoints::thread::store());
                Probe::MemoryLocks(table.table.read().probe(store, region))
            },
            term = table.term,
            locks = modifies.len(),
            bytes = bytes,
        );
        Ok(true)
    }
}

type Pending = Arc<Mutex<Option<(oneshot::Sender<Answer>, Answer)>>>;

/// An answer that is sent once Raft has proposed the write.
pub(super) struct EarlyAnswer(Option<Pending>);

impl EarlyAnswer {
    /// Takes the response and its sender, if the command is `pipelined`.
    pub(super) fn prepare(
        pipelined: bool,
        after: &mut AfterWrite,
        answer: &mut Option<oneshot::Sender<Answer>>,
        details: &SchedulerDetails,
    ) -> Self {
        let AfterWrite::Respond(response) = after else { return Self(None) };
        let Some(sender) = answer.take_if(|_| pipelined) else { return Self(None) };
        let response = std::mem::replace(&mut **response, ProcessResult::Res);
        Self(Some(Arc::new(Mutex::new(Some((sender, (Ok(response), *details)))))))
    }

    /// Returns the function that sends the answer.
    pub(super) fn on_proposed(&self) -> Option<OnProposed> {
        let pending = self.0.clone()?;
        Some(OnProposed(Box::new(move || {
            if let Some((sender, answer)) = pending.lock().take() {
                // The client may be gone.
                drop(sender.send(answer));
            }
        })))
    }

    /// Gives the response and its sender back if Raft has not proposed the write.
    pub(super) fn end(self, after: &mut AfterWrite, answer: &mut Option<oneshot::Sender<Answer>>) {
        let pending = self.0.and_then(|pending| pending.lock().take());
        if let Some((sender, (Ok(response), _))) = pending {
            *answer = Some(sender);
            *after = response.into();
        }
    }
}
