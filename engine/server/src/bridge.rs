//! `--bridge`: exports finished requests as they end, as `tracing` spans for a formatter or a Chrome file, or
//! as OTLP for a collector. No request waits for the export.
use std::{
    fs::File,
    io::{self, BufWriter},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use tracepoints::{catalogue::STAGES, collector};
use tracepoints_export::{
    ExportError,
    bridge::{self, ChromeLayer, Feed, TARGET},
    send::{Endpoint, Report, SendConfig, Sender},
};
use tracing_subscriber::{
    Layer, filter::LevelFilter, filter::Targets, fmt::format::FmtSpan, layer::SubscriberExt, registry,
};

/// Selects the spans to export, e.g. `request=info` or `raftstore=debug`; by
/// default all spans of requests and stages.
const FILTER: &str = "RUST_LOG";

/// A destination of finished requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeSink {
    /// Prints a line for each request and stage to standard error.
    Fmt,
    /// Writes trace-event JSON to a file.
    Chrome(PathBuf),
    /// Sends to an OTLP collector.
    Otlp(Endpoint),
}

impl FromStr for BridgeSink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "fmt" => Ok(Self::Fmt),
            Some(("chrome", file)) if !file.is_empty() => Ok(Self::Chrome(file.into())),
            Some(("otlp", url)) => url.parse().map(Self::Otlp).map_err(|e: ExportError| e.to_string()),
            _ => Err(format!("expected fmt, chrome=FILE or otlp=URL, found {text:?}")),
        }
    }
}

/// Error of the bridge to other tracing tools.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The output file cannot be written; its path, and the reason.
    #[error("--bridge chrome: cannot write {0}: {1}; name a file in a directory that this user may write")]
    File(PathBuf, io::Error),
    /// The filter in the environment is invalid.
    #[error("--bridge: {FILTER}: expected a list of TARGET=LEVEL: {0}")]
    Filter(tracing_subscriber::filter::ParseError),
    /// Another subscriber is installed.
    #[error("--bridge: {0}")]
    Subscriber(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// The spans cannot be sent.
    #[error("--bridge otlp: {0}")]
    Send(#[from] ExportError),
    /// The bridge's thread cannot be started.
    #[error("--bridge: cannot start the thread trace-bridge: {0}")]
    Thread(io::Error),
}

type Chrome = ChromeLayer<BufWriter<File>>;

/// The running export of `--bridge`; empty without the flag.
pub struct Bridge {
    feed: Option<Feed>,
    chrome: Option<Chrome>,
    sender: Option<Arc<Sender>>,
}

impl Bridge {
    /// Installs the subscriber of this process and starts the thread `trace-bridge`. With the feature
    /// `tokio-console` the subscriber is installed in any case.
    ///
    /// # Errors
    /// If a sink cannot be opened or the thread cannot start; nothing runs then.
    pub fn start(sinks: &[BridgeSink]) -> Result<Self, BridgeError> {
        let mut bridge = Self { feed: None, chrome: None, sender: None };
        for sink in sinks {
            match sink {
                BridgeSink::Fmt => {}
                BridgeSink::Chrome(path) => bridge.chrome = Some(chrome(path)?),
                BridgeSink::Otlp(to) => {
                    bridge.sender = Some(Arc::new(Sender::start(SendConfig::new(to.clone()))?))
                }
            }
        }
        let fmt = sinks.contains(&BridgeSink::Fmt);
        let spans = fmt || bridge.chrome.is_some();
        if spans || cfg!(feature = "tokio-console") {
            install(fmt, bridge.chrome.clone())?;
        }
        if !sinks.is_empty() {
            bridge.feed = Some(feed(spans, bridge.sender.clone())?);
        }
        Ok(bridge)
    }

    /// Exports the remaining requests and logs how many were lost.
    pub fn finish(self) {
        let Some(feed) = self.feed else { return };
        let report = feed.finish();
        log::info!("bridge: {} requests exported, {} missed", report.delivered, report.missed);
        if let Some(Err(e)) = self.chrome.map(|c| c.finish()) {
            log::error!("bridge: the Chrome file is incomplete: {e}");
        }
        // The feed, the sender's other owner, has been dropped.
        if let Some(Ok(sender)) = self.sender.map(Arc::try_unwrap) {
            let report = sender.finish_within(MAX_FLUSH_TIME);
            log::info!(
                "bridge: {} spans sent to the OTLP collector in {} messages",
                report.sent,
                report.messages
            );
            report_losses(&report);
        }
    }
}

fn chrome(path: &PathBuf) -> Result<Chrome, BridgeError> {
    let file = File::create(path).map_err(|e| BridgeError::File(path.clone(), e))?;
    Ok(ChromeLayer::new(BufWriter::new(file)))
}

/// Excludes the spans of libraries.
fn filter() -> Result<Targets, BridgeError> {
    match std::env::var(FILTER) {
        Ok(text) => text.parse().map_err(BridgeError::Filter),
        Err(_) => {
            let layers = STAGES.iter().map(|s| (s.layer, LevelFilter::DEBUG));
            Ok(Targets::new().with_target(TARGET, LevelFilter::DEBUG).with_targets(layers))
        }
    }
}

fn install(fmt: bool, chrome: Option<Chrome>) -> Result<(), BridgeError> {
    let fmt = fmt.then(|| {
        tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_span_events(FmtSpan::NEW)
            .with_writer(io::stderr)
    });
    let ours = registry().with(fmt.map(|l| filter().map(|f| l.with_filter(f))).transpose()?);
    let ours = ours.with(chrome.map(|l| filter().map(|f| l.with_filter(f))).transpose()?);
    #[cfg(feature = "tokio-console")]
    let ours = ours.with(console_subscriber::spawn());
    Ok(tracing::subscriber::set_global_default(ours)?)
}

fn feed(spans: bool, sender: Option<Arc<Sender>>) -> Result<Feed, BridgeError> {
    // The stores of this process start the collector after this call, and end it before the bridge.
    let look = || collector::current().map(|c| (c.recent(), c.stats().requests));
    let mut losses = Losses::default();
    let take = move |request| {
        if spans {
            bridge::emit(&request);
        }
        if let Some(sender) = &sender {
            // The sender counts requests that find its queue full.
            sender.offer(request);
            losses.look(sender);
        }
    };
    Feed::start(look, take).map_err(BridgeError::Thread)
}

/// Time limit for the last export to an OTLP collector when the server stops.
const MAX_FLUSH_TIME: Duration = Duration::from_secs(5);

/// Minimum time between two log lines about losses.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Logs spans that the OTLP collector did not accept while the server runs.
#[derive(Default)]
struct Losses {
    reported: u64,
    at: Option<Instant>,
}

impl Losses {
    fn look(&mut self, sender: &Sender) {
        if self.at.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        self.at = Some(Instant::now());
        let report = sender.report();
        if lost(&report) > self.reported {
            self.reported = lost(&report);
            report_losses(&report);
        }
    }
}

fn lost(report: &Report) -> u64 {
    report.failed + report.rejected + report.dropped_requests
}

fn report_losses(report: &Report) {
    if lost(report) > 0 {
        let Report { failed, rejected, dropped_requests, .. } = report;
        let why = report.last_error.as_deref().unwrap_or("the queue is full");
        log::warn!(
            "bridge: so far {failed} spans could not be sent to the OTLP collector, it rejected {rejected}, and \
             {dropped_requests} requests found the queue full: {why}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_read_or_refused() {
        assert_eq!("fmt".parse(), Ok(BridgeSink::Fmt));
        assert_eq!("chrome=/tmp/a=b.json".parse(), Ok(BridgeSink::Chrome("/tmp/a=b.json".into())));
        assert!(matches!("otlp=grpc://a:1".parse(), Ok(BridgeSink::Otlp(_))));
        for wrong in ["", "chrome", "chrome=", "Fmt=1"] {
            assert!(wrong.parse::<BridgeSink>().unwrap_err().contains("chrome=FILE"), "{wrong}");
        }
        assert!("otlp=nowhere".parse::<BridgeSink>().unwrap_err().contains("HOST:PORT"));
    }
}
