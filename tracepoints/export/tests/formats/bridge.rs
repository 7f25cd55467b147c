//! Requests with tracing-subscriber: the spans a layer sees, and the ended requests passed on.
use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tracepoints_export::{
    Request,
    bridge::{self, ChromeLayer},
    chrome,
};
use tracing_subscriber::{filter::Targets, fmt::format::FmtSpan, layer::SubscriberExt, registry};

use crate::sample;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn under(filter: &str, out: &Shared) {
    let (filter, writer): (Targets, _) = (filter.parse().unwrap(), out.clone());
    let fmt = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .without_time()
        .with_span_events(FmtSpan::NEW)
        .with_writer(move || writer.clone());
    let subscriber = registry().with(fmt).with(filter);
    tracing::subscriber::with_default(subscriber, || sample::requests().iter().for_each(bridge::emit));
}

#[test]
fn a_formatter_prints_stages_with_fields_below_their_request() {
    let out = Shared::default();
    under("debug", &out);
    let text = out.text();
    let spans: usize = sample::requests().iter().map(|r| r.spans.len() + 1).sum();
    assert_eq!(text.lines().count(), spans, "{text}");
    let put = &sample::requests()[0];
    let line = text
        .lines()
        .find(|l| {
            l.contains("raft_propose{") && l.contains(&format!("raw_put{{start_unix_ns={}", put.start_ns))
        })
        .unwrap();
    assert!(line.starts_with("DEBUG raw_put{"), "{line}");
    for field in
        ["request=", "region=7", "term=6", "index=1", "store=1", "thread=\"raftstore-1-0\"", "duration_ns="]
    {
        assert!(line.contains(field), "{field}: {line}");
    }
}

#[test]
fn a_filter_leaves_out_disabled_spans() {
    let out = Shared::default();
    under("request=info,mvcc=debug", &out);
    let text = out.text();
    assert_eq!(text.lines().count(), 4, "three requests and one stage: {text}");
    assert!(text.contains("mvcc_get{") && !text.contains("raft_propose{"), "{text}");
}

#[test]
fn the_chrome_layer_writes_the_true_times() {
    let out = Shared::default();
    let layer = ChromeLayer::new(out.clone());
    let subscriber = registry().with(layer.clone());
    tracing::subscriber::with_default(subscriber, || {
        let _other = tracing::info_span!("not ours").entered();
        sample::requests().iter().for_each(bridge::emit);
    });
    layer.finish().unwrap();
    let read = chrome::read(out.text().as_bytes()).unwrap();
    let want = sample::in_order(&sample::without_trace_id(sample::requests()));
    let mut got = sample::in_order(&read.requests);
    // Spans that begin at one time have no defined order.
    let sorted = |r: &Request| {
        let mut spans: Vec<String> = r.spans.iter().map(|s| format!("{s:?}")).collect();
        spans.sort();
        spans
    };
    assert_eq!(got.iter().map(sorted).collect::<Vec<_>>(), want.iter().map(sorted).collect::<Vec<_>>());
    for (got, want) in got.iter_mut().zip(&want) {
        got.spans.clone_from(&want.spans);
    }
    assert_eq!(got, want);
}
