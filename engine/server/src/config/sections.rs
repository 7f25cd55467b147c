//! The sections of `tikv.toml`, with TiKV's defaults (`src/config/mod.rs`, `src/server/config.rs`,
//! `src/storage/config.rs`).
use std::{collections::BTreeMap, path::PathBuf};

use api_version::KvFormat;
use serde::{Deserialize, Serialize};
use tonic::codec::CompressionEncoding;

use storage::concurrency_manager::ActionOnInvalidMaxTs;

use super::{ReadableDuration, ReadableSize, flow_control::FlowControlConfig};

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct LogConfig {
    /// Lowest level that is logged: `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}

/// Compression of sent messages. Received messages may always be compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrpcCompressionType {
    /// No compression.
    #[default]
    None,
    /// Deflate.
    Deflate,
    /// Gzip.
    Gzip,
}

impl GrpcCompressionType {
    pub(crate) fn encoding(self) -> Option<CompressionEncoding> {
        match self {
            GrpcCompressionType::None => None,
            GrpcCompressionType::Deflate => Some(CompressionEncoding::Deflate),
            GrpcCompressionType::Gzip => Some(CompressionEncoding::Gzip),
        }
    }
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ServerConfig {
    /// Address of gRPC; port 0 chooses a free port.
    pub addr: String,
    /// Address that other stores and clients connect to; empty: the address of gRPC.
    pub advertise_addr: String,
    /// Address of the HTTP status server; empty: no status server.
    pub status_addr: String,
    /// Address of the status server for others; empty: `status-addr`.
    pub advertise_status_addr: String,
    /// Applies to replies to clients that accept it, and to messages to other stores.
    pub grpc_compression_type: GrpcCompressionType,
    /// Number of threads of the gRPC runtime.
    pub grpc_concurrency: usize,
    /// HTTP/2 streams per connection.
    pub grpc_concurrent_stream: u32,
    /// HTTP/2 window of a stream.
    pub grpc_stream_initial_window_size: ReadableSize,
    /// Time without traffic after which a ping is sent.
    pub grpc_keepalive_time: ReadableDuration,
    /// Time to wait for the answer to a ping.
    pub grpc_keepalive_timeout: ReadableDuration,
    /// Maximum size of a reply in bytes.
    pub max_grpc_send_msg_len: i32,
    /// Maximum number of Raft messages that wait for one store; further ones are dropped.
    pub raft_client_queue_size: usize,
    /// Maximum number of Raft messages in one BatchRaftMessage.
    pub raft_msg_max_batch_size: usize,
    /// Pause before the first attempt to connect again.
    pub raft_client_initial_reconnect_backoff: ReadableDuration,
    /// Longest pause between two attempts to connect.
    pub raft_client_max_backoff: ReadableDuration,
    /// Maximum number of snapshots sent at once.
    pub concurrent_send_snap_limit: usize,
    /// Maximum number of snapshots received at once.
    pub concurrent_recv_snap_limit: usize,
    /// Minimum interval between two pieces of health feedback in a BatchCommands stream; 0: only on request.
    pub health_feedback_interval: ReadableDuration,
    /// Number of threads for background work.
    pub background_thread_count: usize,
    /// Labels of this store in PD, e.g. `{ zone = "z1" }`.
    pub labels: BTreeMap<String, String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            addr: "127.0.0.1:20160".into(),
            advertise_addr: String::new(),
            status_addr: "127.0.0.1:20180".into(),
            advertise_status_addr: String::new(),
            grpc_compression_type: GrpcCompressionType::None,
            grpc_concurrency: 5,
            grpc_concurrent_stream: 1024,
            grpc_stream_initial_window_size: ReadableSize::mb(2),
            grpc_keepalive_time: ReadableDuration::secs(10),
            grpc_keepalive_timeout: ReadableDuration::secs(3),
            max_grpc_send_msg_len: 10 << 20,
            raft_client_queue_size: 16_384,
            raft_msg_max_batch_size: 256,
            raft_client_initial_reconnect_backoff: ReadableDuration::millis(100),
            raft_client_max_backoff: ReadableDuration::secs(1),
            concurrent_send_snap_limit: 32,
            concurrent_recv_snap_limit: 32,
            health_feedback_interval: ReadableDuration::secs(1),
            background_thread_count: 2,
            labels: BTreeMap::new(),
        }
    }
}

impl ServerConfig {
    pub(super) fn validate(&mut self) -> Result<(), String> {
        host_port("server.addr", &self.addr)?;
        for (name, value) in [
            ("server.advertise-addr", &self.advertise_addr),
            ("server.status-addr", &self.status_addr),
            ("server.advertise-status-addr", &self.advertise_status_addr),
        ] {
            if !value.is_empty() {
                host_port(name, value)?;
            }
        }
        let unreachable = ["0.0.0.0:", "[::]:"].iter().any(|any| self.advertise_addr.starts_with(any));
        if unreachable {
            return Err(format!(
                "server.advertise-addr: expected an address to which other hosts can connect, found {}; give this \
                 host's address",
                self.advertise_addr
            ));
        }
        self.grpc_concurrency = self.grpc_concurrency.max(1);
        self.background_thread_count = self.background_thread_count.max(1);
        self.raft_msg_max_batch_size = self.raft_msg_max_batch_size.max(1);
        self.raft_client_queue_size = self.raft_client_queue_size.max(1);
        Ok(())
    }
}

/// Refuses a value that is not HOST:PORT.
fn host_port(name: &str, value: &str) -> Result<(), String> {
    let port =
        value.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(format!("{name}: expected HOST:PORT such as 127.0.0.1:20160, found {value:?}")),
    }
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct StorageConfig {
    /// Directory of all data of the store.
    pub data_dir: PathBuf,
    /// Number of latch slots.
    pub scheduler_concurrency: usize,
    /// Number of threads that process commands.
    pub scheduler_worker_pool_size: usize,
    /// Bytes of unfinished commands above which new ones are refused.
    pub scheduler_pending_write_threshold: ReadableSize,
    /// Bytes of unfinished commands in memory above which new ones are refused; at least
    /// `scheduler-pending-write-threshold`.
    pub memory_quota: ReadableSize,
    /// Maximum length of an encoded key in bytes.
    pub max_key_size: usize,
    /// Block cache of RocksDB.
    pub block_cache: BlockCacheConfig,
    /// Limits of writes while RocksDB cannot keep up.
    pub flow_control: FlowControlConfig,
    /// Checks of timestamps against PD's clock.
    pub max_ts: MaxTsConfig,
    /// Encoding of keys and values: 1, or 2 for the API with keyspaces. Only an empty store, or one with keys of
    /// TiDB alone, can change it.
    pub api_version: u8,
    /// Whether raw values have a TTL; must be true for `api-version` 2. An existing store keeps its setting.
    pub enable_ttl: bool,
    /// Number of transactions whose status is kept; 0: none.
    pub txn_status_cache_capacity: usize,
    /// Interval between two searches for expired raw values on disk, which are then compacted.
    pub ttl_check_poll_interval: ReadableDuration,
}

impl Default for StorageConfig {
    fn default() -> Self {
        let defaults = storage::Config::default();
        Self {
            data_dir: "./".into(),
            scheduler_concurrency: defaults.scheduler_concurrency,
            scheduler_worker_pool_size: defaults.scheduler_worker_pool_size,
            scheduler_pending_write_threshold: ReadableSize(
                defaults.scheduler_pending_write_threshold as u64,
            ),
            memory_quota: ReadableSize(defaults.memory_quota as u64),
            max_key_size: defaults.max_key_size,
            block_cache: BlockCacheConfig::default(),
            flow_control: FlowControlConfig::default(),
            max_ts: MaxTsConfig::default(),
            api_version: 1,
            enable_ttl: false,
            txn_status_cache_capacity: defaults.txn_status_cache_capacity,
            ttl_check_poll_interval: ReadableDuration::hours(12),
        }
    }
}

impl StorageConfig {
    /// Returns the encoding of raw keys and values. TiKV: `Config::api_version`.
    pub fn kv_format(&self) -> KvFormat {
        match (self.api_version, self.enable_ttl) {
            (2, _) => KvFormat::V2,
            (_, true) => KvFormat::V1ttl,
            (_, false) => KvFormat::V1,
        }
    }

    /// Refuses another `enable-ttl` on API V1 than that of `last`, the configuration in the data directory: the
    /// values would be read in the wrong encoding. TiKV: `TikvConfig::check_critical_cfg_with`.
    pub(crate) fn check_last(&self, last: &StorageConfig) -> Result<(), String> {
        if last.api_version != 1 || self.api_version != 1 {
            return Ok(());
        }
        match (last.enable_ttl, self.enable_ttl) {
            (true, false) => Err("can't disable ttl on a ttl instance".into()),
            (false, true) => Err("can't enable ttl on a non-ttl instance".into()),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Accepts the combinations that TiKV accepts.
    pub(super) fn validate_api_version(&self) -> Result<(), String> {
        match (self.api_version, self.enable_ttl) {
            (1, _) | (2, true) => Ok(()),
            (2, false) => {
                Err("storage.enable_ttl must be true in API V2 because API V2 forces to enable TTL.".into())
            }
            _ => Err("storage.api_version can only be set to 1 or 2.".into()),
        }
    }

    /// Raises the memory quota to `scheduler-pending-write-threshold` if it is less, as TiKV does.
    pub(super) fn adjust_memory_quota(&mut self) {
        if self.memory_quota < self.scheduler_pending_write_threshold {
            log::warn!(
                "storage.memory-quota is less than storage.scheduler-pending-write-threshold; using {} bytes",
                self.scheduler_pending_write_threshold.0
            );
            self.memory_quota = self.scheduler_pending_write_threshold;
        }
    }

    /// Limits the pool as TiKV does; a machine cannot run more threads than this.
    pub(super) fn validate_pool(&self) -> Result<(), String> {
        let (size, most) = (self.scheduler_worker_pool_size, cores().max(4));
        if size == 0 || size > most {
            return Err(format!("storage.scheduler-worker-pool-size: expected 1 to {most}, found {size}"));
        }
        Ok(())
    }
}

/// `[storage.max-ts]`: bounds how far a caller's timestamp may be ahead of PD's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct MaxTsConfig {
    /// Time by which a timestamp may be above PD's clock.
    pub max_drift: ReadableDuration,
    /// Interval at which the store asks PD for its time; less than `max_drift`.
    pub cache_sync_interval: ReadableDuration,
    /// `error` refuses the request, `log` serves it, `panic` ends the process. TiKV's default is `panic`: one
    /// faulty client ends a store.
    pub action_on_invalid_update: String,
}

impl Default for MaxTsConfig {
    fn default() -> Self {
        Self {
            max_drift: ReadableDuration::secs(60),
            cache_sync_interval: ReadableDuration::secs(15),
            action_on_invalid_update: "error".into(),
        }
    }
}

impl MaxTsConfig {
    /// Returns the action; `error` for a word that [`MaxTsConfig::validate`] refuses.
    pub(crate) fn action(&self) -> ActionOnInvalidMaxTs {
        self.action_on_invalid_update.parse().unwrap_or(ActionOnInvalidMaxTs::Error)
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        let (drift, interval) = (self.max_drift.0.as_millis(), self.cache_sync_interval.0.as_millis());
        if interval == 0 || drift <= interval {
            return Err(format!(
                "storage.max-ts.max-drift: expected a time above storage.max-ts.cache-sync-interval, and both above \
                 0, found {drift} ms and {interval} ms"
            ));
        }
        let action = self.action_on_invalid_update.parse::<ActionOnInvalidMaxTs>();
        action.map(drop).map_err(|e| format!("storage.max-ts.action-on-invalid-update: {e}"))
    }
}

/// `[gc]`: garbage collection of old versions below PD's safe point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct GcConfig {
    /// Number of keys that the worker reads and deletes together.
    pub batch_keys: usize,
    /// Whether compactions drop old versions; otherwise the worker deletes them.
    pub enable_compaction_filter: bool,
    /// Compaction of ranges with much garbage.
    pub auto_compaction: AutoCompactionConfig,
    /// Pause between two requests to PD, for programs that embed stores; None: 10 s, as in TiKV.
    #[serde(skip)]
    pub poll_safe_point_interval: Option<std::time::Duration>,
}

impl Default for GcConfig {
    fn default() -> Self {
        Self {
            batch_keys: 512,
            enable_compaction_filter: true,
            auto_compaction: AutoCompactionConfig::default(),
            poll_safe_point_interval: None,
        }
    }
}

impl GcConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.batch_keys == 0 {
            return Err("gc.batch_keys should not be 0".into());
        }
        self.auto_compaction.validate()
    }
}

/// `[gc.auto-compaction]`: search for ranges of CF write with much garbage, and their compaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct AutoCompactionConfig {
    /// Time between two searches.
    pub check_interval: ReadableDuration,
    /// Number of records to discard from which a range is compacted.
    pub redundant_rows_threshold: u64,
    /// Percentage of records to discard from which a range is compacted.
    pub redundant_rows_percent_threshold: u64,
}

impl Default for AutoCompactionConfig {
    fn default() -> Self {
        Self {
            check_interval: ReadableDuration::secs(300),
            redundant_rows_threshold: 50_000,
            redundant_rows_percent_threshold: 20,
        }
    }
}

impl AutoCompactionConfig {
    fn validate(&self) -> Result<(), String> {
        if self.check_interval.0.is_zero() {
            return Err("gc.auto_compaction.check_interval should not be 0".into());
        }
        if self.redundant_rows_percent_threshold > 100 {
            return Err("gc.auto_compaction.redundant_rows_percent_threshold should not exceed 100".into());
        }
        Ok(())
    }
}

/// `[causal-ts]`: timestamps of raw writes on API V2, taken from PD ahead of their use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CausalTsSection {
    /// Interval at which timestamps are taken ahead.
    pub renew_interval: ReadableDuration,
    /// Minimum number of timestamps of one request to PD.
    pub renew_batch_min_size: u32,
    /// Maximum number of timestamps of one request to PD.
    pub renew_batch_max_size: u32,
    /// Time that the timestamps taken ahead last for.
    pub alloc_ahead_buffer: ReadableDuration,
}

impl Default for CausalTsSection {
    fn default() -> Self {
        Self {
            renew_interval: ReadableDuration::millis(100),
            renew_batch_min_size: 100,
            renew_batch_max_size: 8192,
            alloc_ahead_buffer: ReadableDuration::secs(3),
        }
    }
}

impl CausalTsSection {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.renew_interval.is_zero() {
            return Err("causal-ts.renew-interval can't be zero".into());
        }
        if self.renew_batch_min_size == 0 {
            return Err("causal-ts.renew-batch-min-size should be greater than 0".into());
        }
        if self.renew_batch_max_size == 0 {
            return Err("causal-ts.renew-batch-max-size should be greater than 0".into());
        }
        if self.alloc_ahead_buffer.is_zero() {
            return Err("causal-ts.alloc-ahead-buffer can't be zero".into());
        }
        Ok(())
    }
}

/// `[storage.block-cache]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BlockCacheConfig {
    /// TiKV takes 45 % of the memory; a store that is only inspected needs less.
    pub capacity: ReadableSize,
}

impl Default for BlockCacheConfig {
    fn default() -> Self {
        Self { capacity: ReadableSize::mb(128) }
    }
}

/// `[coprocessor]`: when and how a region is split. A setting of None is derived from the others, as in TiKV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CoprocessorConfig {
    /// Maximum number of keys at which one split divides a region.
    pub batch_split_limit: usize,
    /// None: `raftstore.region-max-size`, or 1.5 times `region-split-size` if that is set.
    pub region_max_size: Option<ReadableSize>,
    /// None: `raftstore.region-split-size`.
    pub region_split_size: Option<ReadableSize>,
    /// None: 1.5 times `region-split-keys`.
    pub region_max_keys: Option<u64>,
    /// None: 10,000 for each MiB of `region-split-size`.
    pub region_split_keys: Option<u64>,
}

impl Default for CoprocessorConfig {
    fn default() -> Self {
        Self {
            batch_split_limit: 10,
            region_max_size: None,
            region_split_size: None,
            region_max_keys: None,
            region_split_keys: None,
        }
    }
}

impl CoprocessorConfig {
    /// Copies these settings to RaftStore. They override the sizes in
    /// `[raftstore]`, where older versions have them.
    pub(super) fn apply_to(&self, raft_store: &mut raftstore::store::Config) {
        if let Some(split) = self.region_split_size {
            raft_store.region_split_size = split;
            raft_store.region_max_size = ReadableSize(split.0 / 2 * 3);
        }
        if let Some(max) = self.region_max_size {
            raft_store.region_max_size = max;
        }
        raft_store.region_split_keys = self.region_split_keys;
        raft_store.region_max_keys = self.region_max_keys;
        raft_store.batch_split_limit = self.batch_split_limit;
    }
}

/// `[pd]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct PdConfig {
    /// Addresses of PD.
    pub endpoints: Vec<String>,
    /// Pause between two attempts to find PD when the store starts.
    pub retry_interval: ReadableDuration,
    /// Number of attempts after the first one; -1: no limit.
    pub retry_max_count: i64,
    /// Logs one in this many failed attempts.
    pub retry_log_every: usize,
}

impl Default for PdConfig {
    fn default() -> Self {
        Self {
            endpoints: vec![super::DEFAULT_PD_ADDR.into()],
            retry_interval: ReadableDuration::millis(300),
            retry_max_count: i64::MAX,
            retry_log_every: 10,
        }
    }
}

impl PdConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.endpoints.is_empty() {
            return Err(
                "pd.endpoints is empty; give at least one PD address (--pd-endpoints HOST:PORT)".into()
            );
        }
        if self.retry_log_every == 0 {
            return Err("pd.retry-log-every: expected at least 1, found 0".into());
        }
        if self.retry_max_count < -1 {
            return Err(format!(
                "pd.retry-max-count: expected -1 (no limit) or more, found {}",
                self.retry_max_count
            ));
        }
        let without_scheme =
            |e: &str| e.split_once("://").map_or(e, |(_, rest)| rest).trim_end_matches('/').to_owned();
        self.endpoints.iter().try_for_each(|e| host_port("pd.endpoints", &without_scheme(e)))
    }
}

/// `[readpool]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ReadPoolConfig {
    /// The pool of all reads.
    pub unified: UnifiedReadPoolConfig,
}

/// `[readpool.unified]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct UnifiedReadPoolConfig {
    /// Lowest number of threads.
    pub min_thread_count: usize,
    /// Highest number of threads.
    pub max_thread_count: usize,
    /// The pool refuses reads above this number.
    pub max_tasks_per_worker: usize,
}

impl Default for UnifiedReadPoolConfig {
    fn default() -> Self {
        Self { min_thread_count: 1, max_thread_count: (cores() * 4 / 5).max(4), max_tasks_per_worker: 2000 }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(4, usize::from)
}

impl UnifiedReadPoolConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        let (least, most) = (self.min_thread_count, self.max_thread_count);
        if least == 0 {
            return Err("readpool.unified.min-thread-count should be > 0".into());
        }
        if most < least {
            return Err(
                "readpool.unified.max-thread-count should be >= readpool.unified.min-thread-count".into()
            );
        }
        let limit = (cores() * 10).max(4);
        if most > limit {
            return Err(format!("readpool.unified.max-thread-count should be smaller than {limit}"));
        }
        Ok(())
    }
}
