//! Counts requests by `Context.request_source`, in which TiDB names the kind of statement or background task (TiKV
//! `record_request_source_metrics` of `src/server/metrics.rs`).
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::RwLock;
use tracepoints::collector::TextWriter;

/// Maximum number of sources. A client can invent names, so that all later ones are counted together.
const MAX_SOURCES: usize = 1_000;
/// Maximum bytes of a source with a count of its own.
const MAX_NAME: usize = 256;
/// Name of all other sources.
const OTHERS: &str = "others";

/// Requests of one source.
#[derive(Debug, Default)]
struct Count {
    requests: AtomicU64,
    /// Sum of their times, in microseconds of engine time.
    micros: AtomicU64,
}

impl Count {
    fn add(&self, duration: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(duration.as_micros() as u64, Ordering::Relaxed);
    }
}

/// Requests of all sources.
#[derive(Debug, Default)]
pub(crate) struct RequestSources {
    /// Requests of clients that name no source, which so take no lock.
    unnamed: Count,
    named: RwLock<BTreeMap<String, Count>>,
}

impl RequestSources {
    /// Counts a request that took `duration`.
    pub(crate) fn record(&self, source: &str, duration: Duration) {
        if source.is_empty() {
            return self.unnamed.add(duration);
        }
        if let Some(count) = self.named.read().get(source) {
            return count.add(duration);
        }
        let mut named = self.named.write();
        let fits = source.len() <= MAX_NAME && named.len() < MAX_SOURCES;
        let name = if fits { source } else { OTHERS };
        named.entry(name.to_owned()).or_default().add(duration);
    }

    /// Adds the metrics under TiKV's names.
    pub(crate) fn write(&self, out: &mut TextWriter) {
        let named = self.named.read();
        let all = || {
            [("", &self.unnamed)].into_iter().chain(named.iter().map(|(name, count)| (name.as_str(), count)))
        };
        let help = "Counter of different sources of RPC requests";
        out.family("tikv_grpc_request_source_counter_vec", help, "counter");
        for (source, count) in all() {
            out.sample(&[("source", source)], count.requests.load(Ordering::Relaxed));
        }
        let help = "Total duration of different sources of RPC requests (in microseconds)";
        out.family("tikv_grpc_request_source_duration_vec", help, "counter");
        for (source, count) in all() {
            out.sample(&[("source", source)], count.micros.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_beyond_the_bounds_are_counted_together() {
        let sources = RequestSources::default();
        for i in 0..MAX_SOURCES + 5 {
            sources.record(&format!("source{i}"), Duration::from_micros(2));
        }
        sources.record("source0", Duration::from_micros(3));
        sources.record(&"x".repeat(MAX_NAME + 1), Duration::ZERO);
        let counts = sources.named.into_inner();
        assert_eq!(counts.len(), MAX_SOURCES + 1);
        let requests = |name: &str| counts[name].requests.load(Ordering::Relaxed);
        assert_eq!((requests("source0"), requests(OTHERS)), (2, 6));
        assert_eq!(counts["source0"].micros.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn requests_without_a_source_are_counted() {
        let (sources, mut out) = (RequestSources::default(), TextWriter::default());
        sources.record("", Duration::from_micros(2));
        sources.write(&mut out);
        let text = out.finish();
        assert!(text.contains("tikv_grpc_request_source_counter_vec{source=\"\"} 1\n"), "{text}");
        assert!(text.contains("tikv_grpc_request_source_duration_vec{source=\"\"} 2\n"), "{text}");
    }
}
