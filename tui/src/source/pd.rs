//! Connects to PD, and asks it for the stores of its cluster.
use anyhow::{Result, anyhow};
use kvproto::{
    metapb::Store,
    pdpb::{GetAllStoresRequest, GetMembersRequest, RequestHeader, pd_client::PdClient},
};
use security::SecurityManager;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// Connects to the PD at `pd`. Returns its client, and the header of requests to its cluster.
///
/// # Errors
/// If PD does not answer, or refuses to name its members.
pub(crate) async fn connect(
    pd: &str,
    endpoint: Endpoint,
    security: &SecurityManager,
) -> Result<(PdClient<Channel>, RequestHeader)> {
    let channel = endpoint
        .connect()
        .await
        .map_err(|e| anyhow!("no PD answers at {pd}: {}{}", security::causes(&e), security.hint()))?;
    let refused = |status: Status| {
        // A PD with TLS closes a plain connection.
        let hint = if status.message() == "transport error" { security.hint() } else { "" };
        anyhow!("the PD at {pd} refused to name its members: {}{hint}", status.message())
    };
    let mut client = PdClient::new(channel);
    let members = client.get_members(GetMembersRequest::default()).await.map_err(refused)?.into_inner();
    let cluster_id = members.header.map_or(0, |header| header.cluster_id);
    Ok((client, RequestHeader { cluster_id, ..RequestHeader::default() }))
}

/// Returns the stores of the cluster of the PD at `pd`, without tombstones.
///
/// # Errors
/// If PD does not answer, or refuses to list its stores.
pub(crate) async fn stores(pd: &str, endpoint: Endpoint, security: &SecurityManager) -> Result<Vec<Store>> {
    let (mut client, header) = connect(pd, endpoint, security).await?;
    let refused = |status: Status| anyhow!("the PD at {pd} refused to list its stores: {}", status.message());
    let request = GetAllStoresRequest { header: Some(header), exclude_tombstone_stores: true };
    Ok(client.get_all_stores(request).await.map_err(refused)?.into_inner().stores)
}
