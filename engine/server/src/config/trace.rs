//! `[trace]`: which recorded requests are kept. Not in TiKV, which records none.
use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use tracepoints::{CollectorConfig, RequestKind, collector::TailConfig};

use super::{ReadableDuration, TikvConfig};

/// `[trace]`. The collector and the slow log belong to the process: of several stores in one, the first one's
/// settings apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TraceConfig {
    /// Number of recently finished requests that are kept, of any kind.
    pub recent: usize,
    /// Maximum number of unfinished requests that are followed; beyond it the oldest is dropped.
    pub in_flight: usize,
    /// Maximum number of stamps kept of one request, 64 bytes each.
    pub stamps_per_request: usize,
    /// Number of requests kept for each reason (slow, failed, asked for, sampled) in addition to `recent`.
    pub keep: usize,
    /// Keeps one in N requests; 0 keeps none.
    pub sample_one_in: u64,
    /// Thresholds by request type, e.g. `{ kv_get = "50ms" }`; other types have `slow-log-threshold`.
    pub slow_thresholds: BTreeMap<String, ReadableDuration>,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            recent: 256,
            in_flight: 4096,
            stamps_per_request: 512,
            keep: 256,
            sample_one_in: 1000,
            slow_thresholds: BTreeMap::new(),
        }
    }
}

impl TraceConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        for (name, value) in [
            ("recent", self.recent),
            ("in-flight", self.in_flight),
            ("stamps-per-request", self.stamps_per_request),
        ] {
            if value == 0 {
                return Err(format!("trace.{name}: expected at least 1, found 0"));
            }
        }
        let unknown = self.slow_thresholds.keys().find(|name| RequestKind::parse(name).is_none());
        match unknown {
            Some(name) => Err(format!(
                "trace.slow-thresholds: expected request types such as kv_get or raw_put, found {name:?}"
            )),
            None => Ok(()),
        }
    }
}

fn ns(duration: &ReadableDuration) -> u64 {
    u64::try_from(duration.0.as_nanos()).unwrap_or(u64::MAX)
}

impl TikvConfig {
    /// Returns the file of the slow log; None: the log.
    pub(crate) fn slow_log_path(&self) -> Option<PathBuf> {
        (!self.slow_log_file.is_empty()).then(|| PathBuf::from(&self.slow_log_file))
    }

    /// Returns which requests are kept.
    pub(crate) fn build_tail_config(&self) -> TailConfig {
        let trace = &self.trace;
        let by_kind = trace.slow_thresholds.iter();
        TailConfig {
            slow_ns: ns(&self.slow_log_threshold),
            slow_by_kind: by_kind.filter_map(|(name, d)| Some((RequestKind::parse(name)?, ns(d)))).collect(),
            one_in: trace.sample_one_in,
            keep: trace.keep,
        }
    }

    pub(crate) fn build_collector_config(&self, reject_reason: fn(u64) -> &'static str) -> CollectorConfig {
        let trace = &self.trace;
        CollectorConfig {
            recent: trace.recent,
            in_flight: trace.in_flight,
            stamps_per_request: trace.stamps_per_request,
            tail: self.build_tail_config(),
            reject_reason,
            ..CollectorConfig::default()
        }
    }
}
