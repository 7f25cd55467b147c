//! Finds the store that leads a region, by asking PD.
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use kvproto::pdpb::{
    GetRegionByIdRequest, GetRegionRequest, GetStoreRequest, RequestHeader, pd_client::PdClient,
};
use security::SecurityManager;
use tonic::{Status, transport::Channel};

use crate::source::{
    attached::{RequestFilter, endpoint},
    pd::connect,
};

/// Bound of the answers of PD.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The address of the store that leads the filter's region, or the region of its key.
///
/// # Errors
/// If PD does not answer, or the region has no leader.
pub fn address(pd: &str, filter: &RequestFilter, security: &SecurityManager) -> Result<String> {
    if filter.key.is_empty() && filter.region == 0 {
        bail!(
            "expected `key` or `region` with `pd`, found neither: a server is chosen by the region's leader"
        );
    }
    let endpoint = endpoint(pd, security).context("pd")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ask = async {
            let (client, header) = connect(pd, endpoint, security).await?;
            find(client, header, pd, filter).await
        };
        tokio::time::timeout(TIMEOUT, ask)
            .await
            .map_err(|_| anyhow!("the PD at {pd} did not answer within 10 s: check that it is running"))?
    })
}

async fn find(
    mut client: PdClient<Channel>,
    header: RequestHeader,
    pd: &str,
    filter: &RequestFilter,
) -> Result<String> {
    let refused = |status: Status| anyhow!("the PD at {pd} refused to name the leader: {}", status.message());
    let header = Some(header);
    let found = if filter.region != 0 {
        let request =
            GetRegionByIdRequest { header: header.clone(), region_id: filter.region, ..Default::default() };
        client.get_region_by_id(request).await
    } else {
        let raw = filter.kind.starts_with("raw_");
        // Transactional keys are encoded in regions' ranges, raw keys are not.
        let region_key = if raw { filter.key.clone() } else { keys::encode_bytes(&filter.key) };
        client.get_region(GetRegionRequest { header: header.clone(), region_key, ..Default::default() }).await
    };
    let Some(leader) = found.map_err(refused)?.into_inner().leader else {
        bail!(
            "expected a region with a leader, the PD at {pd} knows none: check the key or region, and that the stores run"
        );
    };
    let request = GetStoreRequest { header, store_id: leader.store_id };
    let store = client.get_store(request).await.map_err(refused)?.into_inner().store;
    store
        .map(|store| store.address)
        .with_context(|| format!("the PD at {pd} knows no store {}", leader.store_id))
}
