//! Reads and changes the keyspaces of a running cluster (tikv/pd `keyspace.Manager`).
use std::collections::HashMap;

use kvproto::{
    keyspacepb::{KeyspaceMeta, KeyspaceState},
    pdpb::{KeyspaceScope, keyspace_scope::Keyspace},
};

use super::{
    cluster::{Answer, Cluster},
    error::Refusal,
    keyspace::{Changed, ConfigPatch, KeyspaceError, Keyspaces, MAX_ID},
    keyspace_watch::KeyspaceWatch,
};

impl Cluster {
    /// Returns the keyspace `name`.
    pub fn keyspace_by_name(&self, name: &str) -> Changed<KeyspaceMeta> {
        self.lock().keyspaces.by_name(name).cloned()
    }

    /// Returns the keyspace with this id.
    pub fn keyspace_by_id(&self, id: u32) -> Changed<KeyspaceMeta> {
        self.lock().keyspaces.by_id(id).cloned()
    }

    /// Checks that the keyspace of a request about GC exists. No scope, or an id that no keyspace can have, means the
    /// keys without a keyspace (tikv/pd `GCStateManager.redirectKeyspace`).
    pub fn check_keyspace_scope(&self, scope: Option<&KeyspaceScope>) -> Answer<()> {
        let id = match scope.and_then(|scope| scope.keyspace.as_ref()) {
            None => return Ok(()),
            Some(Keyspace::KeyspaceId(id)) => *id,
            Some(Keyspace::KeyspaceIdentity(identity)) => identity.keyspace_id,
        };
        if id > MAX_ID {
            return Ok(());
        }
        self.running()?.keyspaces.by_id(id).map(|_| ()).map_err(|e| Refusal::unknown(e.to_string()))
    }

    /// Returns up to `limit` (0: all) keyspaces from the id `start` on, by their ids.
    pub fn keyspaces(&self, start: u32, limit: usize) -> Changed<Vec<KeyspaceMeta>> {
        if start > MAX_ID {
            return Err(KeyspaceError::StartId(start));
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(self.lock().keyspaces.starting_at(start).take(limit).cloned().collect())
    }

    /// Returns all keyspaces, by their ids.
    pub fn all_keyspaces(&self) -> Vec<KeyspaceMeta> {
        self.lock().keyspaces.starting_at(0).cloned().collect()
    }

    /// Begins to watch the keyspaces.
    pub fn watch_keyspaces(&self) -> KeyspaceWatch {
        self.lock().keyspace_changes.watch()
    }

    /// Creates a keyspace with the next free id.
    pub fn create_keyspace(&self, name: &str, config: HashMap<String, String>) -> Changed<KeyspaceMeta> {
        self.change_keyspaces(|keyspaces, now_s| keyspaces.create(name, config, now_s))
    }

    /// Creates a keyspace with a given id.
    pub fn create_keyspace_by_id(
        &self,
        id: Option<u32>,
        name: &str,
        config: HashMap<String, String>,
    ) -> Changed<KeyspaceMeta> {
        self.change_keyspaces(|keyspaces, now_s| keyspaces.create_by_id(id, name, config, now_s))
    }

    /// Changes settings of a keyspace.
    pub fn update_keyspace_config(
        &self,
        name: &str,
        patch: ConfigPatch,
        preconditions: &ConfigPatch,
    ) -> Changed<KeyspaceMeta> {
        self.change_keyspaces(|keyspaces, _| keyspaces.update_config(name, patch, preconditions))
    }

    /// Changes the state of a keyspace.
    pub fn update_keyspace_state(&self, name: &str, state: KeyspaceState) -> Changed<KeyspaceMeta> {
        self.change_keyspaces(|keyspaces, now_s| keyspaces.update_state(name, state, now_s))
    }

    /// Changes the state of the keyspace with this id.
    pub fn update_keyspace_state_by_id(&self, id: u32, state: KeyspaceState) -> Changed<KeyspaceMeta> {
        self.change_keyspaces(|keyspaces, now_s| {
            let name = keyspaces.by_id(id)?.name.clone();
            keyspaces.update_state(&name, state, now_s)
        })
    }

    /// Changes the keyspaces of a running cluster. The change is on disk before it is returned.
    fn change_keyspaces(
        &self,
        change: impl FnOnce(&mut Keyspaces, i64) -> Changed<KeyspaceMeta>,
    ) -> Changed<KeyspaceMeta> {
        let mut inner = self.running()?;
        let before = inner.keyspaces.clone();
        let changed = change(&mut inner.keyspaces, (self.now_ms() / 1000) as i64)?;
        if let Err(e) = self.save(&inner) {
            inner.keyspaces = before;
            return Err(e.into());
        }
        inner.keyspace_changes.publish(&changed);
        Ok(changed)
    }
}

#[cfg(test)]
mod tests;
