//! Settings that locate a store's files.
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result, encryption::EncryptionConfig};

/// Locations of the parts of a data directory; `None` stands for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreConfig {
    /// `raft-engine.enable`: whether raft-engine stores the Raft log; `None`: detected from the directory.
    pub raft_engine_enable: Option<bool>,
    /// `raft-engine.dir`.
    pub raft_engine_dir: Option<PathBuf>,
    /// `raft-engine.spill-dir`: used when raft-engine's directory is full.
    pub raft_engine_spill_dir: Option<PathBuf>,
    /// `raftstore.raftdb-path`.
    pub raftdb_path: Option<PathBuf>,
    /// `rocksdb.wal-dir`.
    pub wal_dir: Option<PathBuf>,
    /// `raftdb.wal-dir`.
    pub raftdb_wal_dir: Option<PathBuf>,
    /// `security.encryption`: location of the master key.
    pub encryption: EncryptionConfig,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Toml {
    raft_engine: RaftEngineToml,
    raftstore: RaftstoreToml,
    rocksdb: RocksdbToml,
    raftdb: RocksdbToml,
    security: SecurityToml,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RaftEngineToml {
    enable: Option<bool>,
    dir: String,
    spill_dir: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RaftstoreToml {
    raftdb_path: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RocksdbToml {
    wal_dir: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SecurityToml {
    encryption: EncryptionConfig,
}

impl StoreConfig {
    /// Reads a TiKV configuration file; ignores all other settings.
    pub fn from_file(path: &Path) -> Result<StoreConfig> {
        let text = tracepoints_input::read_text(path)
            .map_err(|e| Error::other(format!("--config {}: {e}", path.display())))?;
        StoreConfig::from_toml(&text).map_err(|e| {
            Error::other(format!("--config {}: expected a TiKV configuration in TOML: {e}", path.display()))
        })
    }

    fn from_toml(text: &str) -> std::result::Result<StoreConfig, toml::de::Error> {
        let toml: Toml = toml::from_str(text)?;
        let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
        Ok(StoreConfig {
            raft_engine_enable: toml.raft_engine.enable,
            raft_engine_dir: path(toml.raft_engine.dir),
            raft_engine_spill_dir: path(toml.raft_engine.spill_dir),
            raftdb_path: path(toml.raftstore.raftdb_path),
            wal_dir: path(toml.rocksdb.wal_dir),
            raftdb_wal_dir: path(toml.raftdb.wal_dir),
            encryption: toml.security.encryption,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_settings_are_ignored() {
        let text = "[log]\nlevel = \"info\"\n[raft-engine]\ndir = \"/r\"\n[rocksdb]\nwal-dir = \"\"\nx = 1\n";
        let config = StoreConfig::from_toml(text).unwrap();
        assert_eq!(config, StoreConfig { raft_engine_dir: Some("/r".into()), ..Default::default() });
        let text = "[raft-engine]\nspill-dir = \"/s\"\n[raftdb]\nwal-dir = \"/w\"\n";
        let (raft_engine_spill_dir, raftdb_wal_dir) = (Some("/s".into()), Some("/w".into()));
        assert_eq!(
            StoreConfig::from_toml(text).unwrap(),
            StoreConfig { raft_engine_spill_dir, raftdb_wal_dir, ..Default::default() }
        );
        assert!(StoreConfig::from_toml("[raft-engine]\nenable = 3\n").is_err());
    }
}
