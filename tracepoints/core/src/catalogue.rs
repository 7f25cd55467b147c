//! The stage catalogue: every named place on a request's way, generated from `catalogue.toml`.
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Index of a stage in [`STAGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct StageId(pub u16);

impl StageId {
    /// The stage's catalogue entry.
    pub fn stage(self) -> &'static Stage {
        &STAGES[self.0 as usize % STAGES.len()]
    }

    pub fn name(self) -> &'static str {
        self.stage().name
    }
}

/// How a gate holds a request at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// The request's task waits; its thread goes on with others.
    Await,
    /// The region's FSM is parked; its poller goes on with other regions.
    Fsm,
    /// The thread waits, and whoever shares it waits too.
    Thread,
    /// The stage is only observed.
    None,
}

/// Where a stage's time belongs in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// On the request's own way: the stages of this lane sum to its wall time.
    Main,
    /// On one replica, beside the main lane: joined by region, term and index.
    Replica,
}

/// What the time from a stage to the next on its way goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A thread runs for the request.
    Work,
    /// It waits for a thread, or for an FSM.
    Queue,
    /// It waits for the latches of other commands.
    Latch,
    /// It waits for the lock of another transaction.
    Lock,
    /// Leadership is confirmed by a round of messages, as no lease holds.
    Lease,
    /// A log is written and synced to disk.
    Fsync,
    /// A message is on its way between client, PD and stores.
    Network,
    /// It waits until enough stores have answered that its entry is on their disks.
    Quorum,
    /// The client waits before it tries again.
    Backoff,
}

impl Class {
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

    /// As `catalogue.toml` writes it.
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
    pub id: StageId,
    /// Lower-case name, e.g. `grpc_receive`.
    pub name: &'static str,
    pub layer: &'static str,
    pub class: Class,
    pub meaning: &'static str,
    /// `path::Type::function` in tikv/tikv.
    pub tikv: &'static str,
    /// That of a kind of request or of a client's operation, where it differs; `*` is of any other RPC, with `{rpc}` for its
    /// name and `{future}` for that of its function in TiKV's service.
    pub tikv_of: &'static [(&'static str, &'static str)],
    /// TiKV's metric for this stage, or empty.
    pub metric: &'static str,
    /// Chapter of the guide, e.g. `point-get`.
    pub chapter: &'static str,
    pub hold: Hold,
    pub lane: Lane,
}

impl Stage {
    /// The source file of TiKV's function: what stands before the first `::`.
    pub fn tikv_file(&self) -> &'static str {
        file_of(self.tikv)
    }

    /// TiKV's function for a request of this kind (`kv_prewrite`), or a client's operation (`put`).
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

/// The source file of a function: what stands before the first `::`.
pub fn file_of(function: &str) -> &str {
    function.split("::").next().unwrap_or(function)
}

/// RPCs that TiKV answers in the service's own function.
const INLINE: [&str; 2] = ["unsafe_destroy_range", "split_region"];

/// The function that TiKV's `handle_request!` calls for an RPC (src/server/service/kv.rs).
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

/// Finds a stage by its name, in any case.
pub fn find(name: &str) -> Option<&'static Stage> {
    STAGES.iter().find(|s| s.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(s.tikv.contains("::"), "{}: `tikv` wants path::Type::function, has {:?}", s.name, s.tikv);
            assert!(s.tikv_file().contains('.'), "{}: no file in {:?}", s.name, s.tikv);
            assert!(std::ptr::eq(find(s.name).unwrap(), s));
        }
    }
}
