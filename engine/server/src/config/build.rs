//! Builds the configurations of the crates below from the sections.
use super::{ConfigError, ReadableSize, TikvConfig, engines::RaftEngineConfig, rocks_options};

impl TikvConfig {
    /// Sets the RocksDB options that can only be set once the database is open.
    pub(crate) fn tune(&self, kv: &engine_rocks::RocksEngine) -> Result<(), ConfigError> {
        let invalid = |e| ConfigError::Invalid(format!("[rocksdb] {e}"));
        let options = rocks_options::given(self).map_err(invalid)?;
        options.iter().try_for_each(|option| option.set(kv)).map_err(invalid)
    }

    /// Returns a configuration for a store inside another program: free ports, few threads, little memory.
    pub fn for_embedding(data_dir: impl Into<std::path::PathBuf>, pd_endpoint: impl Into<String>) -> Self {
        let mut config = Self::default();
        config.server.addr = "127.0.0.1:0".into();
        config.server.status_addr = "127.0.0.1:0".into();
        config.server.grpc_concurrency = 2;
        config.server.background_thread_count = 1;
        config.storage.data_dir = data_dir.into();
        config.storage.scheduler_concurrency = 2048;
        config.storage.scheduler_worker_pool_size = 2;
        config.storage.block_cache.capacity = ReadableSize::mb(8);
        config.pd.endpoints = vec![pd_endpoint.into()];
        config.read_pool.unified.max_thread_count = 2;
        config.raft_store.store_pool_size = 1;
        config.raft_store.apply_pool_size = 1;
        let rocksdb = &mut config.rocksdb;
        for cf in [&mut rocksdb.defaultcf, &mut rocksdb.writecf, &mut rocksdb.lockcf, &mut rocksdb.raftcf] {
            cf.write_buffer_size = ReadableSize::mb(4);
        }
        config.rocksdb.max_open_files = 1024;
        config.raft_engine.target_file_size = ReadableSize::mb(1);
        config.raft_engine.purge_threshold = ReadableSize::mb(16);
        config
    }

    pub(crate) fn build_db_config(&self) -> engine_rocks::DbConfig {
        let rocksdb = &self.rocksdb;
        let mut out = engine_rocks::DbConfig {
            block_cache_capacity: self.storage.block_cache.capacity.0 as usize,
            max_background_jobs: rocksdb.max_background_jobs,
            max_open_files: rocksdb.max_open_files,
            max_total_wal_size: rocksdb.max_total_wal_size.0,
            ..engine_rocks::DbConfig::default()
        };
        for (cf, section) in [
            (&mut out.defaultcf, &rocksdb.defaultcf),
            (&mut out.writecf, &rocksdb.writecf),
            (&mut out.lockcf, &rocksdb.lockcf),
            (&mut out.raftcf, &rocksdb.raftcf),
        ] {
            cf.write_buffer_size = section.write_buffer_size.0 as usize;
            self.storage.flow_control.disable_write_stall(cf);
        }
        out
    }

    pub(crate) fn build_pd_retry(&self) -> pd::client::Retry {
        let max_count = match self.pd.retry_max_count {
            -1 | i64::MAX => None,
            count => u64::try_from(count).ok(),
        };
        pd::client::Retry { interval: self.pd.retry_interval.0, max_count }
    }

    pub(crate) fn build_storage_config(&self) -> storage::Config {
        let (storage, unified) = (&self.storage, &self.read_pool.unified);
        storage::Config {
            scheduler_concurrency: storage.scheduler_concurrency,
            scheduler_worker_pool_size: storage.scheduler_worker_pool_size,
            scheduler_pending_write_threshold: storage.scheduler_pending_write_threshold.0 as usize,
            memory_quota: storage.memory_quota.0 as usize,
            flow_control: storage.flow_control.build(),
            max_key_size: storage.max_key_size,
            txn_status_cache_capacity: storage.txn_status_cache_capacity,
            pessimistic_lock_mode: self.pessimistic_txn.lock_mode(),
            in_memory_limits: self.pessimistic_txn.memory_limits(),
            wake_up_delay_duration: self.pessimistic_txn.wake_up_delay_duration.0,
            api_version: storage.kv_format(),
            read_pool_threads: unified.max_thread_count.max(unified.min_thread_count),
            max_tasks_per_worker: unified.max_tasks_per_worker,
            ..storage::Config::default()
        }
    }
}

impl RaftEngineConfig {
    pub(crate) fn build(&self) -> raft_log_engine::RaftEngineConfig {
        raft_log_engine::RaftEngineConfig {
            target_file_size: self.target_file_size.0,
            purge_threshold: self.purge_threshold.0,
            batch_compression_threshold: self.batch_compression_threshold.0,
            ..raft_log_engine::RaftEngineConfig::default()
        }
    }
}
