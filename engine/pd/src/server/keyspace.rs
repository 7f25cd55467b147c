//! Keyspaces: only the default one, which every cluster has.
use kvproto::keyspacepb::{KeyspaceMeta, KeyspaceState, keyspace_meta::Keyspace};

/// Name and id of the keyspace PD creates with the cluster (tikv/pd `constant.DefaultKeyspaceName`).
const DEFAULT_NAME: &str = "DEFAULT";
const DEFAULT_ID: u32 = 0;

pub fn by_name(name: &str) -> Option<KeyspaceMeta> {
    (name == DEFAULT_NAME).then(default_keyspace)
}

pub fn by_id(id: u32) -> Option<KeyspaceMeta> {
    (id == DEFAULT_ID).then(default_keyspace)
}

fn default_keyspace() -> KeyspaceMeta {
    KeyspaceMeta {
        name: DEFAULT_NAME.to_owned(),
        state: KeyspaceState::Enabled as i32,
        keyspace: Some(Keyspace::Id(DEFAULT_ID)),
        ..Default::default()
    }
}
