//! Duration of each stage of a recorded request: the times of its trace without the texts.
use super::RecordedRequest;
use crate::catalogue::{Lane, StageId};

/// One stage of a request. Spans of the main lane are adjacent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The stage.
    pub stage: StageId,
    /// The store of its stamp; 0: none.
    pub store: u16,
    /// See [`crate::thread::info`].
    pub thread: u16,
    /// Start in ns, on the clock of the request's stamps.
    pub at_ns: u64,
    /// Duration in ns: until the next stage of the main lane or the end; on the replica lane until the next
    /// stage on the same store. 0 for the last one if its end is unknown.
    pub dur_ns: u64,
}

impl Span {
    /// Returns the lane of the stage.
    pub fn lane(&self) -> Lane {
        self.stage.stage().lane
    }
}

impl RecordedRequest {
    /// Returns the stages by their start, with the times of the steps of [`RecordedRequest::trace`].
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::with_capacity(self.stamps.len());
        let mut main: Option<usize> = None;
        // The last stage of each store's replica lane; there are few stores.
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
                // A stamp after the end takes none of the request's time.
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

    /// Returns the ns from its start to its end; `None` if one of them was not seen.
    pub fn duration_ns(&self) -> Option<u64> {
        Some(self.end_ns?.saturating_sub(self.begin_ns)).filter(|_| self.began)
    }
}

/// Extends the last stage of the main lane to the end, if that is known.
fn close_at_end(request: &RecordedRequest, main: &mut Option<usize>, spans: &mut [Span]) -> Option<usize> {
    if let (Some(end), Some(last)) = (request.end_ns, main.take()) {
        spans[last].dur_ns = end.saturating_sub(spans[last].at_ns);
    }
    None
}
