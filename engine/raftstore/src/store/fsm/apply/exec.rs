//! Executes writes: put, delete, delete range. Mirrors `ApplyDelegate::exec_write_cmd`.
use engine_rocks::{CfName, DATA_CFS, name_to_cf};
use kvproto::raft_cmdpb::{
    CmdType, DeleteRangeRequest, DeleteRequest, PutRequest, RaftCmdResponse, RaftResponseHeader, Request,
    Response,
};

use super::{context::ApplyContext, delegate::ApplyDelegate};
use crate::{Error, Result, store::util};

fn data_cf(name: &str) -> Result<CfName> {
    let known = name_to_cf(name).filter(|cf| DATA_CFS.contains(cf));
    known.ok_or_else(|| Error::other(format!("expected a column family of {DATA_CFS:?}, found {name:?}")))
}

fn missing(what: &str) -> Error {
    Error::other(format!("expected a {what} in the request, found none"))
}

impl ApplyDelegate {
    pub(super) fn exec_write_cmd(
        &mut self,
        ctx: &mut ApplyContext,
        requests: &[Request],
    ) -> Result<RaftCmdResponse> {
        let mut responses = Vec::with_capacity(requests.len());
        for request in requests {
            let cmd_type = request.cmd_type();
            match cmd_type {
                CmdType::Put => self.handle_put(ctx, request.put.as_ref().ok_or_else(|| missing("put"))?)?,
                CmdType::Delete => {
                    self.handle_delete(ctx, request.delete.as_ref().ok_or_else(|| missing("delete"))?)?;
                }
                CmdType::DeleteRange => {
                    let range = request.delete_range.as_ref().ok_or_else(|| missing("delete_range"))?;
                    self.handle_delete_range(ctx, range)?;
                }
                other => return Err(Error::other(format!("expected a write command, found {other:?}"))),
            }
            responses.push(Response { cmd_type: cmd_type as i32, ..Default::default() });
        }
        let header = Some(RaftResponseHeader::default());
        Ok(RaftCmdResponse { header, responses, ..Default::default() })
    }

    fn handle_put(&mut self, ctx: &mut ApplyContext, put: &PutRequest) -> Result<()> {
        util::check_key_in_region(&put.key, &self.region)?;
        self.written_keys += 1;
        self.written_bytes += (put.key.len() + put.value.len()) as u64;
        Ok(ctx.wb.put_cf(data_cf(&put.cf)?, &keys::data_key(&put.key), &put.value)?)
    }

    fn handle_delete(&mut self, ctx: &mut ApplyContext, delete: &DeleteRequest) -> Result<()> {
        util::check_key_in_region(&delete.key, &self.region)?;
        self.written_keys += 1;
        self.written_bytes += delete.key.len() as u64;
        Ok(ctx.wb.delete_cf(data_cf(&delete.cf)?, &keys::data_key(&delete.key))?)
    }

    /// Adds the delete range to the batch, in order with the other writes.
    fn handle_delete_range(&mut self, ctx: &mut ApplyContext, range: &DeleteRangeRequest) -> Result<()> {
        if !range.end_key.is_empty() && range.start_key >= range.end_key {
            return Err(Error::other(format!(
                "invalid delete range command, start_key: {:?}, end_key: {:?}",
                range.start_key, range.end_key
            )));
        }
        util::check_key_in_region(&range.start_key, &self.region)?;
        let end_key = util::end_key_in_region(&range.end_key, &self.region)?;
        let cf = data_cf(&range.cf)?;
        if range.notify_only {
            return Ok(());
        }
        let (start, end) = (keys::data_key(&range.start_key), keys::data_end_key(end_key));
        Ok(ctx.wb.delete_range_cf(cf, &start, &end)?)
    }
}
