//! The store as a member of its cluster.
use std::sync::Arc;

use pd::client::PdClient;
use security::SecurityManager;
use tokio::runtime::Runtime;

use super::{data::Data, sockets::Sockets};
use crate::{config::TikvConfig, error::StartError, node, runtime};

/// A store that PD knows.
pub(super) struct Member {
    pub store_id: u64,
    pub pd: Arc<PdClient>,
    /// The thread of requests to PD.
    pub runtime: Runtime,
}

impl Member {
    /// Waits for PD, and registers the store of `data` with it; a new store gets its id and, in a new cluster, the
    /// first region.
    pub fn join(
        config: &TikvConfig,
        security: SecurityManager,
        data: &Data,
        sockets: &Sockets,
        on_wait: Option<fn(&str)>,
    ) -> Result<Member, StartError> {
        let runtime = runtime::build("pd-worker", 1, 0)?;
        let pd = Arc::new(runtime.block_on(wait_for_pd(config, security, on_wait))?);
        let check = node::check_store(&data.engines, &pd, config.storage.kv_format());
        let store_id = runtime.block_on(check)?;
        // After the check: a refused api-version must not replace the one with which the data was written.
        data.confirm(config)?;
        let store = node::describe(store_id, &sockets.advertise_addr, &sockets.advertise_status_addr, config);
        runtime.block_on(node::join(&data.engines, &pd, store))?;
        Ok(Member { store_id, pd, runtime })
    }
}

/// Tries to reach PD until it answers, as TiKV does, and reports the wait.
async fn wait_for_pd(
    config: &TikvConfig,
    security: SecurityManager,
    on_wait: Option<fn(&str)>,
) -> pd::client::Result<PdClient> {
    let (endpoints, interval) = (config.pd.endpoints.join(", "), config.pd.retry_interval);
    let waiting = |failed: u64, why: &str| {
        let text = format!("waiting for PD at {endpoints}: {why}; next attempt in {interval}");
        if let (0, Some(on_wait)) = (failed, on_wait) {
            on_wait(&text);
        }
        if failed.is_multiple_of(config.pd.retry_log_every as u64) {
            log::warn!("{text}");
        }
    };
    PdClient::connect_retrying(&config.pd.endpoints, security, config.build_pd_retry(), waiting).await
}
