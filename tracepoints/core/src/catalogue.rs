//! The stage catalogue: every named point of a request's path, generated from `catalogue.toml`.
use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

/// Index of a stage in [`STAGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct StageId(pub u16);

impl StageId {
    /// Returns the stage's catalogue entry.
    pub fn stage(self) -> &'static Stage {
        &STAGES[self.0 as usize % STAGES.len()]
    }

    /// Returns the stage's lower-case name.
    pub fn name(self) -> &'static str {
        self.stage().name
    }
}

/// The way a gate holds a request at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// The request's task waits; its thread continues with other tasks.
    Await,
    /// The region's FSM is parked; its poller continues with other regions.
    Fsm,
    /// The thread waits, and so does all other work of this thread.
    Thread,
    /// The stage is only observed, never held.
    None,
}

/// The part of a trace that a stage belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// The request's own path: the stages of this lane sum to its wall time.
    Main,
    /// One replica, parallel to the main lane: joined by region, term and index.
    Replica,
}

/// The kind of time between a stage and the next one of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A thread runs for the request.
    Work,
    /// The request waits for a thread or an FSM.
    Queue,
    /// The request waits for the latches of other commands.
    Latch,
    /// The request waits for the lock of another transaction.
    Lock,
    /// The leader confirms its leadership with a round of messages, since it has no lease.
    Lease,
    /// A thread writes a log and syncs it to disk.
    Fsync,
    /// A message travels between client, PD and stores.
    Network,
    /// The request waits until enough stores report that its entry is on their disks.
    Quorum,
    /// The client waits before it tries again.
    Backoff,
}

impl Class {
    /// Every class, by the order of the variants.
    pub const ALL: [Class; 9] = [
        Self::Work,
        Self::Queue,
        Self::Latch,
        Self::Lock,
        Self::Lease,
        Self::Fsync,
        Self::Network,
        Self::Quorum,
        Self::Backoff,
    ];

    /// Returns the name used in `catalogue.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Queue => "queue",
            Self::Latch => "latch",
            Self::Lock => "lock",
            Self::Lease => "lease",
            Self::Fsync => "fsync",
            Self::Network => "network",
            Self::Quorum => "quorum",
            Self::Backoff => "backoff",
        }
    }
}

/// One entry of the catalogue.
#[derive(Debug, Serialize)]
pub struct Stage {
    /// Index in [`STAGES`].
    pub id: StageId,
    /// Lower-case name, e.g. `grpc_receive`.
    pub name: &'static str,
    /// The part of the system: `grpc`, `raftstore`.
    pub layer: &'static str,
    /// The kind of time from this stage to the next one.
    pub class: Class,
    /// The event, in one sentence.
    pub meaning: &'static str,
    /// TiKV's function, as `path::Type::function` in tikv/tikv.
    pub tikv: &'static str,
    /// TiKV's function for one kind of request or one client operation, where it differs; `*` is for any
    /// other RPC, with `{rpc}` for its name and `{future}` for the name of its function in TiKV's service.
    pub tikv_of: &'static [(&'static str, &'static str)],
    /// The difference between our code and TiKV's at this stage, or empty.
    pub differs: &'static str,
    /// TiKV's metric for this stage, or empty.
    pub metric: &'static str,
    /// Chapter of the guide, e.g. `point-get`.
    pub chapter: &'static str,
    /// The way a gate holds a request here.
    pub hold: Hold,
    /// The part of the trace that it belongs to.
    pub lane: Lane,
    /// Whether it is a part of the stage before it: stamped only for a stepped request, and folded.
    pub inside: bool,
}

impl Stage {
    /// Returns the source file of TiKV's function: the text before the first `::`.
    pub fn tikv_file(&self) -> &'static str {
        file_of(self.tikv)
    }

    /// Returns TiKV's function for a request of this kind (`kv_prewrite`) or a client operation (`put`).
    pub fn tikv_for(&self, kind: &str) -> Cow<'static, str> {
        let of =
            |wanted: &str| self.tikv_of.iter().find(|(k, _)| *k == wanted).map(|(_, function)| *function);
        if let Some(function) = of(kind) {
            return function.into();
        }
        let is_rpc = kind.starts_with("kv_") || kind.starts_with("raw_") || INLINE.contains(&kind);
        match of("*").filter(|_| is_rpc) {
            Some(pattern) => pattern.replace("{rpc}", kind).replace("{future}", &future(kind)).into(),
            None => self.tikv.into(),
        }
    }
}

/// Returns the source file of a function: the text before the first `::`.
pub fn file_of(function: &str) -> &str {
    function.split("::").next().unwrap_or(function)
}

/// RPCs that TiKV handles in the service's own function.
const INLINE: [&str; 2] = ["unsafe_destroy_range", "split_region"];

/// Returns the function that TiKV's `handle_request!` calls for an RPC (src/server/service/kv.rs).
fn future(rpc: &str) -> String {
    match rpc {
        "kv_pessimistic_lock" => "future_acquire_pessimistic_lock".into(),
        rpc if INLINE.contains(&rpc) => rpc.into(),
        _ => format!("future_{}", rpc.trim_start_matches("kv_")),
    }
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// One constant per stage, e.g. [`stage::GRPC_RECEIVE`].
pub mod stage {
    include!(concat!(env!("OUT_DIR"), "/consts.rs"));
}

/// Finds a stage by its name, ignoring case.
pub fn find(name: &str) -> Option<&'static Stage> {
    static BY_NAME: LazyLock<HashMap<&str, &Stage>> =
        LazyLock::new(|| STAGES.iter().map(|stage| (stage.name, stage)).collect());
    let folded = || STAGES.iter().find(|s| s.name.eq_ignore_ascii_case(name));
    BY_NAME.get(name).copied().or_else(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_tikv_and_is_a_sentence() {
        let all: Vec<_> = STAGES.iter().filter(|s| !s.differs.is_empty()).collect();
        assert!(!all.is_empty());
        for stage in all {
            assert!(stage.differs.contains("TiKV") && stage.differs.ends_with('.'), "{}", stage.name);
        }
    }

    #[test]
    fn a_stage_names_the_function_of_the_rpc() {
        let stage = |name| find(name).unwrap();
        assert!(stage("grpc_receive").tikv_for("kv_prewrite").ends_with("kv.rs::Service::kv_prewrite"));
        assert!(stage("grpc_decode").tikv_for("kv_commit").ends_with("::future_commit"));
        assert!(stage("grpc_decode").tikv_for("raw_put").ends_with("::future_raw_put"));
        assert!(stage("grpc_decode").tikv_for("split_region").ends_with("::split_region"));
        let lock = stage("grpc_decode").tikv_for("kv_pessimistic_lock");
        assert!(lock.ends_with("::future_acquire_pessimistic_lock"));
        assert!(stage("client_send").tikv_for("put").ends_with("::Transaction::commit"));
        assert!(stage("client_send").tikv_for("raw_get").ends_with("src/raw/client.rs::Client::get"));
        assert_eq!(stage("grpc_receive").tikv_for("other"), stage("grpc_receive").tikv);
        assert_eq!(stage("raft_commit").tikv_for("kv_prewrite"), stage("raft_commit").tikv);
        for (stage, (_, function)) in STAGES.iter().flat_map(|s| s.tikv_of.iter().map(move |of| (s, of))) {
            assert!(file_of(function).contains('.') && function.contains("::"), "{}: {function}", stage.name);
        }
    }

    #[test]
    fn every_stage_names_a_tikv_function_and_is_found_by_name() {
        for (i, s) in STAGES.iter().enumerate() {
            assert_eq!(s.id.0 as usize, i);
            assert!(
                s.tikv.contains("::"),
                "{}: expected path::Type::function in `tikv`, found {:?}",
                s.name,
                s.tikv
            );
            assert!(s.tikv_file().contains('.'), "{}: no file in {:?}", s.name, s.tikv);
            assert!(std::ptr::eq(find(s.name).unwrap(), s));
        }
    }
}
