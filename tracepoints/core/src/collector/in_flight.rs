//! The in-flight table: the requests now in the store, the stage of each, and what it waits for.
use serde::{Deserialize, Serialize};

use crate::recorded::RecordedRequest;
use crate::{StageId, catalogue::stage::*, clock, ending::Wait, kind::RequestKind, stamp::Stamp, thread};

/// A request that is in flight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// The request's id.
    pub request: u64,
    /// TiKV's RPC name in snake case.
    pub kind: String,
    /// The first 16 bytes of its first key, escaped.
    pub key: String,
    /// Length of the whole key in bytes.
    pub key_len: u32,
    /// The request's region; 0 if unknown.
    pub region: u64,
    /// The store that serves the request.
    pub store: u64,
    /// Real time in ns since it arrived.
    pub age_ns: u64,
    /// The last stage that it reached on its own store.
    pub stage: String,
    /// Real time in ns since it reached that stage.
    pub in_stage_ns: u64,
    /// The thread that made that stamp.
    pub thread: String,
    /// The event outside of its stages for which the request waits, if it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// Whether stamps were lost since it arrived: it may have advanced or ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
}

impl InFlight {
    /// Formats two lines: the request, and what it waits for; the second only if it waits.
    pub fn to_text(&self) -> String {
        let ms = |ns: u64| format!("{}.{:03} ms", ns / 1_000_000, ns / 1000 % 1000);
        let mut out = format!(
            "{} {} [store {} region {}] key {} age {} at {} for {} on {}{}\n",
            self.request,
            self.kind,
            self.store,
            self.region,
            if self.key.is_empty() { "-" } else { &self.key },
            ms(self.age_ns),
            self.stage,
            ms(self.in_stage_ns),
            self.thread,
            if self.uncertain { " (uncertain: stamps were lost)" } else { "" },
        );
        if let Some(waits) = &self.waits_for {
            out.push_str(&format!("    waits for {}: {}\n", waits.what, waits.holder));
        }
        out
    }
}

/// The resource that a request waits for, and its holder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitsFor {
    /// `thread`, `latch`, `lock`, `lease`, `read_index`, `mailbox`, `quorum` or `apply`.
    pub what: String,
    /// Describes the holder.
    pub holder: String,
    /// The request that holds the resource, if it is in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
}

/// The folder's data of one request, copied under its lock.
pub(super) struct Row {
    id: u64,
    kind: RequestKind,
    key: Vec<u8>,
    key_len: u32,
    region: u64,
    store: u64,
    begin_ns: u64,
    /// The last stamp on the store that serves the request.
    here: Option<Stamp>,
    wait: Option<(u64, Wait)>,
    /// The scheduler's id of its last command.
    cid: Option<u64>,
    entry: Option<(u64, u64, u64)>,
    reject: Option<u64>,
    acks: usize,
}

impl Row {
    /// Makes the row of a request; `None` if its start was not seen, since its kind is unknown.
    pub(super) fn from_request(request: &RecordedRequest) -> Option<Self> {
        if !request.began {
            return None;
        }
        let mut row = Self {
            id: request.id,
            kind: request.kind,
            key: request.key_head.clone(),
            key_len: request.key_len,
            region: request.region,
            store: request.store,
            begin_ns: request.begin_ns,
            here: None,
            wait: request.wait,
            cid: None,
            entry: None,
            reject: None,
            acks: 0,
        };
        let mut cid_at = 0;
        for stamp in &request.stamps {
            let Some(site) = stamp.site else { continue };
            match site.stage {
                RAFT_ACK | READ_INDEX_ACK => row.acks += 1,
                LOCAL_READ_REJECT => row.reject = stamp.field("reason"),
                RAFT_PROPOSE => row.entry = stamp.entry(),
                SCHED_RECEIVE | LATCH_WAIT if stamp.at >= cid_at => {
                    (row.cid, cid_at) = (stamp.field("cid"), stamp.at);
                }
                _ => {}
            }
            let own = u64::from(stamp.store) == request.store && !is_answer(site.stage);
            if own && row.here.is_none_or(|h| stamp.at >= h.at) {
                row.here = Some(*stamp);
            }
        }
        Some(row)
    }

    fn stage(&self) -> Option<StageId> {
        self.here.and_then(|s| s.site).map(|s| s.stage)
    }
}

/// Whether a stage is about the answers of other stores, not about the position of the request.
fn is_answer(stage: StageId) -> bool {
    matches!(stage, RAFT_ACK | READ_INDEX_ACK)
}

/// Turns rows into the table. `reason` names a local read's reject reason.
pub(super) fn table(rows: &[Row], last_drop_ns: u64, reason: fn(u64) -> &'static str) -> Vec<InFlight> {
    let now = clock::now_ns();
    rows.iter()
        .map(|row| {
            let at = row.here.map_or(row.begin_ns, |s| s.at);
            InFlight {
                request: row.id,
                kind: row.kind.name(),
                key: row.key.escape_ascii().to_string(),
                key_len: row.key_len,
                region: row.region,
                store: row.store,
                age_ns: now.saturating_sub(row.begin_ns),
                stage: row.stage().map_or("begin", StageId::name).into(),
                in_stage_ns: now.saturating_sub(at),
                thread: row.here.map_or_else(String::new, |s| thread::info(s.thread).name),
                waits_for: waits_for(row, rows, reason),
                uncertain: last_drop_ns > row.begin_ns,
            }
        })
        .collect()
}

fn waits_for(row: &Row, all: &[Row], reason: fn(u64) -> &'static str) -> Option<WaitsFor> {
    let is = |what: &str, holder: String| Some(WaitsFor { what: what.into(), holder, request: None });
    let stage = row.stage()?;
    if let Some((at, wait)) = row.wait
        && row.here.is_none_or(|here| here.at <= at)
    {
        return Some(of_wait(wait, row, all));
    }
    let region = row.region;
    let acks = |n: usize| if n == 0 { String::new() } else { format!(", answers so far: {n}") };
    match stage {
        READ_POOL_QUEUE => is("thread", "all threads of the unified read pool are busy".into()),
        LATCH_WAIT => is("thread", "it has its latches; a thread of sched-worker-pool is to run it".into()),
        SNAPSHOT_REQUEST | LOCAL_READ_REJECT => {
            let why = row.reject.map_or("asked to", reason);
            is("lease", format!("LocalReader cannot answer ({why}); region {region}'s FSM has the read"))
        }
        READ_INDEX_PROPOSE => {
            let term = row.here.and_then(|s| s.field("term")).unwrap_or_default();
            let acks = acks(row.acks);
            is("read_index", format!("a quorum of region {region} confirms the leader of term {term}{acks}"))
        }
        RAFT_ROUTE => is("mailbox", format!("region {region}'s FSM has not taken it out of its mailbox")),
        RAFT_PROPOSE | RAFT_READY | RAFT_SEND | RAFT_WRITE_BEGIN | RAFT_WRITE_END | RAFT_PERSISTED => {
            let (region, term, index) = row.entry.unwrap_or((region, 0, 0));
            let disk = match stage {
                RAFT_WRITE_BEGIN => "this store is writing it",
                RAFT_WRITE_END | RAFT_PERSISTED => "this store has it",
                _ => "this store has not written it",
            };
            let acks = acks(row.acks);
            is("quorum", format!("entry {index} of term {term} in region {region}: {disk}{acks}"))
        }
        RAFT_COMMIT => is("apply", "it is committed; a thread of the apply pool is to take it".into()),
        _ => None,
    }
}

fn of_wait(wait: Wait, row: &Row, all: &[Row]) -> WaitsFor {
    match wait {
        Wait::Latch { holder, .. } => {
            let has = |r: &&Row| r.store == row.store && r.cid == Some(holder) && r.id != row.id;
            let found = all.iter().find(has);
            let who = found.map_or_else(
                || "which has no request inside".to_owned(),
                |r| {
                    let stage = r.stage().map_or("begin", StageId::name);
                    format!("of request {} ({} at {stage})", r.id, r.kind.name())
                },
            );
            WaitsFor {
                what: "latch".into(),
                holder: format!("command {holder} {who}"),
                request: found.map(|r| r.id),
            }
        }
        Wait::Lock { lock_ts } => WaitsFor {
            what: "lock".into(),
            holder: format!("the transaction that began at {lock_ts}"),
            request: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::StampSite;

    fn stamp(at: u64, store: u16, stage: StageId, names: &'static [&'static str], fields: [u64; 4]) -> Stamp {
        let site = StampSite::new(stage, "f.rs", 1, names, || "f::__here");
        let site: &'static StampSite = Box::leak(Box::new(site));
        Stamp { at, site: Some(site), fields, store, ..Stamp::EMPTY }
    }

    fn request(id: u64, stamps: Vec<Stamp>) -> RecordedRequest {
        let mut request = RecordedRequest::new(id);
        (request.kind, request.begin_ns, request.store) = (RequestKind::KvPrewrite, 1, 1);
        (request.key_head, request.key_len, request.region) = (b"k\x00".to_vec(), 2, 7);
        request.began = true;
        request.stamps = stamps;
        request
    }

    fn shown(requests: &[RecordedRequest]) -> Vec<InFlight> {
        let rows: Vec<Row> = requests.iter().filter_map(Row::from_request).collect();
        table(&rows, 0, |_| "lease_expire")
    }

    const CID: &[&str] = &["cid"];

    #[test]
    fn a_request_waiting_for_a_latch_names_the_latch_holder() {
        let holder = request(
            5,
            vec![stamp(10, 1, SCHED_RECEIVE, CID, [31, 0, 0, 0]), stamp(20, 1, SCHED_WRITE, &[], [0; 4])],
        );
        let mut waiter = request(6, vec![stamp(15, 1, LATCH_WAIT, CID, [32, 0, 0, 0])]);
        waiter.wait = Some((16, Wait::Latch { cid: 32, holder: 31 }));
        let table = shown(&[holder.clone(), waiter.clone()]);
        let waits = table[1].waits_for.clone().unwrap();
        assert_eq!((waits.what.as_str(), waits.request), ("latch", Some(5)));
        assert_eq!(waits.holder, "command 31 of request 5 (kv_prewrite at sched_write)");
        assert_eq!((table[0].key.as_str(), table[0].waits_for.clone()), ("k\\x00", None));
        waiter.stamps.push(stamp(30, 1, LATCH_ACQUIRED, CID, [32, 0, 0, 0]));
        assert_eq!(shown(&[holder, waiter])[1].waits_for, None);
    }

    #[test]
    fn a_request_waiting_for_a_lock_names_its_transaction() {
        let mut waiter = request(
            6,
            vec![stamp(15, 1, LOCK_WAIT_ENQUEUE, &[], [0; 4]), stamp(16, 1, DEADLOCK_DETECT, &[], [0; 4])],
        );
        waiter.wait = Some((17, Wait::Lock { lock_ts: 400 }));
        let waits = shown(&[waiter.clone()])[0].waits_for.clone().unwrap();
        assert_eq!(
            (waits.what.as_str(), waits.holder.as_str()),
            ("lock", "the transaction that began at 400")
        );
        waiter.stamps.push(stamp(30, 1, LOCK_WAIT_WAKE, &[], [0; 4]));
        assert_eq!(shown(&[waiter])[0].waits_for, None);
    }

    #[test]
    fn a_write_waits_for_its_quorum_and_a_read_for_its_lease() {
        let entry = stamp(10, 1, RAFT_PROPOSE, &["region", "term", "index"], [7, 6, 11, 0]);
        let follower = stamp(20, 2, FOLLOWER_RECEIVE, &[], [0; 4]);
        let ack = stamp(30, 1, RAFT_ACK, &[], [0; 4]);
        let table = shown(&[request(1, vec![entry, follower, ack])]);
        assert_eq!(table[0].stage, "raft_propose", "neither another store's nor another's answer");
        let holder = "entry 11 of term 6 in region 7: this store has not written it, answers so far: 1";
        assert_eq!(table[0].waits_for.as_ref().unwrap().holder, holder);
        let reject = stamp(10, 1, LOCAL_READ_REJECT, &["reason"], [4, 0, 0, 0]);
        let waits = shown(&[request(1, vec![reject])])[0].waits_for.clone().unwrap();
        assert!(waits.holder.contains("(lease_expire)") && waits.what == "lease", "{waits:?}");
    }
}
