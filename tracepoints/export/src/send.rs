//! Sends spans to an OTLP collector, over gRPC or HTTP, on a thread of its own.
//!
//! Requests wait in a bounded queue; adding one never blocks. A request that does not fit, or cannot be
//! delivered after all retries, is counted.
mod endpoint;
mod grpc;
mod http;
mod queue;
mod retry;

pub use endpoint::{Endpoint, Protocol};
pub use queue::{Report, Sender};

use std::time::Duration;

/// Parameters of batching and sending.
#[derive(Clone, Debug)]
pub struct SendConfig {
    /// The address of the collector.
    pub endpoint: Endpoint,
    /// Approximate number of spans in a message: a request is not split.
    pub batch_spans: usize,
    /// Maximum time that a batch waits to fill.
    pub linger: Duration,
    /// Maximum number of waiting requests; further ones are dropped and counted.
    pub queue: usize,
    /// Timeout of one attempt.
    pub timeout: Duration,
    /// Number of attempts after the first failed one.
    pub retries: u32,
    /// Pause before the first retry; doubled for each further one.
    pub backoff: Duration,
    /// Longest pause between two attempts.
    pub max_backoff: Duration,
    /// Stops for good at the first batch that cannot be delivered.
    pub stop_at_failure: bool,
}

impl SendConfig {
    /// Makes a configuration with the defaults.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            batch_spans: 512,
            linger: Duration::from_millis(500),
            queue: 4096,
            timeout: Duration::from_secs(10),
            retries: 5,
            backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(5),
            stop_at_failure: false,
        }
    }
}
