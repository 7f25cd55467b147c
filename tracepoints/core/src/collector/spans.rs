//! How long each stage of a recorded request lasted: the numbers of its trace without the texts.
use super::RecordedRequest;
use crate::catalogue::{Lane, StageId};

/// One stage of a request. Those of the main lane follow one another without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub stage: StageId,
    pub store: u16,
    /// See [`crate::thread::info`].
    pub thread: u16,
    /// In ns, on the clock of the request's stamps.
    pub at_ns: u64,
    /// Until the next stage of the main lane or the end; on the replica lane until the next on its store. 0 for the last
    /// one if its end is not known.
    pub dur_ns: u64,
}

impl Span {
    pub fn lane(&self) -> Lane {
        self.stage.stage().lane
    }
}

impl RecordedRequest {
    /// Its stages in the order of their begin; the same times as those of the steps of [`RecordedRequest::trace`].
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::with_capacity(self.stamps.len());
        let mut main: Option<usize> = None;
        // The last stage of each store's replica lane; stores are few.
        let mut replicas: Vec<(u16, usize)> = Vec::new();
        for stamp in &self.stamps {
            let Some(site) = stamp.site.filter(|s| !s.is_mark()) else { continue };
            let (at, index) = (stamp.at, spans.len());
            let (stage, store, thread) = (site.stage, stamp.store, stamp.thread);
            let before = match stage.stage().lane {
                Lane::Replica => match replicas.iter_mut().find(|(s, _)| *s == store) {
                    Some((_, last)) => Some(std::mem::replace(last, index)),
                    None => {
                        replicas.push((store, index));
                        None
                    }
                },
                // What is stamped behind the end takes none of the request's time.
                Lane::Main if self.end_ns.is_some_and(|end| end < at) => {
                    close_at_end(self, &mut main, &mut spans)
                }
                Lane::Main => main.replace(index),
            };
            if let Some(before) = before {
                spans[before].dur_ns = at.saturating_sub(spans[before].at_ns);
            }
            spans.push(Span { stage, store, thread, at_ns: at, dur_ns: 0 });
        }
        close_at_end(self, &mut main, &mut spans);
        spans
    }

    /// From its begin to its end, in ns; None if one of them was not seen.
    pub fn duration_ns(&self) -> Option<u64> {
        Some(self.end_ns?.saturating_sub(self.begin_ns)).filter(|_| self.began)
    }
}

/// The last stage of the main lane lasts until the end, if that is known.
fn close_at_end(request: &RecordedRequest, main: &mut Option<usize>, spans: &mut [Span]) -> Option<usize> {
    if let (Some(end), Some(last)) = (request.end_ns, main.take()) {
        spans[last].dur_ns = end.saturating_sub(spans[last].at_ns);
    }
    None
}
