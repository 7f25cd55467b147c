//! TiKV's configuration: the keys this server reads, under TiKV's names and defaults (`src/config/mod.rs`).
mod build;
mod cli;
mod controller;
mod engines;
mod flow_control;
mod online;
mod persist;
mod pessimistic_txn;
mod rocks_options;
mod sections;
mod trace;
mod tuning;
mod unknown;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use cli::{Cli, DEFAULT_PD_ADDR};
pub use controller::{ConfigController, OnlineTargets};
pub use engines::{CfConfig, RaftEngineConfig, RocksDbConfig};
pub use flow_control::FlowControlConfig;
pub use persist::ConfigFile;
pub use pessimistic_txn::PessimisticTxnConfig;
pub use raftstore::util::{ReadableDuration, ReadableSize};
pub use sections::{
    AutoCompactionConfig, BlockCacheConfig, CausalTsSection, CoprocessorConfig, GcConfig,
    GrpcCompressionType, LogConfig, MaxTsConfig, PdConfig, ReadPoolConfig, ServerConfig, StorageConfig,
    UnifiedReadPoolConfig,
};
pub use security::SecurityConfig;
use security::SecurityManager;
pub use trace::TraceConfig;
pub use tuning::{CfTuning, DbTuning};

/// Error of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read; its path, and the reason.
    #[error("cannot read the configuration {0}: {1}; check the path given to --config")]
    Read(PathBuf, io::Error),
    /// The file is not valid TOML, or has values of wrong types; its path, and the reason.
    #[error("the configuration {0} is invalid:\n{1}")]
    Parse(PathBuf, String),
    /// A value is invalid; which one and why.
    #[error("configuration: {0}")]
    Invalid(String),
    /// The file has keys that this server does not read; its path, and the keys.
    #[error(
        "the configuration {0} has keys this server does not read: {1}; remove them, or run without --config-check"
    )]
    Unknown(PathBuf, String),
}

/// Maximum length of a configuration in bytes: a device such as `/dev/zero` has no end.
const MAX_TEXT: u64 = 16 << 20;

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_TEXT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TEXT {
        return Err(io::Error::other(format!("expected at most {} MiB of text, found more", MAX_TEXT >> 20)));
    }
    Ok(text)
}

/// All settings of a `tikv.toml` that this server reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TikvConfig {
    /// File of the slow log; empty: the log.
    pub slow_log_file: String,
    /// Duration from which a request is slow.
    pub slow_log_threshold: ReadableDuration,
    /// Log of the server.
    pub log: LogConfig,
    /// Addresses, gRPC and connections.
    pub server: ServerConfig,
    /// Data directory and scheduler.
    pub storage: StorageConfig,
    /// Garbage collection of old versions.
    pub gc: GcConfig,
    /// Timestamps of raw writes on API V2.
    pub causal_ts: CausalTsSection,
    /// The addresses of PD and the retries.
    pub pd: PdConfig,
    /// Threads for reads.
    #[serde(rename = "readpool")]
    pub read_pool: ReadPoolConfig,
    /// RaftStore.
    #[serde(rename = "raftstore")]
    pub raft_store: raftstore::store::Config,
    /// Limits of regions.
    pub coprocessor: CoprocessorConfig,
    /// RocksDB.
    pub rocksdb: RocksDbConfig,
    /// The Raft logs.
    pub raft_engine: RaftEngineConfig,
    /// Recording of requests.
    pub trace: TraceConfig,
    /// TLS.
    pub security: SecurityConfig,
    /// Waiting for locks.
    pub pessimistic_txn: PessimisticTxnConfig,
}

impl Default for TikvConfig {
    fn default() -> Self {
        Self {
            slow_log_file: String::new(),
            slow_log_threshold: ReadableDuration::secs(1),
            log: LogConfig::default(),
            server: ServerConfig::default(),
            storage: StorageConfig::default(),
            gc: GcConfig::default(),
            causal_ts: CausalTsSection::default(),
            pd: PdConfig::default(),
            read_pool: ReadPoolConfig::default(),
            raft_store: raftstore::store::Config::default(),
            coprocessor: CoprocessorConfig::default(),
            rocksdb: RocksDbConfig::default(),
            raft_engine: RaftEngineConfig::default(),
            trace: TraceConfig::default(),
            security: SecurityConfig::default(),
            pessimistic_txn: PessimisticTxnConfig::default(),
        }
    }
}

impl TikvConfig {
    /// Reads a TOML file. Also returns its unknown keys as dotted paths.
    pub fn from_file(path: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        let text = read_text(path).map_err(|e| ConfigError::Read(path.to_owned(), e))?;
        Self::from_toml(&text).map_err(|e| ConfigError::Parse(path.to_owned(), e))
    }

    /// As [`TikvConfig::from_file`], from the text. Errors name line and column.
    pub fn from_toml(text: &str) -> Result<(Self, Vec<String>), String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let given: toml::Table = toml::from_str(text).map_err(|e| e.to_string())?;
        let known = toml::Table::try_from(&config).map_err(|e| e.to_string())?;
        Ok((config, unknown::paths(&given, &known)))
    }

    /// Returns the whole configuration as TOML, defaults included.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(self)
            .map_err(|e| ConfigError::Invalid(format!("cannot be written as TOML: {e}")))
    }

    /// Derives dependent settings and rejects values that cannot work.
    pub fn validate(&mut self) -> Result<(), ConfigError> {
        self.server.validate().map_err(ConfigError::Invalid)?;
        self.pd.validate().map_err(ConfigError::Invalid)?;
        // Reads the files of TLS, as TiKV does (components/security/src/lib.rs).
        SecurityManager::new(self.security.clone())
            .map_err(|e| ConfigError::Invalid(format!("[security] {e}")))?;
        self.trace.validate().map_err(ConfigError::Invalid)?;
        self.pessimistic_txn.validate().map_err(ConfigError::Invalid)?;
        self.coprocessor.apply_to(&mut self.raft_store);
        self.raft_store.validate().map_err(|e| ConfigError::Invalid(format!("[raftstore] {e}")))?;
        self.read_pool.unified.validate().map_err(ConfigError::Invalid)?;
        self.storage.validate_pool().map_err(ConfigError::Invalid)?;
        self.storage.adjust_memory_quota();
        self.storage.max_ts.validate().map_err(ConfigError::Invalid)?;
        self.gc.validate().map_err(ConfigError::Invalid)?;
        self.causal_ts.validate().map_err(ConfigError::Invalid)?;
        if self.storage.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::Invalid(
                "storage.data-dir is empty; give a directory (--data-dir)".into(),
            ));
        }
        self.storage.validate_api_version().map_err(ConfigError::Invalid)?;
        if !self.raft_engine.enable {
            let message =
                "raft-engine.enable = false (the Raft log in RocksDB) is not supported; leave it true";
            return Err(ConfigError::Invalid(message.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tikvs_own_keys_are_read() {
        let text = "
            [server]
            addr = \"127.0.0.1:0\"
            labels = { zone = \"z1\" }
            grpc-concurrency = 2
            [storage]
            data-dir = \"/tmp/x\"
            [pd]
            endpoints = [\"127.0.0.1:2379\"]
            [raft-engine]
            target-file-size = \"16MiB\"
            [readpool.unified]
            max-thread-count = 3
        ";
        let (mut config, unknown) = TikvConfig::from_toml(text).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        config.validate().unwrap();
        assert_eq!(config.server.grpc_concurrency, 2);
        assert_eq!(config.read_pool.unified.max_thread_count, 3);
        assert_eq!(config.raft_engine.target_file_size, ReadableSize::mb(16));
        assert_eq!(config.server.labels["zone"], "z1");
    }

    #[test]
    fn slow_requests_have_their_own_keys() {
        let text = "slow-log-threshold = \"200ms\"\n[trace]\nsample-one-in = 7\nslow-thresholds = { kv_get = \"5ms\" }\n";
        let (mut config, unknown) = TikvConfig::from_toml(text).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        config.validate().unwrap();
        let tail = config.build_collector_config(|_| "").tail;
        assert_eq!((tail.slow_ns, tail.one_in), (200_000_000, 7));
        assert_eq!(tail.slow_by_kind, [(tracepoints::RequestKind::KvGet, 5_000_000)]);
        config.trace.slow_thresholds.insert("kv_got".into(), ReadableDuration::secs(1));
        assert!(config.validate().unwrap_err().to_string().contains("kv_got"));
    }

    #[test]
    fn waiting_for_locks_has_tikvs_keys() {
        let read = |text: &str| TikvConfig::from_toml(&format!("[pessimistic-txn]\n{text}\n")).unwrap();
        let (config, unknown) =
            read("wait-for-lock-timeout = 500\nwake-up-delay-duration = \"10ms\"\npipelined = false");
        let found = &config.pessimistic_txn;
        assert_eq!(found.wait_for_lock_timeout, ReadableDuration::millis(500));
        assert_eq!(found.wake_up_delay_duration, ReadableDuration::millis(10));
        assert_eq!(
            config.build_storage_config().wake_up_delay_duration,
            std::time::Duration::from_millis(10)
        );
        assert_eq!((found.pipelined, found.in_memory, unknown.len()), (false, true, 0));
        let (mut config, _) = read("wait-for-lock-timeout = \"0s\"");
        assert!(config.validate().unwrap_err().to_string().contains("can not be 0"));
    }

    #[test]
    fn unknown_keys_are_listed_with_their_paths() {
        let text = "spelling = 1\n[server]\nadr = \"x\"\n[rocksdb.titan]\nenabled = true\n";
        let (_, unknown) = TikvConfig::from_toml(text).unwrap();
        assert_eq!(unknown, ["rocksdb.titan", "server.adr", "spelling"]);
    }

    #[test]
    fn a_mistake_names_its_line() {
        let error =
            TikvConfig::from_toml("[server]\naddr = \"a\"\ngrpc-concurrency = \"many\"\n").unwrap_err();
        assert!(error.contains("line 3"), "{error}");
        let error = TikvConfig::from_toml("[raft-engine]\ntarget-file-size = \"big\"\n").unwrap_err();
        assert!(error.contains("expected a size"), "{error}");
    }

    #[test]
    fn a_written_configuration_is_read_back() {
        let config = TikvConfig::default();
        let (read, unknown) = TikvConfig::from_toml(&config.to_toml().unwrap()).unwrap();
        assert_eq!((read, unknown), (config, vec![]));
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        let mut config = TikvConfig::default();
        config.server.addr = "nowhere".into();
        assert!(config.validate().unwrap_err().to_string().contains("HOST:PORT"));
        let mut config = TikvConfig::default();
        config.storage.api_version = 2;
        assert!(config.validate().unwrap_err().to_string().contains("enable_ttl must be true in API V2"));
        config.storage.enable_ttl = true;
        config.validate().unwrap();
        config.storage.api_version = 3;
        assert!(config.validate().unwrap_err().to_string().contains("can only be set to 1 or 2"));
    }

    #[test]
    fn regions_are_split_as_the_coprocessor_section_says() {
        let text = "[coprocessor]\nregion-max-keys = 10\nregion-split-keys = 7\nbatch-split-limit = 100\n\
                    region-split-size = \"32MiB\"\n";
        let (mut config, unknown) = TikvConfig::from_toml(text).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        config.validate().unwrap();
        let raft = &config.raft_store;
        assert_eq!((raft.region_max_keys(), raft.region_split_keys(), raft.batch_split_limit), (10, 7, 100));
        assert_eq!(
            (raft.region_split_size, raft.region_max_size),
            (ReadableSize::mb(32), ReadableSize::mb(48))
        );
        let text = "[raftstore]\nregion-split-size = \"32MiB\"\n[coprocessor]\nregion-max-size = \"64MiB\"\n";
        let (mut config, _) = TikvConfig::from_toml(text).unwrap();
        config.validate().unwrap();
        let raft = &config.raft_store;
        assert_eq!(
            (raft.region_split_size, raft.region_max_size),
            (ReadableSize::mb(32), ReadableSize::mb(64))
        );
        for (wrong, named) in [
            ("region-split-size = \"0KiB\"", "region-split-size must be greater than 0"),
            ("region-max-size = \"1MiB\"", "region max size"),
            ("region-max-keys = 6\nregion-split-keys = 7", "region max keys 6 must >= split keys 7"),
            ("batch-split-limit = 0", "batch-split-limit"),
        ] {
            let (mut config, _) = TikvConfig::from_toml(&format!("[coprocessor]\n{wrong}\n")).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        for section in ["raftstore", "coprocessor"] {
            let zero = format!("[{section}]\nregion-split-size = \"0KiB\"\n");
            assert!(TikvConfig::from_toml(&zero).unwrap().0.validate().is_err());
        }
    }

    #[test]
    fn an_unknown_grpc_compression_is_refused() {
        let parse = |name| TikvConfig::from_toml(&format!("[server]\ngrpc-compression-type = \"{name}\"\n"));
        assert_eq!(parse("gzip").unwrap().0.server.grpc_compression_type, GrpcCompressionType::Gzip);
        assert!(parse("brotli").unwrap_err().contains("gzip"));
    }
}
