//! Queries to the collector about slow, kept and in-flight requests, and its metrics.
use std::sync::atomic::Ordering;

use crossbeam::channel::Receiver;

use super::{
    CollectorHandle,
    in_flight::{self, InFlight, Row},
    keep::{TailConfig, Wanted},
    metrics::TextWriter,
    observe::SlowRequest,
};
use crate::recorded::{RecordedRequest, Why};

impl CollectorHandle {
    /// Returns a receiver of slow requests from now on. At most `capacity` of them wait; further ones are
    /// only counted in [`super::CollectorStats::slow_dropped`]. A newer receiver replaces an older one.
    pub fn slow_requests(&self, capacity: usize) -> Receiver<SlowRequest> {
        self.shared.state.lock().observer.slow_requests(capacity)
    }

    /// Changes the thresholds and the kept requests from now on.
    pub fn sample(&self, tail: &TailConfig) {
        let mut state = self.shared.state.lock();
        state.observer.sampler.configure(tail);
        state.folder.keep_at_most(tail.keep);
    }

    /// Keeps the next requests that match `wanted`; replaces an earlier order.
    pub fn want(&self, wanted: Wanted) {
        self.shared.state.lock().observer.sampler.want(wanted);
    }

    /// Returns the requests kept for this reason, oldest first.
    pub fn kept(&self, why: Why) -> Vec<RecordedRequest> {
        let mut state = self.shared.state.lock();
        state.settle();
        state.folder.kept(why)
    }

    /// Returns the requests in flight, oldest first; only those of one store, unless `store` is 0. Returns at
    /// most `limit` requests, and the total number.
    pub fn in_flight(&self, store: u64, limit: usize) -> (Vec<InFlight>, usize) {
        let (rows, last_drop_ns, reason) = {
            let mut state = self.shared.state.lock();
            state.round();
            let rows: Vec<Row> = state.folder.on_their_way().filter_map(Row::from_request).collect();
            (rows, state.folder.last_drop_ns(), state.observer.reject_reason)
        };
        let mut table = in_flight::table(&rows, last_drop_ns, reason);
        table.retain(|row| store == 0 || row.store == store);
        let all = table.len();
        table.sort_by_key(|row| std::cmp::Reverse(row.age_ns));
        table.truncate(limit);
        (table, all)
    }

    /// Writes TiKV's metrics of one store that are derived from stamps, and the collector's own metrics.
    pub fn write_metrics(&self, store: u64, out: &mut TextWriter) {
        self.shared.state.lock().settle();
        let stats = self.stats();
        let state = self.shared.state.lock();
        state.observer.metrics.write(store, out);
        drop(state);
        for (name, help, kind, value) in [
            ("tikv_trace_stamps_total", "Stamps that the collector has read.", "counter", stats.stamps),
            (
                "tikv_trace_requests_given_up_total",
                "Requests given up before their end because too many were in flight.",
                "counter",
                stats.given_up,
            ),
            (
                "tikv_trace_stamps_unjoined_total",
                "Stamps of batches and replicas that belong to no known request.",
                "counter",
                stats.unjoined,
            ),
            (
                "tikv_trace_slow_log_dropped_total",
                "Slow requests missing from the slow log because its writer fell behind.",
                "counter",
                stats.slow_dropped,
            ),
            (
                "tikv_trace_recordings_failed_total",
                "Recordings that ended by themselves: the disk was full, or failed.",
                "counter",
                stats.recordings_failed,
            ),
            (
                "tikv_trace_recording_lost_stamps_total",
                "Stamps missing from recordings that ended by themselves.",
                "counter",
                stats.recording_lost,
            ),
            ("tikv_trace_in_flight", "Requests of this process in flight.", "gauge", stats.in_flight),
        ] {
            out.family(name, help, kind);
            out.sample(&[], value);
        }
        let help = "Stamps lost because the thread's ring was full.";
        out.family("tikv_trace_stamps_dropped_total", help, "counter");
        for (thread, n) in &stats.dropped_by_thread {
            out.sample(&[("thread", thread)], n);
        }
    }
}

impl super::State {
    /// Flushes until every request has been observed whose end was stamped before the call.
    fn settle(&mut self) {
        self.round();
        self.round();
    }
}

impl CollectorHandle {
    /// Whether the collector's thread still runs.
    pub fn is_running(&self) -> bool {
        !self.shared.stop.load(Ordering::Acquire)
    }
}
