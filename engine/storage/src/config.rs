//! Configuration of the storage layer.
//!
//! Mirrors `src/storage/config.rs`, `[readpool.unified]` and a key of `[pessimistic-txn]`.
use std::time::Duration;

use api_version::KvFormat;
use tikv_kv::MemoryLimits;

use crate::txn::flow_controller::FlowControlConfig;

/// The moment at which a pessimistic lock is answered. TiKV: `src/storage/txn/scheduler.rs` `PessimisticLockMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PessimisticLockMode {
    /// After Raft has applied it.
    Sync,
    /// After Raft has proposed it: it is lost if the leader is lost.
    Pipelined,
    /// At once, in the leader's memory. A lock that does not fit there is answered as with `Sync`.
    #[default]
    InMemory,
}

impl PessimisticLockMode {
    /// Returns the mode of `pessimistic-txn.pipelined` and `pessimistic-txn.in-memory`.
    pub fn new(pipelined: bool, in_memory: bool) -> Self {
        match (pipelined, in_memory) {
            (true, true) => Self::InMemory,
            (true, false) => Self::Pipelined,
            (false, _) => Self::Sync,
        }
    }
}

/// Settings under TiKV's keys, with TiKV's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `storage.scheduler-concurrency`: number of latch slots, rounded up to a power of two.
    pub scheduler_concurrency: usize,
    /// `storage.scheduler-worker-pool-size`: number of threads that run commands.
    pub scheduler_worker_pool_size: usize,
    /// `storage.scheduler-pending-write-threshold`, in bytes: the scheduler rejects commands above it.
    pub scheduler_pending_write_threshold: usize,
    /// `storage.memory-quota`: limit of the bytes of unfinished commands in memory; the scheduler rejects commands above
    /// it.
    pub memory_quota: usize,
    /// `storage.flow-control`.
    pub flow_control: FlowControlConfig,
    /// `storage.max-key-size`, in bytes: of the encoded key of a transaction, or of the raw key of a request.
    pub max_key_size: usize,
    /// `storage.txn-status-cache-capacity`: number of transactions whose status is kept; 0: none.
    pub txn_status_cache_capacity: usize,
    /// `storage.api-version` and `storage.enable-ttl`.
    pub api_version: KvFormat,
    /// Whether clients may use async commit or one-phase commit; otherwise all use two phases.
    pub enable_async_commit: bool,
    /// Whether a transaction may be committed in one phase.
    pub enable_one_pc: bool,
    /// `pessimistic-txn.wake-up-delay-duration`: delay after which a released lock wakes all waiting requests.
    pub wake_up_delay_duration: Duration,
    /// `pessimistic-txn.pipelined` and `pessimistic-txn.in-memory`.
    pub pessimistic_lock_mode: PessimisticLockMode,
    /// `pessimistic-txn.in-memory-peer-size-limit` and `in-memory-instance-size-limit`.
    pub in_memory_limits: MemoryLimits,
    /// `readpool.unified.max-thread-count`.
    pub read_pool_threads: usize,
    /// `readpool.unified.max-tasks-per-worker`: the read pool rejects reads above it.
    pub max_tasks_per_worker: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            scheduler_concurrency: 1024 * 512,
            scheduler_worker_pool_size: 4,
            scheduler_pending_write_threshold: 100 << 20,
            memory_quota: 256 << 20,
            flow_control: FlowControlConfig::default(),
            max_key_size: 8 * 1024,
            txn_status_cache_capacity: 40_000 * 128,
            api_version: KvFormat::V1,
            enable_async_commit: true,
            enable_one_pc: true,
            wake_up_delay_duration: Duration::from_millis(20),
            pessimistic_lock_mode: PessimisticLockMode::InMemory,
            in_memory_limits: MemoryLimits { peer: 512 << 10, instance: 100 << 20 },
            read_pool_threads: 4,
            max_tasks_per_worker: 2000,
        }
    }
}
