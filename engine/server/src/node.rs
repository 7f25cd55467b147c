//! A store's place in its cluster: its identity, the first region, its entry in
//! PD (TiKV `components/server`, `Node`).
use std::time::Duration;

mod api_version;

use ::api_version::{ApiVersion, KvFormat};
use kvproto::{
    metapb::{Region, Store, StoreLabel},
    raft_serverpb::StoreIdent,
};
use pd::client::PdClient;
use raftstore::store::{
    Engines, bootstrap_store, clear_prepare_bootstrap_cluster, clear_prepare_bootstrap_key, initial_region,
    load_prepare_bootstrap_region, load_store_ident, prepare_bootstrap_cluster,
};

use crate::error::StartError;

/// As TiKV's: other stores may bootstrap at the same time, and PD may be starting.
const BOOTSTRAP_ATTEMPTS: usize = 20;
const BOOTSTRAP_PAUSE: Duration = Duration::from_millis(500);

/// The version announced to PD: that of the TiKV whose features PD may use here. PD checks it (tikv/pd
/// `versioninfo.Feature`): splits need 2.1, joint membership changes 5.0. Hot regions by queries need 5.2 and
/// statistics that this store does not report; witnesses need 6.6, and this store has none.
const VERSION: &str = "5.1.0";

/// Returns this store's id: the one on disk, or a new one from PD.
pub async fn check_store(engines: &Engines, pd: &PdClient, format: KvFormat) -> Result<u64, StartError> {
    if let Some(ident) = load_store_ident(engines)? {
        if ident.cluster_id != pd.cluster_id() {
            return Err(StartError::ClusterId { data: ident.cluster_id, pd: pd.cluster_id() });
        }
        if ident.store_id == 0 {
            return Err(StartError::Corrupt("the store's identity on disk has no store id".into()));
        }
        api_version::check(engines, ident, format)?;
        return Ok(ident.store_id);
    }
    if !engines.raft.raft_groups().is_empty() {
        let what = "raft-engine/ has Raft logs, but db/ has no store id";
        return Err(StartError::Corrupt(what.into()));
    }
    let store_id = pd.alloc_id().await?;
    let api_version = ApiVersion::from(format).into();
    let ident = StoreIdent { cluster_id: pd.cluster_id(), store_id, api_version };
    bootstrap_store(engines, &ident)?;
    log::info!("new store {store_id} in cluster {}", pd.cluster_id());
    Ok(store_id)
}

/// Returns this store's entry in PD.
pub fn describe(store_id: u64, address: &str, status_address: &str, config: &crate::TikvConfig) -> Store {
    let labels = config.server.labels.iter();
    Store {
        id: store_id,
        address: address.into(),
        status_address: status_address.into(),
        version: VERSION.into(),
        start_timestamp: (tracepoints::EngineClock::wall_ms() / 1000) as i64,
        deploy_path: config.storage.data_dir.display().to_string(),
        labels: labels.map(|(key, value)| StoreLabel { key: key.clone(), value: value.clone() }).collect(),
        ..Store::default()
    }
}

/// Bootstraps the cluster if no store has, then registers this store with PD.
/// Must run before the RaftStore starts.
pub async fn join(engines: &Engines, pd: &PdClient, store: Store) -> Result<(), StartError> {
    if let Some(region) = check_or_prepare_bootstrap_cluster(engines, pd, store.id).await? {
        bootstrap_cluster(engines, pd, &store, region).await?;
    }
    pd.put_store(store).await?;
    Ok(())
}

async fn check_or_prepare_bootstrap_cluster(
    engines: &Engines,
    pd: &PdClient,
    store_id: u64,
) -> Result<Option<Region>, StartError> {
    if let Some(region) = load_prepare_bootstrap_region(engines)? {
        return Ok(Some(region));
    }
    if pd.is_cluster_bootstrapped().await? {
        return Ok(None);
    }
    let region = initial_region(store_id, pd.alloc_id().await?, pd.alloc_id().await?);
    prepare_bootstrap_cluster(engines, &region)?;
    Ok(Some(region))
}

async fn bootstrap_cluster(
    engines: &Engines,
    pd: &PdClient,
    store: &Store,
    region: Region,
) -> Result<(), StartError> {
    let mut last = None;
    for _ in 0..BOOTSTRAP_ATTEMPTS {
        match pd.bootstrap_cluster(store.clone(), region.clone()).await {
            Ok(()) => {
                log::info!("the cluster {} is bootstrapped with region {}", pd.cluster_id(), region.id);
                return Ok(clear_prepare_bootstrap_key(engines)?);
            }
            Err(pd::client::Error::AlreadyBootstrapped(_)) => {
                let first = pd.get_region(b"").await?.region;
                // The region is ours if this store stopped after PD's reply and before this line.
                if first.id == region.id {
                    return Ok(clear_prepare_bootstrap_key(engines)?);
                }
                return Ok(clear_prepare_bootstrap_cluster(engines, region.id)?);
            }
            Err(e) => {
                log::warn!("the cluster is not bootstrapped yet: {e}");
                last = Some(e);
            }
        }
        tokio::time::sleep(BOOTSTRAP_PAUSE).await;
    }
    Err(last.map_or(StartError::Corrupt("bootstrap was not tried".into()), StartError::Pd))
}
