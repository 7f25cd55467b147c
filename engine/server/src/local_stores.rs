//! The stores of this process. They share its clock, so it need not be frozen over the wire.
use std::{collections::HashSet, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use pd::client::PdClient;
use security::SecurityManager;
use tonic::transport::Endpoint;

use crate::service::control::Peers;

static LOCAL: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Registers an address until it is dropped.
#[derive(Debug)]
pub struct LocalStore(String);

impl LocalStore {
    pub fn register(address: &str) -> Self {
        LOCAL.lock().get_or_insert_default().insert(address.to_owned());
        Self(address.to_owned())
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        if let Some(local) = LOCAL.lock().as_mut() {
            local.remove(&self.0);
        }
    }
}

fn is_local(address: &str) -> bool {
    LOCAL.lock().as_ref().is_some_and(|local| local.contains(address))
}

/// The cluster's stores in other processes, according to PD, and PD itself.
pub struct OtherProcesses {
    pub pd: Arc<PdClient>,
    /// As configured, with or without a scheme.
    pub endpoints: Vec<String>,
    pub security: SecurityManager,
}

impl Peers for OtherProcesses {
    fn endpoint(&self, address: &str) -> Result<Endpoint, String> {
        self.security.endpoint(address).map_err(|e| e.to_string())
    }

    fn addresses(&self) -> BoxFuture<'static, Vec<String>> {
        let (pd, endpoints) = (self.pd.clone(), self.endpoints.clone());
        async move {
            let stores = pd.get_all_stores(true).await.unwrap_or_else(|e| {
                log::warn!("cannot get the list of stores from PD: {e}");
                Vec::new()
            });
            let stores = stores.into_iter().map(|s| s.address).filter(|a| !a.is_empty() && !is_local(a));
            let without_scheme = |e: String| {
                e.split_once("://").map_or(&*e, |(_, rest)| rest).trim_end_matches('/').to_owned()
            };
            stores.chain(endpoints.into_iter().map(without_scheme)).collect()
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_local_while_it_runs() {
        let store = LocalStore::register("127.0.0.1:1");
        assert!(is_local("127.0.0.1:1") && !is_local("127.0.0.1:2"));
        drop(store);
        assert!(!is_local("127.0.0.1:1"));
    }
}
