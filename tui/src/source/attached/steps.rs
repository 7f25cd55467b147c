//! Merges the steps of requests on several processes into the steps of one operation.
use std::collections::HashMap;

use tracepoints::trace::{Step, Summary};

/// The link of the client's own steps.
const CLIENT: usize = usize::MAX;
/// The request of the client's own steps; no server has counted that far.
const CLIENT_REQUEST: u64 = (1 << 52) - 1;

/// The steps of one operation so far.
#[derive(Default)]
pub(super) struct Merged {
    /// Numbers in the operation, by link, request and number in the request.
    numbers: HashMap<(usize, u64, usize), usize>,
    /// Start of each request in the operation, in ns, by link and request. The processes have clocks of
    /// their own, so a request begins when the newest known step ends.
    begins: HashMap<(usize, u64), u64>,
    /// Start of each step of the client, in ns, by its number there.
    client_at: HashMap<usize, u64>,
    end_ns: u64,
    summary: Option<Summary>,
}

impl Merged {
    /// Whether no step of a server has arrived yet.
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.keys().all(|(link, ..)| *link == CLIENT)
    }

    /// Whether the step of a link's request has a place.
    pub(super) fn knows(&self, link: usize, step: &Step) -> bool {
        self.numbers.contains_key(&(link, step.request, step.step))
    }

    /// Whether the client's step has a place.
    pub(super) fn knows_client(&self, step: &Step) -> bool {
        self.numbers.contains_key(&(CLIENT, CLIENT_REQUEST, step.step))
    }

    /// Gives a step of the client its number and its time: it begins when the newest known step ends. Its duration is
    /// known only if the client's next step follows: the clocks of the client and of a server differ.
    pub(super) fn place_client(&mut self, mut step: Step) -> Step {
        let (next, local) = (self.numbers.len(), step.step);
        step.request = CLIENT_REQUEST;
        step.step = *self.numbers.entry((CLIENT, CLIENT_REQUEST, local)).or_insert(next);
        step.at_ns = *self.client_at.entry(local).or_insert(self.end_ns);
        if is_sending(&step) || step.step + 1 != self.numbers.len() {
            step.dur_ns = 0;
        }
        self.end_ns = self.end_ns.max(step.end_ns());
        step
    }

    /// Gives a request's step its number and its time in the operation.
    pub(super) fn place(&mut self, link: usize, mut step: Step) -> Step {
        let begin = *self.begins.entry((link, step.request)).or_insert(self.end_ns);
        let next = self.numbers.len();
        step.step = *self.numbers.entry((link, step.request, step.step)).or_insert(next);
        step.at_ns = step.at_ns.saturating_add(begin);
        self.end_ns = self.end_ns.max(step.end_ns());
        step
    }

    /// Adds the times of a request that has ended; returns those of the operation.
    pub(super) fn add(&mut self, summary: Summary) -> Summary {
        let sum = match self.summary.take() {
            None => summary,
            Some(before) => {
                let stage_ns = before.stage_ns.saturating_add(summary.stage_ns);
                let wall_ns = before.wall_ns.saturating_add(summary.wall_ns);
                let accounted = if wall_ns == 0 { 1.0 } else { stage_ns as f64 / wall_ns as f64 };
                Summary {
                    stage_ns,
                    wall_ns,
                    accounted,
                    dropped: before.dropped.saturating_add(summary.dropped),
                }
            }
        };
        self.summary = Some(sum.clone());
        sum
    }

    /// The times of the requests that have ended.
    pub(super) fn summary(&self) -> Summary {
        self.summary.clone().unwrap_or_default()
    }
}

/// Whether a server's request follows the client's step.
pub(super) fn is_sending(step: &Step) -> bool {
    matches!(step.stage.as_str(), "client_shard" | "client_connect")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_client_follows_the_newest_step() {
        let mut merged = Merged::default();
        let own = |step, stage: &str, dur_ns| Step {
            step,
            stage: stage.into(),
            request: 7,
            at_ns: 900,
            dur_ns,
            ..Step::default()
        };
        let send = merged.place_client(own(0, "client_send", 0));
        assert!(merged.is_empty() && merged.knows_client(&own(0, "", 0)));
        let known = merged.place_client(own(0, "client_send", 4));
        assert_eq!((send.step, known.step, known.at_ns, known.dur_ns), (0, 0, 0, 4));
        let shard = merged.place_client(own(1, "client_shard", 50));
        assert_eq!((shard.step, shard.at_ns, shard.dur_ns), (1, 4, 0), "it has the server's time, too");
        let server = merged.place(0, Step { request: 7, dur_ns: 5, ..Step::default() });
        assert_eq!((server.step, server.at_ns), (2, 4));
        assert_ne!(server.request, shard.request, "two processes may count alike");
        let reply = merged.place_client(own(2, "client_reply", 0));
        assert_eq!((reply.step, reply.at_ns), (3, 9));
        assert_eq!(merged.place_client(own(0, "client_send", 60)).dur_ns, 0, "a server's step came between");
    }

    #[test]
    fn a_retry_on_another_store_follows_the_first_request() {
        let mut merged = Merged::default();
        let step = |step, request, at_ns| Step { step, request, at_ns, dur_ns: 5, ..Step::default() };
        let placed = [
            (0, step(0, 7, 0)),
            (0, step(1, 7, 5)),
            (2, step(0, 7, 0)),
            (2, step(1, 7, 5)),
            (0, step(1, 7, 6)),
        ]
        .map(|(link, step)| merged.place(link, step))
        .map(|step| (step.step, step.at_ns));
        assert_eq!(placed, [(0, 0), (1, 5), (2, 10), (3, 15), (1, 6)], "a known step keeps its number");
        let times = |stage_ns| Summary { stage_ns, wall_ns: 10, accounted: 0.0, dropped: 1 };
        merged.add(times(10));
        let sum = merged.add(times(5));
        assert_eq!((sum.stage_ns, sum.wall_ns, sum.dropped, sum.accounted), (15, 20, 2, 0.75));
    }
}
