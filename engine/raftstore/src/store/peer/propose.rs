//! Proposes commands: chooses the policy and creates the log entry. Mirrors `Peer::propose` and its helpers.
use kvproto::{
    eraftpb::ConfChangeType,
    metapb,
    raft_cmdpb::{AdminCmdType, ChangePeerRequest, RaftCmdRequest},
};
use prost::Message;
use raft::{
    ProgressState,
    eraftpb::{ConfChange, ConfChangeTransition, ConfChangeV2, Entry},
};

use super::Peer;
use crate::{
    Error, Result,
    store::{config::Config, util},
};

/// Bit of an entry's context that marks a split. TiKV: `ProposalContext::SPLIT`.
const CONTEXT_SPLIT: u8 = 0b10;

pub(super) fn is_split(entry: &Entry) -> bool {
    entry.context.first().is_some_and(|bits| bits & CONTEXT_SPLIT != 0)
}

/// Handling of a command. TiKV: `RequestPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPolicy {
    /// Read at once, within the lease.
    ReadLocal,
    /// Ask a quorum, then read.
    ReadIndex,
    /// Propose a log entry.
    ProposeNormal,
    /// Transfer the leadership; needs no entry.
    ProposeTransferLeader,
    /// Propose a membership change.
    ProposeConfChange,
}

impl Peer {
    /// Chooses the policy of a command. TiKV: `RequestInspector::inspect`.
    pub fn inspect(&self, cmd: &RaftCmdRequest) -> Result<RequestPolicy> {
        if let Some(admin) = &cmd.admin_request {
            return Ok(match admin.cmd_type() {
                AdminCmdType::TransferLeader => RequestPolicy::ProposeTransferLeader,
                AdminCmdType::ChangePeer | AdminCmdType::ChangePeerV2 => RequestPolicy::ProposeConfChange,
                _ => RequestPolicy::ProposeNormal,
            });
        }
        if util::is_read(cmd) {
            let forced = cmd.header.as_ref().is_some_and(|h| h.read_quorum);
            let local = !forced && self.can_read_locally();
            return Ok(if local { RequestPolicy::ReadLocal } else { RequestPolicy::ReadIndex });
        }
        if cmd.requests.is_empty() || cmd.requests.iter().any(|r| util::reads(r.cmd_type())) {
            return Err(Error::other(
                "expected a command that only reads or only writes, found another one: send reads and writes apart",
            ));
        }
        Ok(RequestPolicy::ProposeNormal)
    }

    fn not_leader(&self) -> Error {
        Error::NotLeader(self.region_id, self.leader())
    }

    /// Runs one proposal and returns its index. A leader that is transferring its leadership drops proposals.
    fn propose_with(&mut self, propose: impl FnOnce(&mut Self) -> raft::Result<()>) -> Result<u64> {
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        let index = self.raft_group.raft.raft_log.last_index() + 1;
        match propose(self) {
            Err(raft::Error::ProposalDropped) => return Err(Error::NotLeader(self.region_id, None)),
            other => other?,
        }
        if self.raft_group.raft.raft_log.last_index() < index {
            return Err(Error::NotLeader(self.region_id, None));
        }
        Ok(index)
    }

    /// Proposes a write or an admin command. TiKV: `propose_normal`.
    pub fn propose_normal(&mut self, config: &Config, cmd: &RaftCmdRequest) -> Result<u64> {
        let splits = cmd.admin_request.as_ref().is_some_and(|a| a.cmd_type() == AdminCmdType::BatchSplit);
        let context = if splits { vec![CONTEXT_SPLIT] } else { Vec::new() };
        let data = self.encode(config, cmd)?;
        self.propose_with(|peer| peer.raft_group.propose(context, data))
    }

    fn encode(&self, config: &Config, cmd: &RaftCmdRequest) -> Result<Vec<u8>> {
        let data = cmd.encode_to_vec();
        if data.len() as u64 > config.raft_entry_max_size.0 {
            return Err(Error::RaftEntryTooLarge {
                region_id: self.region_id,
                entry_size: data.len() as u64,
            });
        }
        Ok(data)
    }

    /// Proposes a membership change. TiKV: `propose_conf_change`.
    pub fn propose_conf_change(&mut self, config: &Config, cmd: &RaftCmdRequest) -> Result<u64> {
        let admin = cmd
            .admin_request
            .as_ref()
            .ok_or_else(|| Error::other("expected an admin request in the conf change, found none"))?;
        if self.raft_group.raft.has_pending_conf() {
            let text = format!("region {}: there is a pending conf change, try later", self.region_id);
            return Err(Error::other(text));
        }
        let v2 = admin.cmd_type() == AdminCmdType::ChangePeerV2;
        let changes: Vec<ChangePeerRequest> = match (&admin.change_peer_v2, &admin.change_peer) {
            (Some(many), _) if v2 => many.changes.clone(),
            (_, Some(one)) if !v2 => vec![*one],
            _ => return Err(Error::other("expected changes in the conf change request, found none")),
        };
        self.check_conf_change(config, &changes)?;
        let context = self.encode(config, cmd)?;
        if v2 {
            let transition =
                if changes.len() <= 1 { ConfChangeTransition::Auto } else { ConfChangeTransition::Explicit };
            let mut change = ConfChangeV2 { transition, context: context.into(), ..Default::default() };
            change.set_changes(changes.iter().map(util::change_single).collect::<Vec<_>>().into());
            return self.propose_with(|peer| peer.raft_group.propose_conf_change(Vec::new(), change));
        }
        let single = util::change_single(&changes[0]);
        let change = ConfChange {
            change_type: single.change_type,
            node_id: single.node_id,
            context: context.into(),
            ..Default::default()
        };
        self.propose_with(|peer| peer.raft_group.propose_conf_change(Vec::new(), change))
    }

    /// Refuses changes that would leave the region without its leader or without a responding quorum.
    fn check_conf_change(&self, config: &Config, changes: &[ChangePeerRequest]) -> Result<()> {
        let removing = || changes.iter().filter(|c| c.change_type() == ConfChangeType::RemoveNode);
        let removes = |id: u64| removing().any(|c| c.peer.is_some_and(|p| p.id == id));
        if removes(self.peer_id()) && !config.allow_remove_leader && changes.len() == 1 {
            return Err(Error::other(format!(
                "region {}: ignore remove leader; transfer the leadership first",
                self.region_id
            )));
        }
        let prs = self.raft_group.raft.prs();
        let voters = self.region().peers.iter().filter(|p| !p.is_learner() && !removes(p.id));
        let (mut total, mut current) = (0, 0);
        let truncated = self.storage().truncated_index();
        for voter in voters {
            total += 1;
            current += usize::from(prs.get(voter.id).is_some_and(|p| p.matched >= truncated));
        }
        if total > 0 && current * 2 <= total && removing().next().is_some() {
            return Err(Error::other(format!(
                "region {}: unsafe to remove {changes:?}: only {current} of {total} remaining voters are up to date",
                self.region_id
            )));
        }
        Ok(())
    }

    /// Checks whether a leader transfer can begin. TiKV: `ready_to_transfer_leader`.
    ///
    /// # Errors
    /// The reason why the peer cannot become leader now.
    pub fn check_transfer_leader(&self, config: &Config, to: &metapb::Peer) -> Result<()> {
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        let refused =
            |why: String| Err(Error::other(format!("cannot transfer leadership to peer {}: {why}", to.id)));
        if to.id == self.peer_id() {
            return Ok(());
        }
        let raft = &self.raft_group.raft;
        let last = raft.raft_log.last_index();
        let Some(progress) = raft.prs().get(to.id) else {
            return refused(format!("it is not in region {}", self.region_id));
        };
        if self.region().find_peer_by_id(to.id).is_some_and(metapb::Peer::is_learner) {
            return refused("it is a learner".into());
        }
        if progress.state == ProgressState::Snapshot {
            return refused("it waits for a snapshot".into());
        }
        if raft.has_pending_conf() {
            return refused("a conf change is pending".into());
        }
        let lag = last.saturating_sub(progress.matched);
        if lag > config.leader_transfer_max_log_lag {
            return refused(format!("its log lacks {lag} entries"));
        }
        Ok(())
    }
}
