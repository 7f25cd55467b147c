//! Handles each ended request: counts it, reports it if it was slow, and keeps it if there is a reason.
use crossbeam::channel::{Receiver, Sender, bounded};

use super::{
    keep::{TailConfig, TailSampler},
    metrics::Metrics,
};
use crate::recorded::{RecordedRequest, Why};

/// A request that exceeded its deadline or threshold.
#[derive(Clone, Debug)]
pub struct SlowRequest {
    /// The request, with its stamps in order.
    pub request: RecordedRequest,
    /// Whether it exceeded its client's deadline; otherwise it exceeded its kind's threshold.
    pub past_deadline: bool,
}

/// Runs on the collector's thread, once per request.
pub(super) struct Observer {
    pub(super) sampler: TailSampler,
    pub(super) metrics: Metrics,
    slow: Option<Sender<SlowRequest>>,
    slow_dropped: u64,
    pub(super) reject_reason: fn(u64) -> &'static str,
}

impl Observer {
    pub(super) fn new(tail: &TailConfig, reject_reason: fn(u64) -> &'static str) -> Self {
        Self {
            sampler: TailSampler::new(tail),
            metrics: Metrics::new(reject_reason),
            slow: None,
            slow_dropped: 0,
            reject_reason,
        }
    }

    /// Returns a receiver of slow requests from now on.
    pub(super) fn slow_requests(&mut self, capacity: usize) -> Receiver<SlowRequest> {
        let (sender, receiver) = bounded(capacity);
        self.slow = Some(sender);
        receiver
    }

    pub(super) fn slow_dropped(&self) -> u64 {
        self.slow_dropped
    }

    pub(super) fn see(&mut self, request: &RecordedRequest) -> Option<Why> {
        self.metrics.count(request);
        let why = self.sampler.why(request);
        // Most requests have no reason to be kept, and those are not slow either.
        if why.is_some() {
            let past_deadline = request.past_deadline();
            if past_deadline || self.sampler.is_slow(request) {
                let mut request = request.clone();
                request.put_in_order();
                self.report_slow(SlowRequest { request, past_deadline });
            }
        }
        why
    }

    fn report_slow(&mut self, slow: SlowRequest) {
        if let Some(sender) = &self.slow
            && sender.try_send(slow).is_err()
        {
            self.slow_dropped += 1;
        }
    }
}
