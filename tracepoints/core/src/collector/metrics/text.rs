//! Prometheus' text format, version 0.0.4.
use std::fmt::Write;

use super::{
    KINDS, OUTCOMES,
    families::{DURATIONS, Duration, Labels},
    histogram::Histogram,
};
use crate::{ending::Outcome, kind::RequestKind};

/// Writes metric families and their samples. Leaves out a family without samples.
#[derive(Debug, Default)]
pub struct TextWriter {
    text: String,
    name: String,
    /// Header of the current family, until its first sample.
    head: String,
}

impl TextWriter {
    /// Begins a family; `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, help: &str, kind: &str) {
        self.name = name.to_owned();
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Writes a sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
        self.line("", &labels.join(","), value);
    }

    /// Writes a sample whose labels are already formatted.
    fn line(&mut self, suffix: &str, labels: &str, value: impl std::fmt::Display) {
        self.text.push_str(&std::mem::take(&mut self.head));
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}{suffix}{open}{labels}{close} {value}", self.name);
    }

    fn histogram(&mut self, row: &Duration, labels: &str, histogram: &Histogram) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (i, n) in histogram.cumulated().enumerate() {
            let bound = row.buckets.bound_ns(i) as f64 / 1e9;
            let le = if i == row.buckets.count { "+Inf".to_owned() } else { bound.to_string() };
            self.line("_bucket", &format!("{labels}{comma}le=\"{le}\""), n);
            total = n;
        }
        self.line("_sum", labels, histogram.sum_ns as f64 / 1e9);
        self.line("_count", labels, total);
    }

    /// Returns the text.
    pub fn finish(self) -> String {
        self.text
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labels(row: &Duration, kind: RequestKind) -> String {
    let (name, rest) = match row.labels {
        Labels::None => return String::new(),
        Labels::Fixed(labels) => return labels.to_owned(),
        Labels::Rpc(rest) => (kind.name(), rest),
        Labels::Command(rest) => (kind.command().to_owned(), rest),
    };
    let comma = if rest.is_empty() { "" } else { "," };
    format!("type=\"{name}\"{comma}{rest}")
}

/// Writes the histograms of one store. Kinds and rows with the same labels are one histogram.
pub(super) fn durations(counts: &[Option<Histogram>], out: &mut TextWriter) {
    let mut first = 0;
    for metric in DURATIONS.chunk_by(|a, b| a.metric == b.metric) {
        out.family(metric[0].metric, metric[0].help, "histogram");
        let mut series: Vec<(String, Histogram)> = Vec::new();
        for (i, row) in metric.iter().enumerate() {
            for (kind, histogram) in RequestKind::ALL.into_iter().zip(&counts[(first + i) * KINDS..]) {
                let Some(histogram) = histogram else { continue };
                let labels = labels(row, kind);
                match series.iter_mut().find(|(l, _)| *l == labels) {
                    Some((_, sum)) => sum.add(histogram),
                    None => series.push((labels, histogram.clone())),
                }
            }
        }
        series.iter().for_each(|(labels, histogram)| out.histogram(&metric[0], labels, histogram));
        first += metric.len();
    }
}

/// Writes the outcomes of one store's requests.
pub(super) fn requests(counts: &[[u64; OUTCOMES]; KINDS], out: &mut TextWriter) {
    out.family("tikv_trace_requests_total", "Finished requests by outcome.", "counter");
    for (kind, counts) in RequestKind::ALL.into_iter().zip(counts) {
        for (outcome, n) in Outcome::ALL.into_iter().zip(counts).filter(|(_, n)| **n > 0) {
            out.sample(&[("type", &kind.name()), ("outcome", outcome.name())], n);
        }
    }
}
