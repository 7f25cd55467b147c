//! Entry point to the RaftStore. Mirrors `raftstore::router::{RaftStoreRouter, ServerRaftStoreRouter}`.
use futures::channel::oneshot;
use kvproto::{metapb, raft_cmdpb::RaftCmdRequest, raft_serverpb::RaftMessage};
use raft::SnapshotStatus;
use tracepoints::{EngineClock, Req, clock::EngineInstant};

use crate::{
    Error, Result,
    batch_system::{Router, SendError},
    debug::RegionMeta,
    store::{
        Callback, CasualMessage, LatencyInspector, PeerMsg, RaftCommand, SignificantMsg, StoreMsg,
        fsm::{peer::PeerFsm, store::StoreFsm},
    },
};

/// Sends commands and messages to the peers of this store.
#[derive(Clone)]
pub struct RaftRouter {
    router: Router<PeerFsm, StoreFsm>,
    store_id: u64,
    /// Number of queued messages of one peer above which commands and Raft messages are rejected.
    notify_capacity: usize,
}

/// Reason why a peer rejected a message.
enum Rejected {
    Absent(PeerMsg),
    Full(PeerMsg),
}

impl RaftRouter {
    pub(crate) fn new(router: Router<PeerFsm, StoreFsm>, store_id: u64, notify_capacity: usize) -> Self {
        Self { router, store_id, notify_capacity }
    }

    /// Sends a message that may get lost; rejects it if the mailbox is full.
    fn try_send(&self, region_id: u64, msg: PeerMsg) -> std::result::Result<(), Rejected> {
        match self.router.mailbox(region_id) {
            None => Err(Rejected::Absent(msg)),
            Some(mailbox) if mailbox.len() >= self.notify_capacity => Err(Rejected::Full(msg)),
            Some(mailbox) => mailbox.send(msg).map_err(|SendError::Disconnected(msg)| Rejected::Absent(msg)),
        }
    }

    fn full(region_id: u64) -> Error {
        Error::Transport(format!("the mailbox of region {region_id} is full"))
    }

    pub(crate) fn inner(&self) -> &Router<PeerFsm, StoreFsm> {
        &self.router
    }

    /// Returns the id of this store.
    pub fn store_id(&self) -> u64 {
        self.store_id
    }

    /// Sends a command to its region's peer; always calls the callback.
    ///
    /// # Errors
    /// [`Error::RegionNotFound`], or [`Error::Transport`] if the mailbox is full; the callback gets it too.
    pub fn send_command(&self, request: RaftCmdRequest, callback: Callback, req: Req) -> Result<()> {
        self.send_write(request, callback, req, None)
    }

    /// Like [`RaftRouter::send_command`]; after `deadline` the peer refuses the command with TiKV's error.
    pub fn send_write(
        &self,
        request: RaftCmdRequest,
        callback: Callback,
        req: Req,
        deadline: Option<EngineInstant>,
    ) -> Result<()> {
        let region_id = request.header.as_ref().map_or(0, |h| h.region_id);
        tracepoints::stamp!(RAFT_ROUTE, req, region = region_id);
        self.send(RaftCommand { send_time: EngineClock::now(), request, callback, req, deadline })
    }

    /// Like [`RaftRouter::send_command`], for a read, which does not become a log entry.
    pub fn send_read(&self, request: RaftCmdRequest, callback: Callback, req: Req) -> Result<()> {
        self.send(RaftCommand { send_time: EngineClock::now(), request, callback, req, deadline: None })
    }

    fn send(&self, cmd: RaftCommand) -> Result<()> {
        let region_id = cmd.request.header.as_ref().map_or(0, |h| h.region_id);
        let (msg, why): (PeerMsg, fn(u64) -> Error) =
            match self.try_send(region_id, PeerMsg::RaftCommand(Box::new(cmd))) {
                Ok(()) => return Ok(()),
                Err(Rejected::Absent(msg)) => (msg, Error::RegionNotFound),
                Err(Rejected::Full(msg)) => (msg, Self::full),
            };
        if let PeerMsg::RaftCommand(cmd) = msg {
            cmd.callback.invoke_with_response(crate::store::cmd_resp::new_error(why(region_id)));
        }
        Err(why(region_id))
    }

    /// Routes a message from another store to its peer, or to the store if the peer does not exist yet.
    pub fn send_raft_message(&self, msg: RaftMessage) -> Result<()> {
        let region_id = msg.region_id;
        let unsent = match self.try_send(region_id, PeerMsg::RaftMessage(Box::new(msg))) {
            Ok(()) => return Ok(()),
            Err(Rejected::Absent(PeerMsg::RaftMessage(msg))) => msg,
            Err(Rejected::Absent(_)) => return Err(Error::RegionNotFound(region_id)),
            Err(Rejected::Full(_)) => return Err(Self::full(region_id)),
        };
        self.router
            .send_control(StoreMsg::RaftMessage(unsent))
            .map_err(|_| Error::Transport("the store is shutting down".into()))
    }

    /// Sends a message that may get lost.
    ///
    /// # Errors
    /// [`Error::RegionNotFound`].
    pub fn send_casual_msg(&self, region_id: u64, msg: CasualMessage) -> Result<()> {
        self.send_peer(region_id, PeerMsg::Casual(msg))
    }

    /// Sends a message that must not get lost.
    ///
    /// # Errors
    /// [`Error::RegionNotFound`].
    pub fn significant_send(&self, region_id: u64, msg: SignificantMsg) -> Result<()> {
        self.send_peer(region_id, PeerMsg::Significant(msg))
    }

    /// Returns a function that wakes a parked peer once its gate is released.
    pub(crate) fn waker(&self, region_id: u64) -> impl FnOnce() + Send + 'static + use<> {
        let router = self.router.clone();
        move || {
            if let Some(mailbox) = router.mailbox(region_id) {
                mailbox.wake();
            }
        }
    }

    pub(crate) fn send_peer(&self, region_id: u64, msg: PeerMsg) -> Result<()> {
        self.router.send(region_id, msg).map_err(|_| Error::RegionNotFound(region_id))
    }

    /// Reports that a message to `to_peer_id` of the region could not be sent.
    pub fn report_unreachable(&self, region_id: u64, to_peer_id: u64) -> Result<()> {
        self.significant_send(region_id, SignificantMsg::Unreachable { to_peer_id })
    }

    /// Reports that a store is unreachable.
    pub fn report_store_unreachable(&self, store_id: u64) {
        // At shutdown no FSM needs this report.
        let _ = self.router.send_control(StoreMsg::StoreUnreachable { store_id });
    }

    /// Sends an inspection through the store FSM and a store writer. Dropped if the store stops.
    pub fn inspect_latency(&self, inspector: LatencyInspector) {
        let _ = self.router.send_control(StoreMsg::LatencyInspect(inspector));
    }

    /// Reports the outcome of a snapshot sent to `to_peer_id`.
    pub fn report_snapshot_status(
        &self,
        region_id: u64,
        to_peer_id: u64,
        status: SnapshotStatus,
    ) -> Result<()> {
        self.significant_send(region_id, SignificantMsg::SnapshotStatus { to_peer_id, status })
    }

    /// Asks the region's leader on this store to transfer leadership to the peer `to`.
    pub fn transfer_leader(&self, region_id: u64, to: metapb::Peer) -> Result<()> {
        self.send_casual_msg(region_id, CasualMessage::TransferLeader { to })
    }

    /// Removes a peer and its data after PD reported that it no longer belongs to its region.
    pub fn destroy_peer(&self, region_id: u64, peer_id: u64) -> Result<()> {
        self.send_peer(region_id, PeerMsg::Destroy { to_peer_id: peer_id })
    }

    /// Asks the region's peer on this store to publish its Raft state to the session.
    pub fn publish_probe(&self, region_id: u64) -> Result<()> {
        self.send_casual_msg(region_id, CasualMessage::PublishProbe)
    }

    /// Asks the peer for its state; `None` if the peer is gone.
    pub async fn query_region_meta(&self, region_id: u64) -> Option<RegionMeta> {
        let (tx, rx) = oneshot::channel();
        self.significant_send(region_id, SignificantMsg::QueryMeta(tx)).ok()?;
        rx.await.ok()
    }

    /// Stops all peers after an unrecoverable error, so that other stores take over.
    pub(crate) fn stop_store(&self, why: &str) {
        log::error!("store {} stops serving: {why}", self.store_id);
        self.router.close_all();
    }

    /// Returns the ids of the regions with a peer on this store.
    pub fn region_ids(&self) -> Vec<u64> {
        let mut ids = self.router.addresses();
        ids.sort_unstable();
        ids
    }
}
