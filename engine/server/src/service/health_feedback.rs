//! Health feedback: the slow score of this store for clients, which avoid slow stores for replica reads (TiKV
//! `HealthFeedbackAttacher` of `src/server/service/kv.rs`).
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kvproto::{
    kvrpcpb::{GetHealthFeedbackRequest, GetHealthFeedbackResponse, HealthFeedback},
    tikvpb::{BatchCommandsResponse, batch_commands_response::response::Cmd},
};
use tracepoints::{EngineClock, clock::EngineInstant};

use super::{call::Call, health::HealthController};

/// Makes the feedback of one store. Clones share the sequence, by which clients drop older feedback.
#[derive(Clone)]
pub struct FeedbackSource {
    store_id: u64,
    health: HealthController,
    seq: Arc<AtomicU64>,
    /// Minimum interval between two pieces of feedback in a stream; zero: only on request.
    interval: Duration,
}

impl FeedbackSource {
    /// Creates the source of a store.
    pub fn new(store_id: u64, health: HealthController, interval: Duration) -> Self {
        // Above the sequence before a restart.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { store_id, health, seq: Arc::new(AtomicU64::new(since_epoch.as_millis() as u64)), interval }
    }

    /// Makes the next feedback. TiKV: `gen_health_feedback_pb`.
    pub fn generate(&self) -> HealthFeedback {
        HealthFeedback {
            store_id: self.store_id,
            feedback_seq_no: self.seq.fetch_add(1, Ordering::Relaxed),
            slow_score: self.health.get_raftstore_slow_score() as i32,
        }
    }
}

/// Answers with the feedback of this moment.
pub async fn get_health_feedback(
    source: FeedbackSource,
    _: GetHealthFeedbackRequest,
    _: Call,
) -> GetHealthFeedbackResponse {
    GetHealthFeedbackResponse { health_feedback: Some(source.generate()), ..Default::default() }
}

/// Attaches feedback to the messages of one stream.
pub struct HealthFeedbackAttacher {
    source: FeedbackSource,
    last: Option<EngineInstant>,
}

impl HealthFeedbackAttacher {
    /// Creates the attacher of a stream.
    pub fn new(source: FeedbackSource) -> Self {
        Self { source, last: None }
    }

    /// Attaches feedback if a command of the message asks for it, or if the interval has passed. All answers in a
    /// message have the same feedback as the message.
    pub fn attach_if_needed(&mut self, message: &mut BatchCommandsResponse) {
        let mut asked: Option<HealthFeedback> = None;
        for response in &mut message.responses {
            if let Some(Cmd::GetHealthFeedback(reply)) = &mut response.cmd {
                let feedback = asked.get_or_insert_with(|| self.source.generate());
                reply.health_feedback = Some(*feedback);
            }
        }
        let interval = self.source.interval;
        let due = !interval.is_zero() && self.last.is_none_or(|last| last.elapsed() >= interval);
        let feedback = asked.or_else(|| due.then(|| self.source.generate()));
        if feedback.is_some() {
            self.last = Some(EngineClock::now());
            message.health_feedback = feedback;
        }
    }
}

#[cfg(test)]
mod tests {
    use kvproto::tikvpb::batch_commands_response::Response;

    use super::*;

    fn attached(attacher: &mut HealthFeedbackAttacher, asked: usize) -> BatchCommandsResponse {
        let response = Response { cmd: Some(Cmd::GetHealthFeedback(Default::default())) };
        let mut message = BatchCommandsResponse { responses: vec![response; asked], ..Default::default() };
        attacher.attach_if_needed(&mut message);
        message
    }

    #[test]
    fn feedback_comes_once_in_an_interval_and_on_request() {
        let health = HealthController::default();
        let source = FeedbackSource::new(7, health.clone(), Duration::from_secs(3600));
        let mut attacher = HealthFeedbackAttacher::new(source);
        let first = attached(&mut attacher, 0).health_feedback.unwrap();
        assert_eq!((first.store_id, first.slow_score), (7, 1));
        assert_eq!(attached(&mut attacher, 0).health_feedback, None);
        health.update_raftstore_slow_score(50.5);
        let message = attached(&mut attacher, 2);
        let feedback = message.health_feedback.unwrap();
        assert_eq!((feedback.slow_score, feedback.feedback_seq_no), (50, first.feedback_seq_no + 1));
        for response in message.responses {
            let Some(Cmd::GetHealthFeedback(reply)) = response.cmd else { panic!("{response:?}") };
            assert_eq!(reply.health_feedback.as_ref(), Some(&feedback));
        }
    }

    #[test]
    fn interval_zero_gives_feedback_on_request_only() {
        let source = FeedbackSource::new(7, HealthController::default(), Duration::ZERO);
        let mut attacher = HealthFeedbackAttacher::new(source);
        assert_eq!(attached(&mut attacher, 0).health_feedback, None);
        assert!(attached(&mut attacher, 1).health_feedback.is_some());
    }
}
