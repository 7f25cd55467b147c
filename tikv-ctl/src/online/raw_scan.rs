//! `raw-scan` of a server. No call of `debugpb` lists keys. `RawScan` lists the data keys of regions that the
//! server leads, and other keys are probed by name. `RawScan` answers without the bytes that a store with API
//! V1TTL adds, so each row is then read as it is stored; [`versions`] has the rows of API V2.
mod versions;

use keys::{CF_DEFAULT, CF_RAFT};
use kvproto::{
    debugpb,
    kvrpcpb::{ApiVersion, Context, KvPair, RawScanRequest},
    metapb::Region,
    raft_serverpb::PeerState,
};
use tonic::{Code, Status};

use super::Online;
use crate::{
    Error,
    error::DebugError,
    source::{Answer, RawPair, RawTaker, Source},
};

/// Maximum number of pairs in one reply; fewer after a reply that was too large.
const PIECE: u32 = 256;

/// Remainder of a scan.
struct Remaining<'a, 'b> {
    to: &'a [u8],
    limit: usize,
    take: RawTaker<'b>,
}

impl Remaining<'_, '_> {
    /// Passes a pair on; returns `false` at the end of the scan.
    fn push(&mut self, key: &[u8], value: &[u8]) -> Answer<bool> {
        if !self.to.is_empty() && key >= self.to {
            return Ok(false);
        }
        self.take(RawPair::Stored { key, value })
    }

    fn take(&mut self, pair: RawPair<'_>) -> Answer<bool> {
        if self.limit == 0 {
            return Ok(false);
        }
        self.limit -= 1;
        (self.take)(pair)?;
        Ok(self.limit > 0)
    }
}

impl Online {
    pub(super) fn scan_raw(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        cf: &str,
        take: RawTaker<'_>,
    ) -> Answer<()> {
        let mut rest = Remaining { to, limit, take };
        for key in self.local_keys(cf)?.into_iter().filter(|key| key.as_slice() >= from) {
            if let Some(value) = self.get_if_there(cf, &key)?
                && !rest.push(&key, &value)?
            {
                return Ok(());
            }
        }
        if cf == CF_RAFT {
            return Ok(());
        }
        let api_version = self.store_info()?.1;
        if api_version == ApiVersion::V2 {
            return self.scan_versions(from, cf, &mut rest);
        }
        for region in self.regions()? {
            let (start, end) = (keys::enc_start_key(&region), keys::enc_end_key(&region));
            let begins = start.as_slice().max(from).to_vec();
            let in_range = begins < end && (to.is_empty() || begins.as_slice() < to);
            if in_range && !self.scan_region(&region, (&begins, &end), cf, api_version, &mut rest)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the names of keys that are not data, in order.
    fn local_keys(&self, cf: &str) -> Answer<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        if cf == CF_DEFAULT {
            all.extend([keys::STORE_IDENT_KEY, keys::PREPARE_BOOTSTRAP_KEY].map(<[u8]>::to_vec));
        }
        if cf == CF_RAFT {
            for id in self.all_regions()? {
                all.push(keys::apply_state_key(id).to_vec());
                all.push(keys::snapshot_raft_state_key(id).to_vec());
                all.push(keys::region_state_key(id).to_vec());
            }
        }
        all.sort();
        Ok(all)
    }

    fn get_if_there(&self, cf: &str, key: &[u8]) -> Answer<Option<Vec<u8>>> {
        let request =
            debugpb::GetRequest { db: debugpb::Db::Kv.into(), cf: cf.to_owned(), key: key.to_vec() };
        match self.runtime.block_on(self.client.clone().get(request)) {
            Ok(reply) => Ok(Some(reply.into_inner().value)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.failure(&status)),
        }
    }

    /// Returns the regions of the store that are not tombstones, in the order of their keys.
    fn regions(&self) -> Answer<Vec<Region>> {
        let mut regions = Vec::new();
        for id in self.all_regions()? {
            let state = self.region_info(id)?.region_local_state;
            let here = state.filter(|state| state.state() != PeerState::Tombstone);
            regions.extend(here.and_then(|state| state.region));
        }
        regions.sort_by(|a, b| a.start_key.cmp(&b.start_key));
        Ok(regions)
    }

    /// Scans `[from, end)`, data keys of `region`; returns `false` when the scan is complete.
    fn scan_region(
        &self,
        region: &Region,
        (from, end): (&[u8], &[u8]),
        cf: &str,
        api_version: ApiVersion,
        rest: &mut Remaining<'_, '_>,
    ) -> Answer<bool> {
        // The server stops at the end of the range, too, and reads nothing in vain.
        let end = if rest.to.is_empty() { end } else { end.min(rest.to) };
        let user_key = |key: &[u8]| key.strip_prefix(&[keys::DATA_PREFIX]).unwrap_or_default().to_vec();
        let is_stored = api_version != ApiVersion::V1ttl;
        let request = RawScanRequest {
            context: Some(self.context(region)?),
            start_key: user_key(from),
            end_key: user_key(end),
            cf: cf.to_owned(),
            key_only: !is_stored,
            ..Default::default()
        };
        self.scan_pages(region, request, rest, &mut |pair, rest| {
            let key = keys::data_key(&pair.key);
            if is_stored {
                return rest.push(&key, &pair.value);
            }
            // A key that was deleted since the scan has no row.
            self.get_if_there(cf, &key)?.map_or(Ok(true), |value| rest.push(&key, &value))
        })
    }

    fn context(&self, region: &Region) -> Answer<Context> {
        let store_id = self.store_info()?.0;
        Ok(Context {
            region_id: region.id,
            region_epoch: region.region_epoch,
            peer: region.peers.iter().find(|peer| peer.store_id == store_id).cloned(),
            ..Default::default()
        })
    }

    /// Passes the pairs of `request` to `push`, page by page, until it returns `false`; returns whether it did not.
    fn scan_pages<'a, 'b>(
        &self,
        region: &Region,
        mut request: RawScanRequest,
        rest: &mut Remaining<'a, 'b>,
        push: &mut dyn FnMut(KvPair, &mut Remaining<'a, 'b>) -> Answer<bool>,
    ) -> Answer<bool> {
        let (mut client, mut piece) = (self.kv(), PIECE);
        loop {
            request.limit = piece.min(u32::try_from(rest.limit).unwrap_or(PIECE));
            let reply = match self.runtime.block_on(client.raw_scan(request.clone())) {
                Ok(reply) => reply.into_inner(),
                Err(status) if is_too_large(&status) && request.limit > 1 => {
                    piece = request.limit / 2;
                    continue;
                }
                Err(status) if is_too_large(&status) => return Err(too_large(&request.start_key, &status)),
                Err(status) => return Err(self.failure(&status)),
            };
            if let Some(error) = reply.region_error {
                return Err(elsewhere(region.id, &error.message));
            }
            let count = reply.kvs.len();
            for pair in reply.kvs {
                if let Some(error) = pair.error {
                    return Err(elsewhere(region.id, &format!("{error:?}")));
                }
                request.start_key.clone_from(&pair.key);
                request.start_key.push(0);
                if !push(pair, rest)? {
                    return Ok(false);
                }
            }
            if count < request.limit as usize {
                return Ok(true);
            }
            piece = piece.saturating_mul(2).min(PIECE);
        }
    }
}

/// Whether a reply exceeds the limit of the server or of this client (texts of tonic and of gRPC core).
fn is_too_large(status: &Status) -> bool {
    let says = |what| status.message().contains(what);
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            says("message length too large") || says("message larger than")
        }
        _ => false,
    }
}

fn too_large(from: &[u8], status: &Status) -> DebugError {
    Error::other(format!(
        "raw-scan: the value of the first key from {} on is larger than the server's limit for one reply ({}): raise \
         its server.max-grpc-send-msg-len, or give --data-dir",
        keys::escape(&keys::data_key(from)),
        status.message()
    ))
    .into()
}

fn elsewhere(region: u64, why: &str) -> DebugError {
    Error::other(format!(
        "raw-scan of region {region}: the server answers RawScan only for regions that it leads: {why}; ask the store that \
         leads it, or give --data-dir"
    ))
    .into()
}
