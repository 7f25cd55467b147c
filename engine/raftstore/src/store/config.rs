//! The keys of TiKV's `[raftstore]` section that this RaftStore implements, with TiKV's defaults.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::util::{ReadableDuration, ReadableSize};

/// Configuration of the RaftStore, in engine time. TiKV: `raftstore::store::config::Config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Config {
    /// Run a pre-vote before an election, so that a peer without a quorum does not raise the term.
    pub prevote: bool,
    /// Capacity in bytes reported to PD; zero: the disk's capacity.
    pub capacity: ReadableSize,
    /// Interval of Raft's tick.
    pub raft_base_tick_interval: ReadableDuration,
    /// Ticks between two heartbeats.
    pub raft_heartbeat_ticks: usize,
    /// Ticks without a leader until an election.
    pub raft_election_timeout_ticks: usize,
    /// Zero: `raft_election_timeout_ticks`.
    pub raft_min_election_timeout_ticks: usize,
    /// Zero: twice `raft_election_timeout_ticks`.
    pub raft_max_election_timeout_ticks: usize,
    /// Maximum bytes of entries in one message.
    pub raft_max_size_per_msg: ReadableSize,
    /// Maximum number of messages to a follower that are not acknowledged.
    pub raft_max_inflight_msgs: usize,
    /// Largest log entry; larger writes are refused.
    pub raft_entry_max_size: ReadableSize,
    /// Interval of the checks whether to compact the log.
    pub raft_log_gc_tick_interval: ReadableDuration,
    /// Log entries kept beyond the slowest follower's position before compaction.
    pub raft_log_gc_threshold: u64,
    /// Maximum entries of a log, even if a follower needs them; none: from `region_split_size`.
    pub raft_log_gc_count_limit: Option<u64>,
    /// Maximum bytes of a log, even if a follower needs them; none: from `region_split_size`.
    pub raft_log_gc_size_limit: Option<ReadableSize>,
    /// Maximum number of ticks a compactable log is kept for an unreachable follower.
    pub raft_log_reserve_max_ticks: usize,
    /// Interval of the removal of old raft-engine files.
    pub raft_engine_purge_interval: ReadableDuration,
    /// Ticks after which an unanswered read index is sent again.
    pub raft_read_index_retry_interval_ticks: usize,
    /// Interval of a leader's reports to PD.
    pub pd_heartbeat_tick_interval: ReadableDuration,
    /// Interval of the store's reports to PD.
    pub pd_store_heartbeat_tick_interval: ReadableDuration,
    /// Interval of the inspections of the store's latency; an inspection that takes longer is late. Zero: no
    /// inspections.
    pub inspect_interval: ReadableDuration,
    /// Interval of the checks whether to split a region.
    pub split_region_check_tick_interval: ReadableDuration,
    /// Region size that triggers a split; `coprocessor.region-max-size` takes precedence.
    pub region_max_size: ReadableSize,
    /// Target size of the regions after a split; `coprocessor.region-split-size` takes precedence.
    pub region_split_size: ReadableSize,
    /// `coprocessor.region-max-keys`; none: 1.5 times `region_split_keys`.
    #[serde(skip)]
    pub region_max_keys: Option<u64>,
    /// `coprocessor.region-split-keys`; none: 10,000 for each MiB of `region_split_size`.
    #[serde(skip)]
    pub region_split_keys: Option<u64>,
    /// `coprocessor.batch-split-limit`: maximum number of keys in one split.
    #[serde(skip, default = "default_batch_split_limit")]
    pub batch_split_limit: usize,
    /// Interval of the checks whether a leader transfer has failed.
    pub reactive_memory_lock_tick_interval: ReadableDuration,
    /// Number of these intervals after which a transfer counts as failed: pessimistic locks may be in memory again.
    pub reactive_memory_lock_timeout_tick: usize,
    /// Interval of the deletion of unused snapshots.
    pub snap_mgr_gc_tick_interval: ReadableDuration,
    /// Age above which an unused snapshot is deleted.
    pub snap_gc_timeout: ReadableDuration,
    /// Maximum number of messages that an FSM handles before the next FSM runs.
    pub messages_per_tick: usize,
    /// Queued messages of one peer above which commands and Raft messages are rejected.
    pub notify_capacity: usize,
    /// Silence after which a leader reports a peer as down.
    pub max_peer_down_duration: ReadableDuration,
    /// Time without a leader after which a peer asks PD whether it is still a member.
    pub max_leader_missing_duration: ReadableDuration,
    /// Time without a leader after which the store logs a warning.
    pub abnormal_leader_missing_duration: ReadableDuration,
    /// Interval of the checks for a missing leader.
    pub peer_stale_state_check_interval: ReadableDuration,
    /// Maximum number of entries a follower may lack to become leader by transfer.
    pub leader_transfer_max_log_lag: u64,
    /// Length of the leader lease after a quorum answered; zero: no local reads, every read asks a quorum.
    pub raft_store_max_leader_lease: ReadableDuration,
    /// Zero: a quarter of the lease.
    pub check_leader_lease_interval: ReadableDuration,
    /// Renew the lease when less than this is left; zero: a quarter of the lease.
    pub renew_leader_lease_advance_duration: ReadableDuration,
    /// Vote right after a start, even if a lease that this store helped to renew may be valid.
    pub allow_unsafe_vote_after_start: bool,
    /// Whether the right region keeps the id after a split.
    pub right_derive_when_split: bool,
    /// Whether a membership change may remove the leader.
    pub allow_remove_leader: bool,
    /// Maximum number of peer FSMs in one round of a poller.
    pub store_max_batch_size: usize,
    /// Number of poller threads for PeerFsms, `raftstore-{store}-{n}`.
    pub store_pool_size: usize,
    /// Maximum number of apply FSMs in one round of a poller.
    pub apply_max_batch_size: usize,
    /// Number of poller threads for ApplyFsms, `apply-{n}`.
    pub apply_pool_size: usize,
    /// Number of `store-writer-{n}` threads. TiKV's zero (write on the poller) counts as one here.
    pub store_io_pool_size: usize,
    /// Number of threads that generate snapshots.
    pub snap_generator_pool_size: usize,
    /// Bytes of entries at which a store writer stops collecting.
    pub raft_write_size_limit: ReadableSize,
    /// Maximum bytes of committed entries in one Ready.
    pub max_committed_size_per_ready: ReadableSize,
    /// Uncommitted bytes above which a leader refuses proposals.
    pub max_uncommitted_size: ReadableSize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            prevote: true,
            capacity: ReadableSize(0),
            raft_base_tick_interval: ReadableDuration::secs(1),
            raft_heartbeat_ticks: 2,
            raft_election_timeout_ticks: 10,
            raft_min_election_timeout_ticks: 0,
            raft_max_election_timeout_ticks: 0,
            raft_max_size_per_msg: ReadableSize::mb(1),
            raft_max_inflight_msgs: 256,
            raft_entry_max_size: ReadableSize::mb(8),
            raft_log_gc_tick_interval: ReadableDuration::secs(3),
            raft_log_gc_threshold: 50,
            raft_log_gc_count_limit: None,
            raft_log_gc_size_limit: None,
            raft_log_reserve_max_ticks: 6,
            raft_engine_purge_interval: ReadableDuration::secs(10),
            raft_read_index_retry_interval_ticks: 4,
            pd_heartbeat_tick_interval: ReadableDuration::minutes(1),
            pd_store_heartbeat_tick_interval: ReadableDuration::secs(10),
            inspect_interval: ReadableDuration::millis(100),
            split_region_check_tick_interval: ReadableDuration::secs(10),
            region_max_size: ReadableSize::mb(384),
            region_split_size: ReadableSize::mb(256),
            region_max_keys: None,
            region_split_keys: None,
            batch_split_limit: default_batch_split_limit(),
            reactive_memory_lock_tick_interval: ReadableDuration::secs(2),
            reactive_memory_lock_timeout_tick: 5,
            snap_mgr_gc_tick_interval: ReadableDuration::minutes(1),
            snap_gc_timeout: ReadableDuration::hours(4),
            messages_per_tick: 4096,
            notify_capacity: 40960,
            max_peer_down_duration: ReadableDuration::minutes(10),
            max_leader_missing_duration: ReadableDuration::hours(2),
            abnormal_leader_missing_duration: ReadableDuration::minutes(10),
            peer_stale_state_check_interval: ReadableDuration::minutes(5),
            leader_transfer_max_log_lag: 128,
            raft_store_max_leader_lease: ReadableDuration::secs(9),
            check_leader_lease_interval: ReadableDuration::ZERO,
            renew_leader_lease_advance_duration: ReadableDuration::ZERO,
            allow_unsafe_vote_after_start: false,
            right_derive_when_split: true,
            allow_remove_leader: false,
            store_max_batch_size: 256,
            store_pool_size: 2,
            apply_max_batch_size: 256,
            apply_pool_size: 2,
            store_io_pool_size: 1,
            snap_generator_pool_size: 2,
            raft_write_size_limit: ReadableSize::mb(1),
            max_committed_size_per_ready: ReadableSize::mb(16),
            max_uncommitted_size: ReadableSize::gb(1),
        }
    }
}

fn default_batch_split_limit() -> usize {
    10
}

impl Config {
    /// Number of committed versions in each region after a split.
    pub fn region_split_keys(&self) -> u64 {
        let by_size = || (self.region_split_size.0 as f64 / (1 << 20) as f64 * 10_000.0) as u64;
        self.region_split_keys.unwrap_or_else(by_size).max(1)
    }

    /// Number of committed versions that triggers a split.
    pub fn region_max_keys(&self) -> u64 {
        self.region_max_keys.unwrap_or_else(|| (self.region_split_keys() / 2).saturating_mul(3).max(2))
    }

    /// Returns the length of a lease.
    pub fn raft_store_max_leader_lease(&self) -> Duration {
        self.raft_store_max_leader_lease.0
    }

    /// Returns the time without a leader until an election.
    pub fn election_timeout(&self) -> Duration {
        self.raft_base_tick_interval.0.saturating_mul(self.raft_election_timeout_ticks as u32)
    }

    fn or_quarter_lease(&self, d: ReadableDuration) -> Duration {
        if d.is_zero() { self.raft_store_max_leader_lease.0 / 4 } else { d.0 }
    }

    /// Returns the interval of the checks whether to renew the lease.
    pub fn check_leader_lease_interval(&self) -> Duration {
        self.or_quarter_lease(self.check_leader_lease_interval)
    }

    /// Returns the remaining time below which a lease is renewed.
    pub fn renew_leader_lease_advance_duration(&self) -> Duration {
        self.or_quarter_lease(self.renew_leader_lease_advance_duration)
    }

    /// Number of entries after which the log is compacted even if followers need them.
    pub fn raft_log_gc_count_limit(&self) -> u64 {
        // TiKV's rule: three quarters of the entries that fill a region, at one KiB each.
        self.raft_log_gc_count_limit.unwrap_or(self.region_split_size.0 / 4 * 3 / 1024)
    }

    /// Bytes of entries after which the log is compacted even if followers need them.
    pub fn raft_log_gc_size_limit(&self) -> u64 {
        self.raft_log_gc_size_limit.map_or(self.region_split_size.0 / 4 * 3, |s| s.0)
    }

    /// # Errors
    /// Text with the key, the expected value and the found value.
    pub fn validate(&self) -> Result<(), String> {
        let positive = [
            ("raftstore.raft-heartbeat-ticks", self.raft_heartbeat_ticks as u64),
            ("raftstore.raft-log-gc-threshold", self.raft_log_gc_threshold),
            ("raftstore.raft-max-size-per-msg", self.raft_max_size_per_msg.0),
            ("raftstore.raft-entry-max-size", self.raft_entry_max_size.0),
            ("raftstore.store-pool-size", self.store_pool_size as u64),
            ("raftstore.apply-pool-size", self.apply_pool_size as u64),
            ("raftstore.messages-per-tick", self.messages_per_tick as u64),
            ("raftstore.raft-base-tick-interval", self.raft_base_tick_interval.0.as_micros() as u64),
            ("raftstore.notify-capacity", self.notify_capacity as u64),
            ("raftstore.raft-log-gc-size-limit", self.raft_log_gc_size_limit.map_or(1, |limit| limit.0)),
            ("region-split-size", self.region_split_size.0),
            ("region-max-size", self.region_max_size.0),
            ("coprocessor.region-split-keys", self.region_split_keys.unwrap_or(1)),
            ("coprocessor.region-max-keys", self.region_max_keys.unwrap_or(1)),
            ("coprocessor.batch-split-limit", self.batch_split_limit as u64),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{key} must be greater than 0"));
        }
        let (max, split) = (self.region_max_size.0, self.region_split_size.0);
        if max < split {
            return Err(format!("region max size {max} must >= split size {split}"));
        }
        let (max, split) = (self.region_max_keys(), self.region_split_keys());
        if max < split {
            return Err(format!("region max keys {max} must >= split keys {split}"));
        }
        if self.raft_election_timeout_ticks <= self.raft_heartbeat_ticks {
            return Err(format!(
                "raftstore.raft-election-timeout-ticks ({}) must be greater than raftstore.raft-heartbeat-ticks ({})",
                self.raft_election_timeout_ticks, self.raft_heartbeat_ticks
            ));
        }
        let min = self.raft_min_election_timeout_ticks;
        let max = self.raft_max_election_timeout_ticks;
        if min != 0 && (min < self.raft_election_timeout_ticks || (max != 0 && min >= max)) {
            return Err(format!(
                "raftstore.raft-min-election-timeout-ticks ({min}) must be at least \
                 raftstore.raft-election-timeout-ticks ({}) and less than the maximum ({max})",
                self.raft_election_timeout_ticks
            ));
        }
        let (lease, election) = (self.raft_store_max_leader_lease.0, self.election_timeout());
        if lease > election {
            return Err(format!(
                "raftstore.raft-store-max-leader-lease ({lease:?}) must not exceed the election timeout ({election:?}): \
                 a new leader could be elected while the old one still reads by its lease"
            ));
        }
        self.validate_leader_missing()
    }

    /// Checks the times after which a peer without a leader acts. In this order, each must be at least the one before:
    /// two election timeouts, the check of stale peers, the abnormal time without a leader, the maximum time.
    fn validate_leader_missing(&self) -> Result<(), String> {
        let election = self.election_timeout().as_millis() * 2;
        let check = self.peer_stale_state_check_interval.0.as_millis();
        let abnormal = self.abnormal_leader_missing_duration.0.as_millis();
        let max = self.max_leader_missing_duration.0.as_millis();
        let steps = [
            ("peer stale state check interval", check, "election timeout x 2", election),
            ("abnormal leader missing", abnormal, "peer stale state check interval", check),
            ("max leader missing", max, "abnormal leader missing", abnormal),
        ];
        match steps.into_iter().find(|(_, value, _, least)| value < least) {
            Some((name, value, other, least)) => {
                Err(format!("{name} {value} ms is less than {other} {least} ms"))
            }
            None => Ok(()),
        }
    }

    /// Creates the `raft` crate's configuration for one peer.
    pub fn new_raft_config(&self, peer_id: u64, applied: u64) -> raft::Config {
        raft::Config {
            id: peer_id,
            election_tick: self.raft_election_timeout_ticks,
            heartbeat_tick: self.raft_heartbeat_ticks,
            min_election_tick: self.raft_min_election_timeout_ticks,
            max_election_tick: self.raft_max_election_timeout_ticks,
            max_size_per_msg: self.raft_max_size_per_msg.0,
            max_inflight_msgs: self.raft_max_inflight_msgs,
            applied,
            check_quorum: true,
            skip_bcast_commit: false,
            pre_vote: self.prevote,
            max_committed_size_per_ready: self.max_committed_size_per_ready.0,
            max_uncommitted_size: self.max_uncommitted_size.0,
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_lease_is_below_the_election_timeout() {
        let config = Config::default();
        config.validate().unwrap();
        assert!(config.raft_store_max_leader_lease() < config.election_timeout());
        config.new_raft_config(1, 0).validate().unwrap();
        assert_eq!((config.region_split_keys(), config.region_max_keys()), (2_560_000, 3_840_000));
    }

    #[test]
    fn bad_values_are_named() {
        let bad = Config { raft_store_max_leader_lease: ReadableDuration::secs(11), ..Config::default() };
        assert!(bad.validate().unwrap_err().contains("raft-store-max-leader-lease"));
        let bad = Config { apply_pool_size: 0, ..Config::default() };
        assert!(bad.validate().unwrap_err().contains("apply-pool-size"));
        let bad = Config { raft_heartbeat_ticks: 10, ..Config::default() };
        assert!(bad.validate().unwrap_err().contains("raft-election-timeout-ticks"));
        let bad = Config { region_split_size: ReadableSize(0), ..Config::default() };
        assert!(bad.validate().unwrap_err().contains("region-split-size must be greater than 0"));
        let bad = Config { region_max_size: ReadableSize::mb(1), ..Config::default() };
        assert!(bad.validate().unwrap_err().contains("region max size"));
        let bad = Config { region_max_keys: Some(6), region_split_keys: Some(7), ..Config::default() };
        assert_eq!(bad.validate().unwrap_err(), "region max keys 6 must >= split keys 7");
    }

    #[test]
    fn a_missing_leader_is_looked_for_after_elections_only() {
        let bad = Config { raft_election_timeout_ticks: 3_600, ..Config::default() };
        assert_eq!(
            bad.validate().unwrap_err(),
            "peer stale state check interval 300000 ms is less than election timeout x 2 7200000 ms"
        );
        let bad = Config { max_leader_missing_duration: ReadableDuration::minutes(9), ..Config::default() };
        assert_eq!(
            bad.validate().unwrap_err(),
            "max leader missing 540000 ms is less than abnormal leader missing 600000 ms"
        );
        let two = ReadableDuration::hours(2);
        let good = Config {
            raft_election_timeout_ticks: 3_600,
            peer_stale_state_check_interval: two,
            abnormal_leader_missing_duration: two,
            ..Config::default()
        };
        good.validate().unwrap();
    }
}
