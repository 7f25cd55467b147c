//! Resolves a store's id to the address of its gRPC server by asking PD, and caches it (TiKV
//! `src/server/resolve.rs`).
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kvproto::metapb::{Store, StoreState};
use parking_lot::Mutex;
use pd::client::PdClient;

/// Lifetime of a cached address. An address that does not answer is asked for again at once.
const REFRESH: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("cannot get the address of store {0} from PD: {1}")]
    Pd(u64, String),
    #[error("store {0} is a tombstone: it has been removed from the cluster")]
    Tombstone(u64),
    #[error("store {0} has no address in PD: it has not been started yet")]
    NoAddress(u64),
}

/// Caches addresses; shared by all connections of a store.
#[derive(Clone)]
pub struct Resolver {
    pd: Arc<PdClient>,
    known: Arc<Mutex<HashMap<u64, (String, Instant)>>>,
}

impl Resolver {
    pub fn new(pd: Arc<PdClient>) -> Self {
        Self { pd, known: Arc::default() }
    }

    pub async fn resolve(&self, store_id: u64) -> Result<String, ResolveError> {
        if let Some((address, at)) = self.known.lock().get(&store_id)
            && at.elapsed() < REFRESH
        {
            return Ok(address.clone());
        }
        let store =
            self.pd.get_store(store_id).await.map_err(|e| ResolveError::Pd(store_id, e.to_string()))?;
        let address = peer_address(&store)?;
        self.known.lock().insert(store_id, (address.clone(), Instant::now()));
        Ok(address)
    }

    /// Removes a cached address. Call it when the address did not answer: the store may have moved.
    pub fn forget(&self, store_id: u64) {
        self.known.lock().remove(&store_id);
    }
}

fn peer_address(store: &Store) -> Result<String, ResolveError> {
    if store.state == StoreState::Tombstone as i32 {
        return Err(ResolveError::Tombstone(store.id));
    }
    let given = [&store.peer_address, &store.address].into_iter().find(|a| !a.is_empty());
    given.cloned().ok_or(ResolveError::NoAddress(store.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_address_wins_and_a_tombstone_has_none() {
        let mut store = Store { id: 4, address: "a:1".into(), ..Store::default() };
        assert_eq!(peer_address(&store).unwrap(), "a:1");
        store.peer_address = "b:2".into();
        assert_eq!(peer_address(&store).unwrap(), "b:2");
        store.state = StoreState::Tombstone as i32;
        assert!(peer_address(&store).unwrap_err().to_string().contains("tombstone"));
        assert!(matches!(peer_address(&Store::default()), Err(ResolveError::NoAddress(0))));
    }
}
