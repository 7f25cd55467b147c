//! Admin commands that are not changes of membership. Mirrors `ApplyDelegate::exec_admin_cmd`.
use kvproto::{
    raft_cmdpb::{
        AdminCmdType, AdminRequest, AdminResponse, CompactLogRequest, RaftCmdResponse, RaftResponseHeader,
    },
    raft_serverpb::RaftTruncatedState,
};
use raft::eraftpb::Entry;

use super::{ApplyDelegate, ExecResult, context::ApplyContext};
use crate::{Error, Result, store::peer_storage::first_index};

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
            other => {
                return Err(Error::other(format!(
                    "admin command {other:?} is not supported by this RaftStore"
                )));
            }
        };
        let cmd_type = admin.cmd_type() as i32;
        Ok(admin_response(AdminResponse { cmd_type, ..response }))
    }

    fn exec_compact_log(
        &mut self,
        request: Option<&CompactLogRequest>,
        entry: &Entry,
    ) -> Result<AdminResponse> {
        let request =
            request.ok_or_else(|| Error::other("expected a compact_log in the request, met none"))?;
        let (index, term) = (request.compact_index, request.compact_term);
        let response = AdminResponse { compact_log: Some(Default::default()), ..Default::default() };
        // Compacted further already.
        if index < first_index(&self.apply_state) {
            return Ok(response);
        }
        if term == 0 || index >= entry.index {
            return Err(Error::other(format!(
                "compact_log: expected a term and an index below {}, met term {term}, index {index}",
                entry.index
            )));
        }
        self.apply_state.truncated_state = Some(RaftTruncatedState { index, term });
        self.push_result(ExecResult::CompactLog { index });
        Ok(response)
    }
}
