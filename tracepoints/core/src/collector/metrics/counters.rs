//! TiKV's counters that can be derived from stamps.
use super::{KINDS, Mask, TextWriter, bit};
use crate::{
    StageId, catalogue::stage::*, ending::Wait, kind::RequestKind, recorded::RecordedRequest, stamp::Stamp,
};

/// Number of counted reasons to reject a local read; higher ones count as the last.
const REASONS: usize = 32;

/// `cf` and `tag` of `tikv_scheduler_kv_scan_details`, with the stage that has the count.
const SCANS: [(StageId, &str, &str); 3] =
    [(LOCK_CF_GET, "lock", "get"), (WRITE_CF_SEEK, "write", "seek"), (DEFAULT_CF_GET, "default", "get")];

/// `stage` of `tikv_scheduler_stage_total`, with the corresponding stage of the catalogue.
const SCHED_STAGES: [(StageId, &str); 7] = [
    (SCHED_RECEIVE, "new"),
    (SNAPSHOT_REQUEST, "snapshot"),
    (SNAPSHOT_READY, "snapshot_ok"),
    (SCHED_PROCESS, "process"),
    (SCHED_WRITE, "write"),
    (SCHED_FINISH, "write_finish"),
    (LATCH_WAIT, "lock_wait"),
];

const PERF: [&str; 4] =
    ["block_read_count", "block_cache_hit_count", "get_from_memtable_count", "internal_key_skipped_count"];

/// Counts for one kind of request.
#[derive(Clone, Debug, Default)]
struct OfKind {
    commands: u64,
    sched: [u64; SCHED_STAGES.len()],
    sched_errors: u64,
    scans: [u64; SCANS.len()],
    processed_keys: u64,
    perf: [u64; PERF.len()],
}

#[derive(Debug)]
pub(super) struct Counters {
    kinds: Vec<OfKind>,
    local_reads: u64,
    rejects: [u64; REASONS],
}

impl Default for Counters {
    fn default() -> Self {
        Self { kinds: vec![OfKind::default(); KINDS], local_reads: 0, rejects: [0; REASONS] }
    }
}

impl Counters {
    /// Counts one stamp of a request on its own store.
    #[inline]
    pub(super) fn count(&mut self, kind: RequestKind, stage: StageId, stamp: &Stamp) {
        let of_kind = &mut self.kinds[kind as usize];
        match stage {
            LOCAL_READ => self.local_reads += 1,
            LOCAL_READ_REJECT => {
                let reason = stamp.field("reason").unwrap_or_default() as usize;
                self.rejects[reason.min(REASONS - 1)] += 1;
            }
            LOCK_CF_GET => of_kind.scans[0] += 1,
            WRITE_CF_SEEK => of_kind.scans[1] += 1,
            DEFAULT_CF_GET => of_kind.scans[2] += 1,
            READ_DONE => of_kind.processed_keys += stamp.field("processed_keys").unwrap_or_default(),
            ROCKSDB_PERF => {
                let fields = stamp.fields.iter().zip(&mut of_kind.perf);
                fields.for_each(|(value, sum)| *sum += value);
            }
            SCHED_FINISH => of_kind.sched_errors += stamp.field("failed").unwrap_or_default(),
            _ => {}
        }
    }

    /// Counts the request as a whole.
    pub(super) fn count_request(&mut self, request: &RecordedRequest, seen: Mask) {
        let of_kind = &mut self.kinds[request.kind as usize];
        if seen & (bit(READ_POOL_QUEUE) | bit(SCHED_RECEIVE)) != 0 {
            of_kind.commands += 1;
        }
        if seen & bit(SCHED_RECEIVE) == 0 {
            return;
        }
        for (i, (stage, _)) in SCHED_STAGES.iter().enumerate() {
            // TiKV counts a wait for a latch only if the command really waits.
            let reached = match *stage {
                LATCH_WAIT => matches!(request.wait, Some((_, Wait::Latch { .. }))),
                stage => seen & bit(stage) != 0,
            };
            of_kind.sched[i] += u64::from(reached);
        }
    }

    pub(super) fn write(&self, reason: fn(u64) -> &'static str, out: &mut TextWriter) {
        let kinds = || {
            RequestKind::ALL
                .into_iter()
                .map(RequestKind::command)
                .zip(&self.kinds)
                .filter(|(_, k)| k.commands > 0)
        };
        out.family("tikv_storage_command_total", "Total number of commands received.", "counter");
        kinds().for_each(|(name, k)| out.sample(&[("type", name)], k.commands));
        out.family("tikv_scheduler_stage_total", "Total number of commands on each stage.", "counter");
        for (name, k) in kinds().filter(|(_, k)| k.sched[0] > 0) {
            for ((_, stage), n) in SCHED_STAGES.iter().zip(k.sched).filter(|(_, n)| *n > 0) {
                out.sample(&[("type", name), ("stage", stage)], n);
            }
            out.sample(&[("type", name), ("stage", "error")], k.sched_errors);
        }
        self.write_scans(out);
        let help = "Total number of RocksDB internal operations from PerfContext";
        out.family("tikv_storage_rocksdb_perf", help, "counter");
        for (name, k) in kinds() {
            for (metric, n) in PERF.iter().zip(k.perf) {
                out.sample(&[("req", name), ("metric", metric)], n);
            }
        }
        let help = "Total number of requests directly executed by local reader.";
        out.family("tikv_raftstore_local_read_executed_requests", help, "counter");
        out.sample(&[], self.local_reads);
        let help = "Total number of rejections from the local reader.";
        out.family("tikv_raftstore_local_read_reject_total", help, "counter");
        for (code, n) in self.rejects.iter().enumerate().filter(|(_, n)| **n > 0) {
            out.sample(&[("reason", reason(code as u64))], *n);
        }
    }

    fn write_scans(&self, out: &mut TextWriter) {
        let help = "Bucketed counter of kv keys scan details for each cf";
        out.family("tikv_scheduler_kv_scan_details", help, "counter");
        for (name, k) in RequestKind::ALL.into_iter().map(RequestKind::command).zip(&self.kinds) {
            let scans = SCANS.iter().map(|(_, cf, tag)| (*cf, *tag)).zip(k.scans);
            let processed = (("write", "processed_keys"), k.processed_keys);
            for ((cf, tag), n) in scans.chain([processed]).filter(|(_, n)| *n > 0) {
                out.sample(&[("req", name), ("cf", cf), ("tag", tag)], n);
            }
        }
    }
}
