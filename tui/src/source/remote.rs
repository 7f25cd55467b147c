//! Steps an operation of this program's own client on a running cluster.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use kvproto::pdpb::{GetAllStoresRequest, GetMembersRequest, RequestHeader, pd_client::PdClient};
use recipes::{
    client::{Clients, KvFormat},
    directive,
};
use security::SecurityManager;
use tokio::sync::oneshot;
use tracepoints::Req;

use super::attached::{Attached, Operation, RequestFilter};
use crate::state::Start;

/// Timeout of the connection to PD and to the stores.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the cluster of the PD at `pd` and steps the requests of an operation, such as `get k1`.
///
/// # Errors
/// If the text is no operation, or PD does not answer.
pub fn start(pd: &str, text: &str, start: Start) -> Result<Attached> {
    let op = directive::parse_operation(text).map_err(anyhow::Error::msg)?;
    directive::check(&directive::scenario_of(text).map_err(anyhow::Error::msg)?)?;
    if op.is_the_runners() {
        bail!("expected an operation of a TiKV client, found `{op}`, which only a recipe can step");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("client")
        .enable_all()
        .build()
        .context("cannot start the client's runtime")?;
    let (store, clients) = runtime.block_on(async {
        let bounded = tokio::time::timeout(TIMEOUT, async {
            let store = any_store(pd).await?;
            anyhow::Ok((store, Clients::connect(pd, KvFormat::V1).await?))
        });
        match bounded.await {
            Ok(connected) => connected,
            Err(_) => bail!("no PD answers at {pd} within {TIMEOUT:?}: check that it is running"),
        }
    })?;
    let wanted = RequestFilter { key: op.key().to_vec(), ..RequestFilter::default() };
    let (title, runtime) = (op.to_string(), Arc::new(runtime));
    let operation: Operation = Box::new(move || {
        let (done, answer) = oneshot::channel();
        let (clients, op) = (clients.clone(), op.clone());
        runtime.spawn(async move {
            let result = clients.run(&op, Req::NONE, &BTreeMap::new(), None).await;
            // The receiver is gone if the screen is closed.
            let _ = done.send(result.unwrap_or_else(|e| format!("error: {e:#}")));
        });
        answer
    });
    Attached::start_with(title, &store, &SecurityManager::default(), wanted, start, Some(operation))
}

/// Returns the address of a store of the cluster; it leads to all others.
async fn any_store(pd: &str) -> Result<String> {
    let no_pd =
        || format!("no PD answers at {pd}: check that it is running and that this is its client address");
    let mut client = PdClient::connect(format!("http://{pd}")).await.with_context(no_pd)?;
    let members = client.get_members(GetMembersRequest::default()).await.with_context(no_pd)?.into_inner();
    let header =
        members.header.map(|h| RequestHeader { cluster_id: h.cluster_id, ..RequestHeader::default() });
    let request = GetAllStoresRequest { header, exclude_tombstone_stores: true };
    let stores = client.get_all_stores(request).await.with_context(no_pd)?.into_inner().stores;
    let up = stores.into_iter().find(|store| store.state == 0);
    up.map(|store| store.address)
        .with_context(|| format!("expected a running store in the cluster of {pd}, found none"))
}
