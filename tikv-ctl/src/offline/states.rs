//! States of regions and of the store: in column family raft or, with a tablet for each region, in
//! raft-engine (TiKV `raft_log_engine`, `ENGINE` keys of raftstore-v2).
use keys::{CF_DEFAULT, CF_RAFT};
use kvproto::raft_serverpb::{RaftApplyState, RegionLocalState, StoreIdent};
use prost::Message;

use super::{Offline, raft::RaftStore};
use crate::{
    error::DebugError,
    raft_engine::RaftEngineDir,
    source::{Answer, RegionInfo},
};

/// The Raft group that contains the store's own keys.
pub(super) const STORE_STATE_ID: u64 = 0;
const STORE_IDENT: u8 = 0x01;
pub(crate) const REGION_STATE: u8 = 0x03;
pub(crate) const APPLY_STATE: u8 = 0x04;
/// Prefix of the keys with the index up to which column family raft is flushed.
const RAFT_CF_FLUSHED: [u8; 2] = [0x06, 0x03];

impl Offline {
    /// Returns the raft-engine that contains the states; none if column family raft contains them.
    pub(crate) fn state_engine(&self) -> Option<&RaftEngineDir> {
        match &self.raft {
            RaftStore::Engine(engine) if self.has_tablets => Some(engine),
            _ => None,
        }
    }

    fn message<M: Message + Default>(&self, cf: &str, key: &[u8]) -> Answer<Option<M>> {
        self.kv
            .get(cf, key)?
            .map(|value| decode(&value, &|| format!("key {}", keys::hex_upper(key))))
            .transpose()
    }

    fn newest<M: Message + Default>(
        engine: &RaftEngineDir,
        region: u64,
        prefix: u8,
        most: u64,
    ) -> Answer<Option<M>> {
        let found = engine.group(region).and_then(|group| group.newest(prefix, most));
        found.map(|(_, value)| decode(value, &|| format!("key {prefix:02X} of group {region}"))).transpose()
    }

    pub(super) fn region_state(&self, region: u64) -> Answer<Option<RegionLocalState>> {
        match self.state_engine() {
            Some(engine) => Offline::newest(engine, region, REGION_STATE, u64::MAX),
            None => self.message(CF_RAFT, &keys::region_state_key(region)),
        }
    }

    pub(super) fn apply_state(&self, region: u64) -> Answer<Option<RaftApplyState>> {
        match self.state_engine() {
            Some(engine) => Offline::newest(engine, region, APPLY_STATE, u64::MAX),
            None => self.message(CF_RAFT, &keys::apply_state_key(region)),
        }
    }

    /// Returns the states that a server would start with. With a tablet for each region, these are the
    /// flushed ones: a server replays the log after them.
    pub(super) fn info(&self, region: u64) -> Answer<RegionInfo> {
        let mut info = RegionInfo {
            raft_local_state: self.raft.local_state(region)?,
            raft_apply_state: self.apply_state(region)?,
            region_local_state: self.region_state(region)?,
        };
        let Some(engine) = self.state_engine() else { return Ok(info) };
        let flushed = engine.group(region).and_then(|group| group.last_with(&RAFT_CF_FLUSHED));
        if let Some(flushed) = flushed.and_then(|value| Some(u64::from_be_bytes(value.try_into().ok()?))) {
            let apply: Option<RaftApplyState> = Offline::newest(engine, region, APPLY_STATE, flushed)?;
            info.raft_apply_state = apply.map(|state| RaftApplyState { applied_index: flushed, ..state });
            info.region_local_state = Offline::newest(engine, region, REGION_STATE, flushed)?;
        }
        Ok(info)
    }

    pub(super) fn store_ident(&self) -> Answer<StoreIdent> {
        let ident = match self.state_engine() {
            Some(engine) => {
                let value = engine.get(STORE_STATE_ID, &[STORE_IDENT]);
                value.map(|value| decode(value, &|| "the store's ident".to_owned())).transpose()?
            }
            None => self.message(CF_DEFAULT, keys::STORE_IDENT_KEY)?,
        };
        ident.ok_or_else(|| DebugError::NotFound("No store ident key".to_owned()))
    }

    /// Calls `take` with the id and the value of each region's `RegionLocalState`.
    pub(super) fn each_region(&self, mut take: impl FnMut(u64, &[u8]) -> Answer<()>) -> Answer<()> {
        if let Some(engine) = self.state_engine() {
            for id in engine.groups() {
                if let Some((_, value)) =
                    engine.group(id).and_then(|group| group.newest(REGION_STATE, u64::MAX))
                {
                    take(id, value)?;
                }
            }
            return Ok(());
        }
        let mut iter = self.kv.scan(CF_RAFT, keys::REGION_META_MIN_KEY, keys::REGION_META_MAX_KEY)?;
        while iter.advance()? {
            let (region, suffix) = keys::decode_region_meta_key(iter.key())
                .map_err(|e| DebugError::Other(format!("in CF raft: {e}")))?;
            if suffix == keys::REGION_STATE_SUFFIX {
                take(region, iter.value())?;
            }
        }
        Ok(())
    }
}

fn decode<M: Message + Default>(value: &[u8], of: &dyn Fn() -> String) -> Answer<M> {
    M::decode(value).map_err(|e| DebugError::Other(format!("cannot decode the value of {}: {e}", of())))
}
