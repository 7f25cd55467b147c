//! Sends spans to an OTLP collector, over gRPC or HTTP, on a thread of its own.
//!
//! Requests wait in a bounded queue; who puts them there never waits. What does not fit, or cannot be delivered after all
//! retries, is counted, never blocked on.
mod endpoint;
mod grpc;
mod http;
mod queue;
mod retry;

pub use endpoint::{Endpoint, Protocol};
pub use queue::{Report, Sender};

use std::time::Duration;

/// How spans are gathered and sent.
#[derive(Clone, Debug)]
pub struct SendConfig {
    pub endpoint: Endpoint,
    /// Spans in a message, about: a request is not torn apart.
    pub batch_spans: usize,
    /// How long a batch that is not full waits.
    pub linger: Duration,
    /// Requests that may wait; further ones are dropped and counted.
    pub queue: usize,
    /// For one attempt.
    pub timeout: Duration,
    /// Attempts after the first that failed.
    pub retries: u32,
    /// Before the first retry; doubled for each further one.
    pub backoff: Duration,
    pub max_backoff: Duration,
    /// Give up for good at the first batch that cannot be delivered.
    pub stop_at_failure: bool,
}

impl SendConfig {
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
