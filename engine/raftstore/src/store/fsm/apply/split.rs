//! Splitting a region. Mirrors `ApplyDelegate::exec_batch_split`.
use kvproto::{
    metapb::{Peer, Region},
    raft_cmdpb::{AdminRequest, AdminResponse, BatchSplitRequest, BatchSplitResponse},
    raft_serverpb::PeerState,
};

use super::{context::ApplyContext, delegate::ApplyDelegate, msg::ExecResult};
use crate::{
    Error, Result,
    store::{
        peer_storage::{initial_apply_state, write_apply_state, write_peer_state},
        util,
    },
};

impl ApplyDelegate {
    pub(super) fn exec_batch_split(
        &mut self,
        ctx: &mut ApplyContext,
        admin: &AdminRequest,
    ) -> Result<AdminResponse> {
        let missing = || Error::other("expected splits in the request, found none");
        let splits = admin.splits.as_ref().ok_or_else(missing)?;
        let (regions, derived) = split_region(&self.region, splits)?;
        for region in &regions {
            write_peer_state(&mut ctx.wb, region, PeerState::Normal)?;
            if region.id != derived.id {
                write_apply_state(&mut ctx.wb, region.id, &initial_apply_state())?;
            }
        }
        log::info!("region {} is split into {} regions", derived.id, regions.len());
        self.region = derived.clone();
        self.push_result(ExecResult::SplitRegion { regions: regions.clone(), derived });
        Ok(AdminResponse { splits: Some(BatchSplitResponse { regions }), ..Default::default() })
    }
}

/// Computes the regions of a split in key order, and the one that keeps the region's id.
pub(super) fn split_region(region: &Region, splits: &BatchSplitRequest) -> Result<(Vec<Region>, Region)> {
    let requests = &splits.requests;
    if requests.is_empty() {
        return Err(Error::other("expected at least one split key, found none"));
    }
    let mut bounds = vec![region.start_key.clone()];
    for request in requests {
        util::check_key_in_region(&request.split_key, region)?;
        if bounds.last().is_some_and(|last| *last >= request.split_key) {
            return Err(Error::other("expected split keys in ascending order within the region"));
        }
        if request.new_peer_ids.len() != region.peers.len() {
            return Err(Error::other(format!(
                "expected {} new peer ids, found {}",
                region.peers.len(),
                request.new_peer_ids.len()
            )));
        }
        bounds.push(request.split_key.clone());
    }
    bounds.push(region.end_key.clone());

    let mut epoch = region.epoch();
    epoch.version += requests.len() as u64;
    let mut derived = Region { region_epoch: Some(epoch), ..region.clone() };
    let ranges: Vec<_> = bounds.windows(2).map(|w| (w[0].clone(), w[1].clone())).collect();
    let derived_at = if splits.right_derive { ranges.len() - 1 } else { 0 };
    let mut new = requests.iter();
    let mut regions = Vec::with_capacity(ranges.len());
    for (at, (start_key, end_key)) in ranges.into_iter().enumerate() {
        if at == derived_at {
            derived.start_key = start_key;
            derived.end_key = end_key;
            regions.push(derived.clone());
            continue;
        }
        let Some(request) = new.next() else { break };
        let peers =
            region.peers.iter().zip(&request.new_peer_ids).map(|(p, id)| Peer { id: *id, ..*p }).collect();
        regions.push(Region {
            id: request.new_region_id,
            start_key,
            end_key,
            region_epoch: Some(epoch),
            peers,
            ..Default::default()
        });
    }
    Ok((regions, derived))
}
