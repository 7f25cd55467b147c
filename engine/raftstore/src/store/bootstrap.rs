//! Bootstraps a store and a cluster. Mirrors `raftstore::store::bootstrap`.
use engine_rocks::{CF_RAFT, DATA_CFS, IterOptions};
use kvproto::{
    metapb::{Peer, Region, RegionEpoch},
    raft_serverpb::{PeerState, StoreIdent},
};

use super::{
    engines::Engines,
    peer_storage::{initial_apply_state, initial_raft_state, write_apply_state, write_peer_state},
};
use crate::{Error, Result};

/// Initial epoch of a new cluster's region.
const INIT_EPOCH_VER: u64 = 1;
const INIT_EPOCH_CONF_VER: u64 = 1;

/// Creates a region that covers all keys and has one peer.
pub fn initial_region(store_id: u64, region_id: u64, peer_id: u64) -> Region {
    Region {
        id: region_id,
        region_epoch: Some(RegionEpoch { version: INIT_EPOCH_VER, conf_ver: INIT_EPOCH_CONF_VER }),
        peers: vec![Peer::voter(store_id, peer_id)],
        ..Default::default()
    }
}

/// Reads the store's identity; `None` if the store is not bootstrapped.
pub fn load_store_ident(engines: &Engines) -> Result<Option<StoreIdent>> {
    Ok(engines.kv.get_msg(keys::STORE_IDENT_KEY)?)
}

/// Writes the identity of an empty store.
///
/// # Errors
/// The store contains data.
pub fn bootstrap_store(engines: &Engines, ident: &StoreIdent) -> Result<()> {
    for cf in DATA_CFS {
        let mut iter = engines.kv.iterator_cf(cf, IterOptions::default())?;
        if iter.seek_to_first()? {
            return Err(Error::other(format!(
                "expected an empty store to bootstrap, found keys in column family {cf}: remove the data directory or \
                 start the store with its own cluster"
            )));
        }
    }
    engines.kv.put_msg(keys::STORE_IDENT_KEY, ident)?;
    engines.kv.sync_wal()?;
    engines.raft.sync()?;
    Ok(())
}

/// Writes the first region of a cluster; it stays if PD accepts it.
pub fn prepare_bootstrap_cluster(engines: &Engines, region: &Region) -> Result<()> {
    let mut batch = engines.kv.write_batch();
    batch.put_msg(keys::PREPARE_BOOTSTRAP_KEY, region)?;
    write_peer_state(&mut batch, region, PeerState::Normal)?;
    write_apply_state(&mut batch, region.id, &initial_apply_state())?;
    batch.write_opt(true)?;
    let mut log = engines.raft.log_batch(1);
    log.put_raft_state(region.id, &initial_raft_state())?;
    engines.raft.consume(&mut log, true)?;
    Ok(())
}

/// Reads the region of an interrupted bootstrap.
pub fn load_prepare_bootstrap_region(engines: &Engines) -> Result<Option<Region>> {
    Ok(engines.kv.get_msg(keys::PREPARE_BOOTSTRAP_KEY)?)
}

/// Removes the prepared region after PD reported another first region.
pub fn clear_prepare_bootstrap_cluster(engines: &Engines, region_id: u64) -> Result<()> {
    engines.raft.clean(region_id, true)?;
    let mut batch = engines.kv.write_batch();
    batch.delete(keys::PREPARE_BOOTSTRAP_KEY)?;
    batch.delete_cf(CF_RAFT, &keys::region_state_key(region_id))?;
    batch.delete_cf(CF_RAFT, &keys::apply_state_key(region_id))?;
    Ok(batch.write_opt(true)?)
}

/// Removes the bootstrap mark after PD accepted the region.
pub fn clear_prepare_bootstrap_key(engines: &Engines) -> Result<()> {
    engines.kv.delete(keys::PREPARE_BOOTSTRAP_KEY)?;
    Ok(engines.kv.sync_wal()?)
}
