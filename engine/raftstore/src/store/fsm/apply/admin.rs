//! Admin commands except membership changes. Mirrors `ApplyDelegate::exec_admin_cmd`.
use kvproto::{
    metapb::Region,
    raft_cmdpb::{
        AdminCmdType, AdminRequest, AdminResponse, CompactLogRequest, RaftCmdResponse, RaftResponseHeader,
        VerifyHashRequest,
    },
    raft_serverpb::{PeerState, RaftTruncatedState},
};
use raft::eraftpb::Entry;

use super::{context::ApplyContext, delegate::ApplyDelegate, msg::ExecResult};
use crate::{
    Error, Result,
    store::{
        peer_storage::{self, first_index},
        worker::region::RegionTask,
    },
};

pub(super) fn admin_response(admin: AdminResponse) -> RaftCmdResponse {
    let header = Some(RaftResponseHeader::default());
    RaftCmdResponse { header, admin_response: Some(admin), ..Default::default() }
}

impl ApplyDelegate {
    pub(super) fn exec_admin_cmd(
        &mut self,
        ctx: &mut ApplyContext,
        admin: &AdminRequest,
        entry: &Entry,
    ) -> Result<RaftCmdResponse> {
        let response = match admin.cmd_type() {
            AdminCmdType::CompactLog => self.exec_compact_log(admin.compact_log.as_ref(), entry)?,
            AdminCmdType::BatchSplit => self.exec_batch_split(ctx, admin)?,
            AdminCmdType::ComputeHash => self.exec_compute_hash(ctx, entry)?,
            AdminCmdType::PrepareFlashback => {
                let start_ts = admin.prepare_flashback.as_ref().map_or(0, |request| request.start_ts);
                self.exec_flashback(ctx, Some(start_ts))?
            }
            AdminCmdType::FinishFlashback => self.exec_flashback(ctx, None)?,
            AdminCmdType::VerifyHash => self.exec_verify_hash(admin.verify_hash.as_ref())?,
            other => {
                return Err(Error::other(format!(
                    "admin command {other:?} is not supported by this RaftStore"
                )));
            }
        };
        let cmd_type = admin.cmd_type() as i32;
        Ok(admin_response(AdminResponse { cmd_type, ..response }))
    }

    /// Schedules the hash of the data as of this entry; every peer does so at the same entry.
    fn exec_compute_hash(&mut self, ctx: &mut ApplyContext, entry: &Entry) -> Result<AdminResponse> {
        // Data in RocksDB without its apply state would be applied again after a crash.
        peer_storage::write_apply_state(&mut ctx.wb, self.region.id, &self.apply_state)?;
        ctx.flush();
        if !ctx.failed() {
            let (region, snapshot) = (self.region.clone(), ctx.kv.snapshot());
            ctx.region_scheduler.schedule(RegionTask::ComputeHash { region, index: entry.index, snapshot });
        }
        Ok(AdminResponse::default())
    }

    fn exec_verify_hash(&mut self, request: Option<&VerifyHashRequest>) -> Result<AdminResponse> {
        let request =
            request.ok_or_else(|| Error::other("expected a verify_hash in the request, found none"))?;
        self.push_result(ExecResult::VerifyHash { index: request.index, hash: request.hash.clone() });
        Ok(AdminResponse { verify_hash: Some(Default::default()), ..Default::default() })
    }

    /// Marks the region as being flashed back to `began`, or clears the mark.
    fn exec_flashback(&mut self, ctx: &mut ApplyContext, began: Option<u64>) -> Result<AdminResponse> {
        let region = Region {
            is_in_flashback: began.is_some(),
            flashback_start_ts: began.unwrap_or(0),
            ..self.region.clone()
        };
        peer_storage::write_peer_state(&mut ctx.wb, &region, PeerState::Normal)?;
        log::info!("region {}: a flashback {}", region.id, if began.is_some() { "begins" } else { "ended" });
        self.region = region.clone();
        self.push_result(ExecResult::SetFlashbackState { region });
        Ok(match began {
            Some(_) => AdminResponse { prepare_flashback: Some(Default::default()), ..Default::default() },
            None => AdminResponse { finish_flashback: Some(Default::default()), ..Default::default() },
        })
    }

    fn exec_compact_log(
        &mut self,
        request: Option<&CompactLogRequest>,
        entry: &Entry,
    ) -> Result<AdminResponse> {
        let request =
            request.ok_or_else(|| Error::other("expected a compact_log in the request, found none"))?;
        let (index, term) = (request.compact_index, request.compact_term);
        let response = AdminResponse { compact_log: Some(Default::default()), ..Default::default() };
        // The log is already compacted up to this index.
        if index < first_index(&self.apply_state) {
            return Ok(response);
        }
        if term == 0 || index >= entry.index {
            return Err(Error::other(format!(
                "compact_log: expected a term and an index below {}, found term {term}, index {index}",
                entry.index
            )));
        }
        self.apply_state.truncated_state = Some(RaftTruncatedState { index, term });
        self.push_result(ExecResult::CompactLog { index });
        Ok(response)
    }
}
