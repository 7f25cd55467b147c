//! `[pessimistic-txn]`: waiting for locks (TiKV `src/server/lock_manager/config.rs`).
//!
//! TiKV's `pipelined`, `in-memory` and the sizes of `in-memory` are not read: every pessimistic lock is written
//! through Raft before its answer, as in TiKV with `pipelined = false`.
use serde::{Deserialize, Deserializer, Serialize, de};

use super::ReadableDuration;

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
}

impl Default for PessimisticTxnConfig {
    fn default() -> Self {
        Self {
            wait_for_lock_timeout: ReadableDuration::millis(1000),
            wake_up_delay_duration: ReadableDuration::millis(20),
        }
    }
}

impl PessimisticTxnConfig {
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
