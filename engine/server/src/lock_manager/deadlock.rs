//! The thread `deadlock-detector`. On the leader of the first region it has the graph of all waits in the
//! cluster; on other stores it sends their waits there.
//!
//! Mirrors `src/server/lock_manager/deadlock.rs`.
use std::{sync::Arc, time::Duration};

use kvproto::deadlock::{DeadlockRequest, DeadlockRequestType, DeadlockResponse, WaitForEntry};
use parking_lot::Mutex;
use pd::client::PdClient;
use storage::lock_manager::{DiagnosticContext, KeyLockWaitInfo, lock_waiting_queue::holders};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tonic::{Status, Streaming};
use tracepoints::{EngineClock, Probe, Req, clock::EngineInstant, probe::WaitGraphProbe};
use txn_types::TimeStamp;

use super::{
    client::Client,
    detect_table::DetectTable,
    waiter_scheduler::{Deadlock, Scheduler as WaiterMgrScheduler},
};
use crate::{connection::Options, resolve::Resolver, runtime};

/// The leader of the region with this key is the leader of the detectors.
pub const LEADER_KEY: &[u8] = b"";
/// Maximum time to get the leader's address from PD; waits that arrive then are queued.
const LEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for which PD is not asked again after it has named no leader.
const LEADER_PAUSE: Duration = Duration::from_millis(100);
/// Number of deadlocks that a store's stream may have queued.
const RESPONSES: usize = 128;

/// Role of this store's detector.
#[derive(Debug, PartialEq, Eq, Clone, Copy, Default)]
pub enum Role {
    /// This store has the graph.
    Leader,
    /// Another store has it.
    #[default]
    Follower,
}

/// Message to the detector. Messages queue while the detector asks PD for the leader, for at most `LEADER_TIMEOUT`.
pub enum Task {
    /// A wait of this store begins, or has ended.
    Detect(DeadlockRequestType, WaitForEntry, Req),
    /// The leader of the first region has changed, or the region has.
    ChangeRole(Role),
    /// The time to live of edges has changed.
    ChangeTtl(Duration),
}

/// State that the detector and the streams of other stores share.
pub struct Inner {
    role: Role,
    detect_table: DetectTable,
}

/// Sends to the detector.
#[derive(Clone)]
pub struct Scheduler {
    tasks: UnboundedSender<Task>,
    inner: Arc<Mutex<Inner>>,
    runtime: Handle,
}

impl Scheduler {
    /// Creates the channel. `runtime` is the detector's, and `ttl` the time to live of edges.
    pub fn new(runtime: &Handle, ttl: Duration) -> (Self, UnboundedReceiver<Task>) {
        let (tasks, received) = unbounded_channel();
        let detect_table = DetectTable::new(ttl, EngineClock::now());
        let inner = Arc::new(Mutex::new(Inner { role: Role::default(), detect_table }));
        (Self { tasks, inner, runtime: runtime.clone() }, received)
    }

    pub(super) fn inner(&self) -> Arc<Mutex<Inner>> {
        self.inner.clone()
    }

    fn notify_scheduler(&self, task: Task) {
        if self.tasks.send(task).is_err() {
            log::debug!("the deadlock detector has stopped");
        }
    }

    /// Asks whether the wait closes a cycle.
    pub(super) fn detect(&self, txn_ts: TimeStamp, wait_info: KeyLockWaitInfo, diag_ctx: DiagnosticContext) {
        for entry in entries_of(txn_ts, &wait_info) {
            let entry = WaitForEntry {
                key: diag_ctx.key.clone(),
                resource_group_tag: diag_ctx.resource_group_tag.clone(),
                ..entry
            };
            self.notify_scheduler(Task::Detect(DeadlockRequestType::Detect, entry, diag_ctx.req));
        }
    }

    /// Reports that a wait has ended.
    pub(super) fn clean_up_wait_for(&self, txn_ts: TimeStamp, wait_info: KeyLockWaitInfo) {
        for entry in entries_of(txn_ts, &wait_info) {
            self.notify_scheduler(Task::Detect(DeadlockRequestType::CleanUpWaitFor, entry, Req::NONE));
        }
    }

    /// Returns the graph, if this store has it.
    pub(super) fn graph(&self, store_id: u64) -> Option<WaitGraphProbe> {
        let inner = self.inner.lock();
        (inner.role == Role::Leader).then(|| inner.detect_table.probe(store_id, EngineClock::now()))
    }

    pub(super) fn change_role(&self, role: Role) {
        self.notify_scheduler(Task::ChangeRole(role));
    }

    pub(super) fn change_ttl(&self, ttl: Duration) {
        self.notify_scheduler(Task::ChangeTtl(ttl));
    }

    /// Serves another store's stream on the detector's thread. TiKV: `handle_detect_rpc`.
    ///
    /// # Errors
    /// This store is not the leader.
    pub(super) fn serve(
        &self,
        mut requests: Streaming<DeadlockRequest>,
    ) -> Result<mpsc::Receiver<Result<DeadlockResponse, Status>>, Status> {
        if self.inner.lock().role != Role::Leader {
            return Err(Status::failed_precondition("I'm not the leader of deadlock detector"));
        }
        let (responses, received) = mpsc::channel(RESPONSES);
        let inner = self.inner.clone();
        runtime::spawn(&self.runtime, "deadlock-detect", async move {
            loop {
                let request = tokio::select! {
                    request = requests.message() => request,
                    () = responses.closed() => return,
                };
                let Ok(Some(request)) = request else { return };
                match inner.lock().handle_rpc(request) {
                    Ok(None) => continue,
                    answer => {
                        let answer = answer.map(Option::unwrap_or_default);
                        let ends = answer.is_err();
                        // Fails if the other store is gone, or reads too slowly.
                        if responses.try_send(answer).is_err() || ends {
                            return;
                        }
                    }
                }
            }
        });
        Ok(received)
    }
}

/// Returns a wait for each transaction that has the lock: several share it.
fn entries_of(txn_ts: TimeStamp, wait_info: &KeyLockWaitInfo) -> impl Iterator<Item = WaitForEntry> + '_ {
    holders(&wait_info.lock_info).map(move |wait_for_txn| WaitForEntry {
        txn: txn_ts.into_inner(),
        wait_for_txn,
        key_hash: wait_info.lock_digest.hash,
        ..WaitForEntry::default()
    })
}

impl Inner {
    /// Follows another store's wait; returns a deadlock.
    fn handle_rpc(&mut self, request: DeadlockRequest) -> Result<Option<DeadlockResponse>, Status> {
        // The leader may have changed since the stream began.
        if self.role != Role::Leader {
            return Err(Status::failed_precondition("leader changed"));
        }
        let (tp, entry) = (request.tp(), request.entry.unwrap_or_default());
        let found = self.handle(tp, &entry, EngineClock::now());
        Ok(found.map(|(deadlock_key_hash, wait_chain)| DeadlockResponse {
            entry: Some(entry),
            deadlock_key_hash,
            wait_chain,
            ..DeadlockResponse::default()
        }))
    }

    fn handle(
        &mut self,
        tp: DeadlockRequestType,
        entry: &WaitForEntry,
        now: EngineInstant,
    ) -> Option<(u64, Vec<WaitForEntry>)> {
        let (txn, wait_for) = (TimeStamp::new(entry.txn), TimeStamp::new(entry.wait_for_txn));
        match tp {
            DeadlockRequestType::Detect => return self.detect_table.detect(entry, now),
            DeadlockRequestType::CleanUpWaitFor => {
                self.detect_table.clean_up_wait_for(txn, wait_for, entry.key_hash);
            }
            DeadlockRequestType::CleanUp => self.detect_table.clean_up(txn),
        }
        None
    }
}

/// Parts with which the detector finds its leader and connects to it.
pub struct DetectorParts {
    /// Knows the leader of the first region.
    pub pd: Arc<PdClient>,
    /// Knows the addresses of stores.
    pub resolver: Resolver,
    /// Settings of connections.
    pub options: Options,
}

/// The detector of a store.
pub struct Detector {
    store_id: u64,
    pd: Arc<PdClient>,
    resolver: Resolver,
    options: Options,
    waiter_mgr_scheduler: WaiterMgrScheduler,
    inner: Arc<Mutex<Inner>>,
    /// The stream to the leader on another store.
    leader_client: Option<Client>,
    /// Time before which PD is not asked.
    ask_after: EngineInstant,
}

impl Detector {
    /// Creates the detector.
    pub(super) fn new(
        store_id: u64,
        parts: DetectorParts,
        waiter_mgr_scheduler: WaiterMgrScheduler,
        inner: Arc<Mutex<Inner>>,
    ) -> Self {
        let DetectorParts { pd, resolver, options } = parts;
        let ask_after = EngineClock::now();
        Self { store_id, pd, resolver, options, waiter_mgr_scheduler, inner, leader_client: None, ask_after }
    }

    /// Runs until all schedulers are dropped.
    pub async fn run(mut self, mut tasks: UnboundedReceiver<Task>) {
        while let Some(task) = tasks.recv().await {
            match task {
                Task::Detect(tp, entry, req) => self.handle_detect(tp, entry, req).await,
                Task::ChangeRole(role) => self.change_role(role),
                Task::ChangeTtl(ttl) => self.inner.lock().detect_table.reset_ttl(ttl),
            }
        }
    }

    /// Resets the graph and the stream, also if the role stays: a follower gets its own role again when the leader
    /// changes.
    fn change_role(&mut self, role: Role) {
        let mut inner = self.inner.lock();
        if inner.role != role {
            log::info!("store {}: the deadlock detector is now {role:?}", self.store_id);
        }
        inner.detect_table.clear();
        inner.role = role;
        self.leader_client = None;
        self.ask_after = EngineClock::now();
    }

    /// Handles a wait of this store.
    async fn handle_detect(&mut self, tp: DeadlockRequestType, entry: WaitForEntry, req: Req) {
        let found = {
            let (mut inner, now) = (self.inner.lock(), EngineClock::now());
            let found = (inner.role == Role::Leader).then(|| inner.handle(tp, &entry, now));
            if found.is_some() {
                tracepoints::probe!(req, || Probe::WaitGraph(inner.detect_table.probe(self.store_id, now)));
            }
            found
        };
        match found {
            Some(Some((hash, chain))) => {
                self.waiter_mgr_scheduler.deadlock(Deadlock::new(entry, hash, chain))
            }
            Some(None) => {}
            None => self.send_to_leader(tp, entry).await,
        }
    }

    /// Sends to the leader. A broken stream is found only now: connects again once.
    async fn send_to_leader(&mut self, tp: DeadlockRequestType, entry: WaitForEntry) {
        for _ in 0..2 {
            if self.leader_client.is_none() && !self.refresh_leader().await {
                break;
            }
            let request = DeadlockRequest { tp: tp.into(), entry: Some(entry.clone()), ..Default::default() };
            if self.leader_client.as_ref().is_some_and(|client| client.detect(request)) {
                return;
            }
            self.leader_client = None;
        }
        // The wait ends at its timeout. Its client then waits again, and that wait is sent again.
        log::debug!("store {}: dropped a request to the deadlock detector: {tp:?}", self.store_id);
    }

    /// Asks PD for the leader and opens the stream. Returns whether there is a leader on another store.
    /// TiKV: `refresh_leader_info`, `reconnect_leader`.
    async fn refresh_leader(&mut self) -> bool {
        let now = EngineClock::now();
        if now < self.ask_after {
            return false;
        }
        let address = tokio::time::timeout(LEADER_TIMEOUT, self.leader_address()).await;
        match address {
            Ok(Ok(Some(address))) => {
                let waiter_mgr = self.waiter_mgr_scheduler.clone();
                self.leader_client = Some(Client::connect(address, self.options.clone(), waiter_mgr));
                return true;
            }
            Ok(Ok(None)) => log::debug!("store {}: PD knows no leader of the first region", self.store_id),
            Ok(Err(e)) => log::warn!("store {}: cannot find the deadlock detector: {e}", self.store_id),
            Err(_) => log::warn!("store {}: cannot find the deadlock detector in time", self.store_id),
        }
        self.ask_after = EngineClock::now() + LEADER_PAUSE;
        false
    }

    /// Returns the address of the leader; `None` if there is none, or if PD still names this store.
    async fn leader_address(&self) -> Result<Option<String>, String> {
        let found = self.pd.get_region(LEADER_KEY).await.map_err(|e| e.to_string())?;
        let Some(leader) = found.leader.filter(|leader| leader.store_id != self.store_id) else {
            return Ok(None);
        };
        self.resolver.resolve(leader.store_id).await.map(Some).map_err(|e| e.to_string())
    }
}
