//! Handles commands from clients and admins: checks and proposes them. Mirrors `propose_raft_command`.
use kvproto::{
    metapb::{Peer, RegionEpoch},
    raft_cmdpb::{
        AdminCmdType, AdminResponse, RaftCmdRequest, RaftCmdResponse, RaftRequestHeader, RaftResponseHeader,
    },
};
use tikv_kv::ReadIndexTimes;
use tracepoints::{EngineClock, Req, clock::EngineInstant};

use super::{Continuation, run::PeerFsmDelegate};
use crate::{
    Error, Result,
    store::{
        callback::Callback, cmd_resp, msg::RaftCommand, peer::RequestPolicy, proposals::Proposal,
        transport::Transport, util, write_tracker::WriteTracker,
    },
};

/// Returns the busy error that clients see after a deadline. TiKV: `Error::DeadlineExceeded`.
fn deadline_exceeded() -> Error {
    Error::ServerIsBusy("deadline is exceeded".into())
}

impl<T: Transport> PeerFsmDelegate<'_, T> {
    pub(super) fn on_raft_command(&mut self, cmd: RaftCommand) {
        let RaftCommand { send_time, request, callback, req, deadline } = cmd;
        let late = deadline.is_some_and(|at| EngineClock::now() > at);
        let refused = if late { Err(deadline_exceeded()) } else { self.pre_propose(&request) };
        if let Err(mut err) = refused {
            self.attach_sibling(&mut err);
            let term = self.fsm.peer.term();
            callback.invoke_with_response(cmd_resp::err_resp(err, term));
            return;
        }
        self.propose(request, callback, req, send_time);
    }

    /// Checks a request before it is proposed. TiKV: `pre_propose_raft_command`.
    fn pre_propose(&self, request: &RaftCmdRequest) -> Result<()> {
        let missing = || Error::other("expected a header in the request, found none");
        let header = request.header.as_ref().ok_or_else(missing)?;
        let peer = &self.fsm.peer;
        util::check_store_id(header, self.ctx.store_id)?;
        if !peer.is_initialized() {
            return Err(Error::RegionNotInitialized(peer.region_id));
        }
        let anywhere = header.replica_read || header.flags & util::FLAG_STALE_READ != 0;
        let served = peer.is_leader() || util::is_read(request) && anywhere;
        if !served {
            return Err(Error::NotLeader(peer.region_id, peer.leader()));
        }
        util::check_peer_id(header, peer.peer_id())?;
        util::check_term(header, peer.term())?;
        util::check_cmd_epoch(request, peer.region())?;
        util::check_flashback_state(request, peer.region())?;
        util::check_stale_read(header, peer.region_id, peer.peer_id())
    }

    /// Adds the sibling region to the error, so that a client need not ask PD for it after a split.
    fn attach_sibling(&self, err: &mut Error) {
        if let Error::EpochNotMatch(_, regions) = err {
            let right_derive = self.ctx.config.right_derive_when_split;
            let sibling = self.ctx.store_meta.lock().sibling(self.fsm.peer.region(), right_derive);
            regions.extend(sibling);
        }
    }

    /// Proposes a checked command, created at `send_time`. TiKV: `Peer::propose`.
    fn propose(
        &mut self,
        request: RaftCmdRequest,
        mut callback: Callback,
        req: Req,
        send_time: EngineInstant,
    ) {
        let now = EngineClock::now();
        let propose_wait = now.saturating_since(send_time).as_nanos() as u64;
        let config = self.ctx.config.clone();
        let peer = &mut self.fsm.peer;
        let (proposed, is_conf_change) = match peer.inspect(&request) {
            Ok(RequestPolicy::ReadLocal) => {
                let times = ReadIndexTimes { propose_wait_nanos: propose_wait, ..Default::default() };
                callback.invoke_read(peer.execute_read(&request).with_times(times));
                return;
            }
            Ok(RequestPolicy::ReadIndex) => {
                if let Some(read_id) = peer.read_index(request, callback, req, propose_wait) {
                    self.fsm.pending_steps.push_back(Continuation::ReadIndexProposed { req, read_id });
                }
                return;
            }
            Ok(RequestPolicy::ProposeTransferLeader) => {
                return self.propose_transfer_leader(&request, callback);
            }
            Ok(RequestPolicy::ProposeNormal) => (peer.propose_normal(&config, &request), false),
            Ok(RequestPolicy::ProposeConfChange) => (peer.propose_conf_change(&config, &request), true),
            Err(err) => (Err(err), false),
        };
        let term = peer.term();
        match proposed {
            Ok(index) => {
                callback.invoke_proposed();
                let tracker = WriteTracker::new(send_time, now);
                let proposal = Proposal { is_conf_change, index, term, cb: callback, req, tracker };
                peer.proposals.push(proposal);
                self.fsm.pending_steps.push_back(Continuation::Proposed { req, term, index });
            }
            Err(err) => callback.invoke_with_response(cmd_resp::err_resp(err, term)),
        }
    }

    /// Starts a leader transfer; it is no log entry, so the response is sent at once.
    fn propose_transfer_leader(&mut self, request: &RaftCmdRequest, callback: Callback) {
        let to = request.admin_request.as_ref().and_then(|a| a.transfer_leader.as_ref()?.peer);
        let begun = match &to {
            Some(to) => self.transfer_leader(to),
            None => Err(Error::other("expected a peer to transfer the leadership to, found none")),
        };
        let term = self.fsm.peer.term();
        let response = match begun {
            Ok(()) => RaftCmdResponse {
                header: Some(RaftResponseHeader { current_term: term, ..Default::default() }),
                admin_response: Some(AdminResponse {
                    cmd_type: AdminCmdType::TransferLeader as i32,
                    transfer_leader: Some(Default::default()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            Err(err) => cmd_resp::err_resp(err, term),
        };
        callback.invoke_with_response(response);
    }

    /// Proposes a command of the store itself; no client waits for it.
    pub(super) fn propose_admin(&mut self, request: RaftCmdRequest) {
        match self.pre_propose(&request) {
            Ok(()) => self.propose(request, Callback::None, Req::NONE, EngineClock::now()),
            Err(err) => log::debug!("region {}: {err}", self.fsm.region_id()),
        }
    }

    /// Handles a client's split request, which must match the region's current epoch.
    pub(super) fn on_split_request(
        &mut self,
        epoch: &RegionEpoch,
        to: Option<Peer>,
        split_keys: Vec<Vec<u8>>,
        callback: Callback,
    ) {
        match self.check_split_request(epoch, to, &split_keys) {
            Ok(()) => self.on_split_region(split_keys, callback),
            Err(err) => callback.invoke_with_response(cmd_resp::err_resp(err, self.fsm.peer.term())),
        }
    }

    fn check_split_request(&self, epoch: &RegionEpoch, to: Option<Peer>, keys: &[Vec<u8>]) -> Result<()> {
        let peer = &self.fsm.peer;
        if to.is_some() {
            let header = RaftRequestHeader { peer: to, ..Default::default() };
            util::check_store_id(&header, self.ctx.store_id)?;
            util::check_peer_id(&header, peer.peer_id())?;
        }
        if !peer.is_leader() {
            return Err(Error::NotLeader(peer.region_id, peer.leader()));
        }
        util::validate_split_region(peer.region(), peer.peer_id(), epoch, keys)
    }

    /// Asks PD for ids; the PD worker then proposes the split. TiKV: `on_prepare_split_region`.
    pub(super) fn on_split_region(&mut self, split_keys: Vec<Vec<u8>>, callback: Callback) {
        let (peer, config) = (&self.fsm.peer, &self.ctx.config);
        let region = (**peer.region()).clone();
        if !peer.is_leader() {
            let err = Error::NotLeader(region.id, peer.leader());
            callback.invoke_with_response(cmd_resp::err_resp(err, peer.term()));
            return;
        }
        let outside = split_keys.iter().find(|k| !region.contains(k) || **k == region.start_key);
        if let Some(key) = outside {
            let err = Error::KeyNotInRegion(key.clone(), Box::new(region));
            callback.invoke_with_response(cmd_resp::err_resp(err, peer.term()));
            return;
        }
        self.ctx.pd.ask_batch_split(region, split_keys, peer.peer, config.right_derive_when_split, callback);
    }
}
