//! Keyspaces: their names, ids, states and settings (tikv/pd `keyspace.Manager`).
use std::collections::{BTreeMap, HashMap};

use kvproto::{
    keyspacepb::{KeyspaceMeta, KeyspaceState, keyspace_meta::Keyspace},
    pdpb::ErrorType,
};

use super::error::{Error, Refusal};

/// Name and id of the keyspace PD creates with the cluster (tikv/pd `constant.DefaultKeyspaceName`).
const DEFAULT_NAME: &str = "DEFAULT";
const DEFAULT_ID: u32 = 0;
/// The id has three bytes in a key.
pub const MAX_ID: u32 = 0xff_ffff;
/// Maximum length of a name.
const MAX_NAME: usize = 20;
/// Settings that PD itself makes.
const OWN_SETTINGS: [&str; 3] =
    ["meta_service_group_addrs", "meta_service_group_id", "tso_keyspace_group_id"];

/// A refused read or change of a keyspace, with PD's text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KeyspaceError {
    #[error("[PD:keyspace:ErrKeyspaceNotFound]keyspace does not exist")]
    NotFound,
    #[error("[PD:keyspace:ErrKeyspaceExists]keyspace already exists")]
    Exists,
    #[error("[PD:keyspace:ErrModifyDefaultKeyspace]cannot modify default keyspace's state")]
    Default,
    #[error("[PD:keyspace:ErrUnsupportedOperationInKeyspace]{0}")]
    Unsupported(&'static str),
    #[error("[PD:keyspace:ErrKeyspaceConfigPreconditionFailed]keyspace config precondition failed, {0}")]
    Precondition(String),
    #[error("illegal keyspace name {0}, should contain only alphanumerical and underline")]
    Name(String),
    #[error("illegal keyspace name {0}, collides with a protected keyspace name")]
    ProtectedName(String),
    #[error("illegal keyspace id {0}, larger than spaceID Max {MAX_ID}")]
    Id(u32),
    #[error("startID of the scan {0} exceeds spaceID Max {MAX_ID}")]
    StartId(u32),
    #[error("keyspace id is empty")]
    NoId,
    #[error("keyspace name is empty")]
    NoName,
    #[error("cannot change keyspace state from {} to {}", .0.as_str_name(), .1.as_str_name())]
    Transition(KeyspaceState, KeyspaceState),
    #[error("expected a keyspace state from 0 to 3, found {0}")]
    UnknownState(i32),
    #[error("cannot change config for keyspace with state {}", .0.as_str_name())]
    Frozen(KeyspaceState),
    #[error("{0}")]
    Refused(#[from] Refusal),
}

impl From<Error> for KeyspaceError {
    fn from(error: Error) -> Self {
        KeyspaceError::Refused(error.into())
    }
}

impl KeyspaceError {
    /// Returns the refusal in the header of a reply.
    pub fn to_refusal(&self) -> Refusal {
        let kind = match self {
            KeyspaceError::NotFound => ErrorType::EntryNotFound,
            KeyspaceError::Exists => ErrorType::DuplicatedEntry,
            KeyspaceError::Refused(refusal) => return refusal.clone(),
            _ => ErrorType::Unknown,
        };
        Refusal::new(kind, self.to_string())
    }
}

/// Result of a read or a change.
pub type Changed<T> = Result<T, KeyspaceError>;

/// A change of the settings of a keyspace: values, or `None` for settings that are removed.
pub type ConfigPatch = BTreeMap<String, Option<String>>;

/// The keyspaces of a cluster.
#[derive(Clone, Debug)]
pub struct Keyspaces {
    by_id: BTreeMap<u32, KeyspaceMeta>,
    /// The id given out last.
    last_id: u32,
}

impl Default for Keyspaces {
    fn default() -> Self {
        Keyspaces::restore(Vec::new(), 0)
    }
}

impl Keyspaces {
    /// Restores saved keyspaces; every cluster has the default one.
    pub fn restore(saved: Vec<KeyspaceMeta>, last_id: u32) -> Self {
        let mut by_id: BTreeMap<u32, KeyspaceMeta> =
            saved.into_iter().map(|meta| (id_of(&meta), meta)).collect();
        by_id.entry(DEFAULT_ID).or_insert_with(|| new_keyspace(DEFAULT_ID, DEFAULT_NAME, HashMap::new(), 0));
        Self { by_id, last_id }
    }

    /// Returns all keyspaces and the id given out last.
    pub fn save(&self) -> (Vec<KeyspaceMeta>, u32) {
        (self.by_id.values().cloned().collect(), self.last_id)
    }

    /// Returns the keyspace with this name.
    pub fn by_name(&self, name: &str) -> Changed<&KeyspaceMeta> {
        self.by_id.values().find(|meta| meta.name == name).ok_or(KeyspaceError::NotFound)
    }

    fn by_name_mut(&mut self, name: &str) -> Changed<&mut KeyspaceMeta> {
        self.by_id.values_mut().find(|meta| meta.name == name).ok_or(KeyspaceError::NotFound)
    }

    /// Returns the keyspace with this id.
    pub fn by_id(&self, id: u32) -> Changed<&KeyspaceMeta> {
        self.by_id.get(&id).ok_or(KeyspaceError::NotFound)
    }

    /// Returns the keyspaces from an id on, by their ids.
    pub fn starting_at(&self, start: u32) -> impl Iterator<Item = &KeyspaceMeta> {
        self.by_id.range(start..).map(|(_, meta)| meta)
    }

    /// Adds a keyspace with the next free id.
    pub fn create(
        &mut self,
        name: &str,
        config: HashMap<String, String>,
        now_s: i64,
    ) -> Changed<KeyspaceMeta> {
        check_name(name)?;
        if self.by_name(name).is_ok() {
            return Err(KeyspaceError::Exists);
        }
        let id = (self.last_id + 1..=MAX_ID).find(|id| !self.by_id.contains_key(id));
        let id = id.ok_or(KeyspaceError::Id(MAX_ID + 1))?;
        self.last_id = id;
        Ok(self.add(id, name, config, now_s))
    }

    /// Adds a keyspace with an id that the caller has chosen.
    pub fn create_by_id(
        &mut self,
        id: Option<u32>,
        name: &str,
        config: HashMap<String, String>,
        now_s: i64,
    ) -> Changed<KeyspaceMeta> {
        let id = id.ok_or(KeyspaceError::NoId)?;
        if name.is_empty() {
            return Err(KeyspaceError::NoName);
        }
        check_name(name)?;
        if id > MAX_ID {
            return Err(KeyspaceError::Id(id));
        }
        if self.by_name(name).is_ok() || self.by_id.contains_key(&id) {
            return Err(KeyspaceError::Exists);
        }
        Ok(self.add(id, name, config, now_s))
    }

    fn add(&mut self, id: u32, name: &str, mut config: HashMap<String, String>, now_s: i64) -> KeyspaceMeta {
        OWN_SETTINGS.iter().for_each(|name| drop(config.remove(*name)));
        let keyspace = new_keyspace(id, name, config, now_s);
        self.by_id.insert(id, keyspace.clone());
        keyspace
    }

    /// Changes settings, all or none, if each precondition holds: a value, or `None` for an absent setting.
    pub fn update_config(
        &mut self,
        name: &str,
        patch: ConfigPatch,
        preconditions: &ConfigPatch,
    ) -> Changed<KeyspaceMeta> {
        check_patch(&patch)?;
        let meta = self.by_name_mut(name)?;
        if !matches!(meta.state(), KeyspaceState::Enabled | KeyspaceState::Disabled) {
            return Err(KeyspaceError::Frozen(meta.state()));
        }
        preconditions.iter().try_for_each(|(key, wanted)| check_precondition(&meta.config, key, wanted))?;
        for (key, value) in patch {
            match value {
                Some(value) => drop(meta.config.insert(key, value)),
                None => drop(meta.config.remove(&key)),
            }
        }
        Ok(meta.clone())
    }

    /// Moves a keyspace to another state; a state that it has is no change.
    pub fn update_state(&mut self, name: &str, state: KeyspaceState, now_s: i64) -> Changed<KeyspaceMeta> {
        if name == DEFAULT_NAME {
            return Err(KeyspaceError::Default);
        }
        let meta = self.by_name_mut(name)?;
        if meta.state() != state {
            if !next_states(meta.state()).contains(&state) {
                return Err(KeyspaceError::Transition(meta.state(), state));
            }
            meta.set_state(state);
            meta.state_changed_at = now_s;
        }
        Ok(meta.clone())
    }
}

fn new_keyspace(id: u32, name: &str, config: HashMap<String, String>, now_s: i64) -> KeyspaceMeta {
    KeyspaceMeta {
        name: name.to_owned(),
        state: KeyspaceState::Enabled as i32,
        created_at: now_s,
        state_changed_at: now_s,
        config,
        keyspace: Some(Keyspace::Id(id)),
    }
}

/// Returns the id of a keyspace.
pub fn id_of(meta: &KeyspaceMeta) -> u32 {
    match meta.keyspace {
        Some(Keyspace::Id(id)) => id,
        _ => DEFAULT_ID,
    }
}

/// tikv/pd `validateName`.
fn check_name(name: &str) -> Changed<()> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_allowed) {
        return Err(KeyspaceError::Name(name.to_owned()));
    }
    if name == DEFAULT_NAME {
        return Err(KeyspaceError::ProtectedName(name.to_owned()));
    }
    Ok(())
}

fn check_patch(patch: &ConfigPatch) -> Changed<()> {
    if patch.get("gc_management_type").is_some_and(|value| value.as_deref() == Some("keyspace_level")) {
        return Err(KeyspaceError::Unsupported("keyspace level GC"));
    }
    if patch.contains_key("region_bound_type") {
        return Err(KeyspaceError::Unsupported("region bound type"));
    }
    Ok(())
}

fn check_precondition(config: &HashMap<String, String>, key: &str, wanted: &Option<String>) -> Changed<()> {
    let text = match (config.get(key), wanted) {
        (None, None) => return Ok(()),
        (Some(actual), Some(wanted)) if actual == wanted => return Ok(()),
        (Some(_), None) => format!("{key} must be absent"),
        (None, Some(_)) => format!("{key} does not exist"),
        (Some(actual), Some(wanted)) => format!("key={key} expected={wanted} actual={actual}"),
    };
    Err(KeyspaceError::Precondition(text))
}

/// tikv/pd `stateTransitionTable`.
fn next_states(state: KeyspaceState) -> &'static [KeyspaceState] {
    match state {
        KeyspaceState::Enabled => &[KeyspaceState::Disabled],
        KeyspaceState::Disabled => &[KeyspaceState::Enabled, KeyspaceState::Archived],
        KeyspaceState::Archived => &[KeyspaceState::Tombstone],
        KeyspaceState::Tombstone => &[],
    }
}
