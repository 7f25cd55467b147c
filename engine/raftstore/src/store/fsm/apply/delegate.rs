//! Apply state of one region. Mirrors `ApplyDelegate`.
use std::{collections::VecDeque, mem};

use kvproto::{
    metapb::{self, Region},
    raft_cmdpb::{RaftCmdRequest, RaftCmdResponse},
    raft_serverpb::RaftApplyState,
};
use prost::Message;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType};
use tracepoints::EngineClock;

use super::{
    context::ApplyContext,
    msg::{Apply, ApplyRes, ExecResult, GenSnapTask, Registration},
};
use crate::{
    Error, Result,
    store::{cmd_resp, peer_storage, proposals::Proposal, util, worker::region::RegionTask},
};

/// Executes the entries of one region.
pub struct ApplyDelegate {
    pub(super) peer: metapb::Peer,
    pub(super) region: Region,
    pub(super) apply_state: RaftApplyState,
    applied_term: u64,
    term: u64,
    /// This peer was removed from the region: no further entry is applied.
    pub(super) pending_remove: bool,
    proposals: VecDeque<Proposal>,
    exec_results: Vec<ExecResult>,
    pub(super) written_bytes: u64,
    pub(super) written_keys: u64,
}

impl ApplyDelegate {
    /// Creates the state from a registration.
    pub fn new(reg: Registration) -> Self {
        Self {
            peer: reg.peer,
            region: reg.region,
            apply_state: reg.apply_state,
            applied_term: reg.applied_term,
            term: reg.term,
            pending_remove: false,
            proposals: VecDeque::new(),
            exec_results: Vec::new(),
            written_bytes: 0,
            written_keys: 0,
        }
    }

    /// Resets the state after a snapshot replaced the data.
    pub fn register(&mut self, reg: Registration) {
        *self = Self::new(reg);
    }

    /// Returns the id of the region.
    pub fn region_id(&self) -> u64 {
        self.region.id
    }

    /// TiKV: `ApplyFsm::handle_apply`, `ApplyDelegate::handle_raft_committed_entries`.
    pub fn handle_apply(&mut self, ctx: &mut ApplyContext, mut apply: Apply) {
        if ctx.failed() || self.pending_remove || apply.entries.is_empty() {
            return;
        }
        let now = EngineClock::now();
        apply.proposals.iter_mut().for_each(|p| p.tracker.on_apply_begun(now));
        ctx.begin_entries(self.region.id, &apply.entries);
        self.term = apply.term;
        self.apply_state.commit_index = apply.commit_index;
        self.apply_state.commit_term = apply.commit_term;
        self.proposals.extend(mem::take(&mut apply.proposals));
        for entry in &apply.entries {
            if entry.index <= self.apply_state.applied_index {
                continue;
            }
            if entry.index != self.apply_state.applied_index + 1 {
                let (region, have) = (self.region.id, self.apply_state.applied_index);
                ctx.fail(&format!(
                    "region {region}: expected entry {} to apply next, found {}",
                    have + 1,
                    entry.index
                ));
                return;
            }
            self.handle_entry(ctx, entry);
            if self.pending_remove {
                break;
            }
        }
        for stale in mem::take(&mut self.proposals) {
            self.notify_stale(ctx, stale);
        }
        self.finish_round(ctx, apply.peer_id);
    }

    /// Adds the apply state to the batch of the data, so that a restart continues at the next entry.
    fn finish_round(&mut self, ctx: &mut ApplyContext, peer_id: u64) {
        // The destroy path writes a removed peer's state.
        if !self.pending_remove
            && let Err(err) = peer_storage::write_apply_state(&mut ctx.wb, self.region.id, &self.apply_state)
        {
            ctx.fail(&format!("region {}: {err}", self.region.id));
            return;
        }
        ctx.add_result(ApplyRes {
            region_id: self.region.id,
            peer_id,
            apply_state: self.apply_state,
            applied_term: self.applied_term,
            exec_results: mem::take(&mut self.exec_results),
            written_bytes: mem::take(&mut self.written_bytes),
            written_keys: mem::take(&mut self.written_keys),
        });
    }

    fn handle_entry(&mut self, ctx: &mut ApplyContext, entry: &Entry) {
        let proposal = self.find_pending(ctx, entry.index, entry.term);
        self.apply_state.applied_index = entry.index;
        self.applied_term = entry.term;
        // A new leader begins its term with an empty entry.
        if entry.data.is_empty() && entry.get_entry_type() == EntryType::EntryNormal {
            if let Some(proposal) = proposal {
                self.notify_stale(ctx, proposal);
            }
            return;
        }
        ctx.wb.set_save_point();
        let resp = match self.execute(ctx, entry) {
            Ok(resp) => {
                // The save point was set above.
                let _ = ctx.wb.pop_save_point();
                resp
            }
            Err(err) => {
                let _ = ctx.wb.rollback_to_save_point();
                log::info!("region {}: refused entry {}: {err}", self.region.id, entry.index);
                cmd_resp::new_error(err)
            }
        };
        if let Some(proposal) = proposal {
            let mut resp = resp;
            cmd_resp::bind_term(&mut resp, self.term);
            ctx.add_callback(proposal.cb, proposal.tracker, resp);
        }
    }

    fn execute(&mut self, ctx: &mut ApplyContext, entry: &Entry) -> Result<RaftCmdResponse> {
        match entry.get_entry_type() {
            EntryType::EntryNormal => {
                let cmd = RaftCmdRequest::decode(&entry.data[..])?;
                util::check_cmd_epoch(&cmd, &self.region)?;
                util::check_flashback_state(&cmd, &self.region)?;
                match &cmd.admin_request {
                    Some(admin) => self.exec_admin_cmd(ctx, admin, entry),
                    None => self.exec_write_cmd(ctx, &cmd.requests),
                }
            }
            EntryType::EntryConfChange => {
                let change = ConfChange::parse_from_bytes(&entry.data)?;
                let context = change.context.clone();
                self.exec_conf_change(ctx, util::conf_change_v2(&change), &context)
            }
            EntryType::EntryConfChangeV2 => {
                let change = ConfChangeV2::parse_from_bytes(&entry.data)?;
                let context = change.context.clone();
                self.exec_conf_change(ctx, change, &context)
            }
        }
    }

    fn exec_conf_change(
        &mut self,
        ctx: &mut ApplyContext,
        change: ConfChangeV2,
        context: &[u8],
    ) -> Result<RaftCmdResponse> {
        // Raft's own empty change that leaves a joint state carries no command.
        if context.is_empty() {
            return self.exec_change_peers(ctx, &[], change);
        }
        let cmd = RaftCmdRequest::decode(context)?;
        util::check_cmd_epoch(&cmd, &self.region)?;
        util::check_flashback_state(&cmd, &self.region)?;
        let missing = || Error::other("expected an admin request in a conf change, found none");
        let admin = cmd.admin_request.ok_or_else(missing)?;
        let changes = admin.change_peer_v2.map(|v2| v2.changes);
        let changes = changes.unwrap_or_else(|| admin.change_peer.into_iter().collect());
        self.exec_change_peers(ctx, &changes, change)
    }

    pub(super) fn push_result(&mut self, result: ExecResult) {
        self.exec_results.push(result);
    }

    /// Takes the proposal of this entry; earlier proposals with overwritten entries get `StaleCommand`.
    fn find_pending(&mut self, ctx: &mut ApplyContext, index: u64, term: u64) -> Option<Proposal> {
        while let Some(head) = self.proposals.front() {
            if head.index > index && head.term >= term {
                return None;
            }
            let head = self.proposals.pop_front()?;
            if (head.index, head.term) == (index, term) {
                return Some(head);
            }
            self.notify_stale(ctx, head);
        }
        None
    }

    fn notify_stale(&self, ctx: &mut ApplyContext, proposal: Proposal) {
        ctx.add_callback(proposal.cb, proposal.tracker, cmd_resp::err_resp(Error::StaleCommand, self.term));
    }

    /// Takes a RocksDB snapshot of everything applied so far, for a follower.
    /// TiKV: `ApplyFsm::handle_snapshot`.
    pub fn handle_gen_snapshot(&mut self, ctx: &mut ApplyContext, task: GenSnapTask) {
        if self.pending_remove || ctx.failed() {
            return;
        }
        ctx.flush();
        let snapshot = ctx.kv.snapshot();
        let gen_task = RegionTask::Gen { task, snapshot, last_applied_term: self.applied_term };
        ctx.region_scheduler.schedule(gen_task);
    }
}
