//! `[pessimistic-txn]`: the place of pessimistic locks, and waits for them (TiKV `src/server/lock_manager/config.rs`).
use serde::{Deserialize, Deserializer, Serialize, de};
use storage::PessimisticLockMode;
use tikv_kv::MemoryLimits;

use super::{ReadableDuration, ReadableSize};

/// `[pessimistic-txn]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct PessimisticTxnConfig {
    /// Default time that a request waits for a lock, and the longest one.
    #[serde(deserialize_with = "readable_duration_or_u64")]
    pub wait_for_lock_timeout: ReadableDuration,
    /// Delay after which a released lock wakes all requests that waited for it; the first one is woken at once.
    #[serde(deserialize_with = "readable_duration_or_u64")]
    pub wake_up_delay_duration: ReadableDuration,
    /// Whether a lock is answered before Raft has applied it. Such a lock is lost with its leader.
    pub pipelined: bool,
    /// Whether locks stay in the memory of the leader; needs `pipelined`.
    pub in_memory: bool,
    /// Maximum size of the locks in memory of one region.
    pub in_memory_peer_size_limit: ReadableSize,
    /// Maximum size of the locks in memory of the process.
    pub in_memory_instance_size_limit: ReadableSize,
}

impl Default for PessimisticTxnConfig {
    fn default() -> Self {
        let defaults = storage::Config::default();
        Self {
            wait_for_lock_timeout: ReadableDuration::millis(1000),
            wake_up_delay_duration: ReadableDuration(defaults.wake_up_delay_duration),
            pipelined: true,
            in_memory: true,
            in_memory_peer_size_limit: ReadableSize(defaults.in_memory_limits.peer as u64),
            in_memory_instance_size_limit: ReadableSize(defaults.in_memory_limits.instance as u64),
        }
    }
}

impl PessimisticTxnConfig {
    pub(super) fn lock_mode(&self) -> PessimisticLockMode {
        PessimisticLockMode::new(self.pipelined, self.in_memory)
    }

    pub(super) fn memory_limits(&self) -> MemoryLimits {
        MemoryLimits {
            peer: self.in_memory_peer_size_limit.0 as usize,
            instance: self.in_memory_instance_size_limit.0 as usize,
        }
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        if self.wait_for_lock_timeout.as_millis() == 0 {
            // TiKV's text.
            return Err("pessimistic-txn.wait-for-lock-timeout can not be 0".into());
        }
        Ok(())
    }
}

/// Reads a duration, or a number of milliseconds as TiKV 3 wrote it.
fn readable_duration_or_u64<'de, D: Deserializer<'de>>(from: D) -> Result<ReadableDuration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Millis(u64),
    }
    match Given::deserialize(from)? {
        Given::Text(text) => text.parse().map_err(de::Error::custom),
        Given::Millis(ms) => Ok(ReadableDuration::millis(ms)),
    }
}
