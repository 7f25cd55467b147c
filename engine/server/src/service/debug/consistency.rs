//! `CheckRegionConsistency`: every peer of a region hashes its data at the same log entry and compares the
//! hash with the leader's (TiKV `Debugger::check_region_consistency`).
use std::time::Duration;

use kvproto::raft_cmdpb::{AdminCmdType, AdminRequest, RaftCmdRequest, RaftRequestHeader};
use raftstore::{RaftRouter, store::Callback};
use tonic::Status;
use tracepoints::Req;

/// Time limit for the leader's own verdict, which arrives through the log.
const WAIT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);

/// Proposes the check to the region's leader, which must be on this store, and waits until the leader has its
/// own verdict. Followers log theirs.
pub async fn check(router: &RaftRouter, region_id: u64) -> Result<(), Status> {
    let gone = || Status::not_found(format!("region {region_id} is not on this store"));
    let meta = router.query_region_meta(region_id).await.ok_or_else(gone)?;
    let before = meta.consistency.map_or(0, |verdict| verdict.index);
    let me = meta.region.find_peer_by_id(meta.raft.peer).copied();
    let request = RaftCmdRequest {
        header: Some(RaftRequestHeader {
            region_id,
            peer: me,
            region_epoch: meta.region.region_epoch,
            ..Default::default()
        }),
        admin_request: Some(AdminRequest {
            cmd_type: AdminCmdType::ComputeHash as i32,
            compute_hash: Some(Default::default()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (callback, answer) = Callback::paired_write();
    // The callback has the error.
    let _ = router.send_command(request, callback, Req::NONE);
    let response = answer.await.map_err(|_| gone())?.response;
    if let Some(error) = response.header.and_then(|header| header.error) {
        return Err(Status::unknown(error.message));
    }
    let end = tokio::time::Instant::now() + WAIT;
    while tokio::time::Instant::now() < end {
        let meta = router.query_region_meta(region_id).await.ok_or_else(gone)?;
        match meta.consistency.filter(|verdict| verdict.index > before) {
            Some(verdict) if verdict.matches => return Ok(()),
            Some(verdict) => {
                return Err(Status::data_loss(format!(
                    "region {region_id}: the data of this store differs from the leader's at entry {}; tikv-ctl diff shows the keys",
                    verdict.index
                )));
            }
            None => tokio::time::sleep(STEP).await,
        }
    }
    Err(Status::deadline_exceeded(format!("region {region_id}: no verdict within {WAIT:?}")))
}
