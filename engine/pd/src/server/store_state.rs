//! Takes stores out of the cluster: Up, Offline, Tombstone (tikv/pd
//! `RaftCluster.RemoveStore`, `UpStore`, `BuryStore`).
use kvproto::metapb::StoreState;

use super::{
    cluster::{Answer, Cluster, Inner},
    error::Refusal,
    stores::StoreInfo,
};

/// Reasons why a store's state cannot be changed, with PD's texts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreStateError {
    /// PD has no store of this id.
    #[error("[PD:core:ErrStoreNotFound]store {0} not found")]
    NotFound(u64),
    /// The store of this id is a tombstone.
    #[error("[PD:core:ErrStoreRemoved]store {0} has been removed")]
    Removed(u64),
    /// The disk of the store of this id is lost.
    #[error("[PD:core:ErrStoreDestroyed]store {0} has been physically destroyed")]
    Destroyed(u64),
    /// Too few stores would be left for all replicas.
    #[error(
        "[PD:core:ErrStoresNotEnough]can not remove store {store} since the number of up stores would be {up} while \
         need {need}"
    )]
    NotEnough {
        /// Id of the store to remove.
        store: u64,
        /// Number of stores that would be left.
        up: usize,
        /// Number of replicas of a region.
        need: u32,
    },
    /// Stores that are Tombstone while regions still have peers on them.
    #[error("failed stores: {0}")]
    StillUsed(String),
    /// PD refuses the request for another reason.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

type Done = Result<(), StoreStateError>;

impl Cluster {
    /// Changes Up to Offline: the replica checker moves the store's peers away, and without
    /// peers the store becomes Tombstone. `physically_destroyed`: the store will never come
    /// back, and its address may be used again.
    ///
    /// # Errors
    /// If too few other stores remain for the replicas and the store is
    /// not destroyed, or if the store is gone.
    pub fn remove_store(&self, id: u64, physically_destroyed: bool) -> Done {
        let mut inner = self.running()?;
        let (up, need) =
            (inner.stores.0.values().filter(|store| store.is_up()).count(), inner.max_peer_count);
        let store = store_mut(&mut inner, id)?;
        if store.is_offline() && store.meta.physically_destroyed == physically_destroyed {
            return Ok(());
        }
        check_not_gone(store)?;
        let left = up.saturating_sub(1);
        if store.is_up() && !physically_destroyed && left < need as usize {
            return Err(StoreStateError::NotEnough { store: id, up: left, need });
        }
        log::warn!("pd: store {id} at {} is offline (destroyed: {physically_destroyed})", store.meta.address);
        store.set_state(StoreState::Offline);
        store.meta.physically_destroyed = physically_destroyed;
        self.save(&inner).map_err(Refusal::from)?;
        Ok(self.patrol(&mut inner)?)
    }

    /// Changes Offline back to Up.
    ///
    /// # Errors
    /// For a store that is Tombstone or physically destroyed.
    pub fn up_store(&self, id: u64) -> Done {
        let mut inner = self.running()?;
        let store = store_mut(&mut inner, id)?;
        check_not_gone(store)?;
        if store.is_up() {
            return Ok(());
        }
        log::warn!("pd: store {id} at {} is up again", store.meta.address);
        store.set_state(StoreState::Up);
        Ok(self.save(&inner).map_err(Refusal::from)?)
    }

    /// Forgets the stores that are Tombstone.
    ///
    /// # Errors
    /// The stores on which regions still have peers; the others are forgotten.
    pub fn remove_tombstones(&self) -> Done {
        let mut inner = self.running()?;
        let counts = inner.peer_counts();
        let is_used = |id: &u64| counts.get(id).is_some_and(|count| *count > 0);
        let gone: Vec<u64> =
            inner.stores.0.values().filter(|store| store.is_tombstone()).map(|store| store.meta.id).collect();
        let (used, free): (Vec<u64>, Vec<u64>) = gone.into_iter().partition(is_used);
        for id in &free {
            log::info!("pd: forgot store {id}, which is tombstone");
            inner.stores.0.remove(id);
        }
        self.save(&inner).map_err(Refusal::from)?;
        if used.is_empty() {
            return Ok(());
        }
        let used: Vec<String> = used.iter().map(u64::to_string).collect();
        Err(StoreStateError::StillUsed(used.join(", ")))
    }

    /// Changes Offline to Tombstone for stores without peers (PD `RaftCluster.checkStores`).
    pub(super) fn bury_empty_stores(&self, inner: &mut Inner) -> Answer<()> {
        if !inner.stores.0.values().any(StoreInfo::is_offline) {
            return Ok(());
        }
        let counts = inner.peer_counts();
        let empty = |store: &&mut StoreInfo| store.is_offline() && !counts.contains_key(&store.meta.id);
        let mut buried = false;
        for store in inner.stores.0.values_mut().filter(empty) {
            log::warn!(
                "pd: store {} at {} has no peers and is now tombstone",
                store.meta.id,
                store.meta.address
            );
            store.set_state(StoreState::Tombstone);
            buried = true;
        }
        if buried { Ok(self.save(inner)?) } else { Ok(()) }
    }
}

fn store_mut(inner: &mut Inner, id: u64) -> Result<&mut StoreInfo, StoreStateError> {
    inner.stores.0.get_mut(&id).ok_or(StoreStateError::NotFound(id))
}

fn check_not_gone(store: &StoreInfo) -> Done {
    let id = store.meta.id;
    match (store.is_tombstone(), store.meta.physically_destroyed) {
        (true, _) => Err(StoreStateError::Removed(id)),
        (false, true) => Err(StoreStateError::Destroyed(id)),
        (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
