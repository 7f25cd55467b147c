//! The way into the RaftStore. Mirrors `raftstore::router::{RaftStoreRouter, ServerRaftStoreRouter}`.
use futures::channel::oneshot;
use kvproto::{metapb, raft_cmdpb::RaftCmdRequest, raft_serverpb::RaftMessage};
use raft::SnapshotStatus;
use tracepoints::{EngineClock, Req, clock::EngineInstant};

use crate::{
    Error, Result,
    batch_system::{Router, SendError},
    debug::RegionMeta,
    store::{
        Callback, CasualMessage, PeerMsg, RaftCommand, SignificantMsg, StoreMsg,
        fsm::{peer::PeerFsm, store::StoreFsm},
    },
};

/// Sends commands and messages to the peers of this store.
#[derive(Clone)]
pub struct RaftRouter {
    router: Router<PeerFsm, StoreFsm>,
    store_id: u64,
    /// Messages of one peer above which commands and Raft messages are turned away.
    notify_capacity: usize,
}

/// Why a peer did not take a message.
enum Rejected {
    Absent(PeerMsg),
    Full(PeerMsg),
}

impl RaftRouter {
    pub(crate) fn new(router: Router<PeerFsm, StoreFsm>, store_id: u64, notify_capacity: usize) -> Self {
        Self { router, store_id, notify_capacity }
    }

    /// What may get lost: not to a mailbox that is full.
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

    pub fn store_id(&self) -> u64 {
        self.store_id
    }

    /// Sends a command to its region's peer; the callback is called in every case.
    ///
    /// # Errors
    /// [`Error::RegionNotFound`], or [`Error::Transport`] of a peer that has too many messages; the callback got it too.
    pub fn send_command(&self, request: RaftCmdRequest, callback: Callback, req: Req) -> Result<()> {
        self.send_write(request, callback, req, None)
    }

    /// As [`RaftRouter::send_command`]; past `deadline` it is not proposed any more, but refused as TiKV refuses it.
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

    /// As [`RaftRouter::send_command`], for a read, which does not become a log entry.
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

    /// A message from another store's peer: to its peer here, or to the store if there is none yet.
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

    pub fn send_casual_msg(&self, region_id: u64, msg: CasualMessage) -> Result<()> {
        self.send_peer(region_id, PeerMsg::Casual(msg))
    }

    pub fn significant_send(&self, region_id: u64, msg: SignificantMsg) -> Result<()> {
        self.send_peer(region_id, PeerMsg::Significant(msg))
    }

    /// Wakes a parked peer, once its gate is released.
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

    /// A message to `to_peer_id` of the region could not be sent.
    pub fn report_unreachable(&self, region_id: u64, to_peer_id: u64) -> Result<()> {
        self.significant_send(region_id, SignificantMsg::Unreachable { to_peer_id })
    }

    /// Nothing reaches that store now.
    pub fn report_store_unreachable(&self, store_id: u64) {
        // At shutdown nobody needs to know.
        let _ = self.router.send_control(StoreMsg::StoreUnreachable { store_id });
    }

    /// What became of a snapshot that was sent to `to_peer_id`.
    pub fn report_snapshot_status(
        &self,
        region_id: u64,
        to_peer_id: u64,
        status: SnapshotStatus,
    ) -> Result<()> {
        self.significant_send(region_id, SignificantMsg::SnapshotStatus { to_peer_id, status })
    }

    /// Asks the region's leader here to hand over to the peer `to`.
    pub fn transfer_leader(&self, region_id: u64, to: metapb::Peer) -> Result<()> {
        self.send_casual_msg(region_id, CasualMessage::TransferLeader { to })
    }

    /// Removes a peer and its data, as PD says that it does not belong to its region any more.
    pub fn destroy_peer(&self, region_id: u64, peer_id: u64) -> Result<()> {
        self.send_peer(region_id, PeerMsg::Destroy { to_peer_id: peer_id })
    }

    /// Asks the region's peer here to publish its Raft state to the session.
    pub fn publish_probe(&self, region_id: u64) -> Result<()> {
        self.send_casual_msg(region_id, CasualMessage::PublishProbe)
    }

    /// The peer's state by its own account; none if it is gone.
    pub async fn query_region_meta(&self, region_id: u64) -> Option<RegionMeta> {
        let (tx, rx) = oneshot::channel();
        self.significant_send(region_id, SignificantMsg::QueryMeta(tx)).ok()?;
        rx.await.ok()
    }

    /// Ends all peers after an error that leaves no safe way on: other stores take over, clients are sent there.
    pub(crate) fn stop_store(&self, why: &str) {
        log::error!("store {} stops serving: {why}", self.store_id);
        self.router.close_all();
    }

    /// Ids of the regions that have a peer here.
    pub fn region_ids(&self) -> Vec<u64> {
        let mut ids = self.router.addresses();
        ids.sort_unstable();
        ids
    }
}
