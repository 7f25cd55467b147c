//! Computes the duration of each step, the open step of each lane, and the share of wall time that the steps
//! cover.
use std::collections::HashMap;

use super::Step;
use crate::kind::RequestKind;

/// One request's state in the trace.
#[derive(Debug, Default)]
struct Span {
    parent: u64,
    /// The first step, or that of the first child.
    start: Option<u64>,
    end: Option<u64>,
    /// The open step of the main lane.
    open: Option<usize>,
    /// Whether its operation does not wait for it, or waits for it within a stage of its own.
    parallel: bool,
    /// Whether PD answers it.
    of_pd: bool,
}

/// A replica lane: the steps of one request on one store, as (request, store).
type Replica = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Lanes {
    spans: HashMap<u64, Span>,
    replicas: HashMap<Replica, usize>,
    /// An ended step that lasts until another request's step, since nothing else is in flight in between.
    gap: Option<usize>,
    /// Thread ids of the steps, in their order.
    threads: Vec<u16>,
    /// Steps whose duration was set since the last call of [`Lanes::take_closed`].
    closed: Vec<usize>,
}

impl Lanes {
    pub(super) fn begin(&mut self, id: u64, parent: u64, kind: RequestKind) {
        let span = self.spans.entry(id).or_default();
        (span.parent, span.of_pd) = (parent, kind.is_of_pd());
        span.parallel = parent != 0 && kind.runs_beside();
    }

    /// Whether the request asks PD for data while its client is in a backoff.
    fn is_within_backoff(&self, id: u64, steps: &[Step]) -> bool {
        let parent = self.spans.get(&id).filter(|s| s.of_pd).and_then(|s| self.spans.get(&s.parent));
        let open = parent.and_then(|p| p.open).and_then(|i| steps.get(i));
        open.is_some_and(|step| matches!(step.stage.as_str(), "client_backoff" | "client_resolve_lock"))
    }

    /// Handles the last of `steps`, which is new: closes the steps that it ends.
    pub(super) fn push(&mut self, thread: u16, steps: &mut [Step]) {
        self.threads.push(thread);
        let Some(step) = steps.last() else { return };
        let (id, at, index, store) = (step.request, step.at_ns, step.step, step.store);
        if step.lane != "main" {
            self.closed.extend(close(self.replicas.insert((id, store), index), at, steps));
            return;
        }
        let within = self.is_within_backoff(id, steps);
        let span = self.spans.entry(id).or_default();
        span.parallel |= within;
        let (parent, first, parallel) = (span.parent, span.start.is_none(), span.parallel);
        span.start.get_or_insert(at);
        if parallel {
            self.closed.extend(close(span.open.replace(index), at, steps));
            return;
        }
        // A step after the end (work that the reply does not wait for) takes none of the request's time.
        if span.end.is_none() {
            self.closed.extend(close(span.open.replace(index), at, steps));
            self.closed.extend(close(self.gap.take(), at, steps));
        }
        if first && let Some(parent) = self.spans.get_mut(&parent) {
            parent.start.get_or_insert(at);
            self.closed.extend(close(parent.open.take(), at, steps));
        }
    }

    /// Takes the steps whose duration was set since the last call.
    pub(super) fn take_closed(&mut self) -> std::vec::Drain<'_, usize> {
        self.closed.drain(..)
    }

    /// Ends a request; the end of an operation also ends its children.
    pub(super) fn finish(&mut self, id: u64, at: u64, steps: &mut [Step]) {
        let at = at.max(steps.last().map_or(0, |s| s.at_ns));
        let last = self.end(id, at, steps);
        let children: Vec<u64> = self.live_children(id).collect();
        for child in children {
            self.end(child, at, steps);
        }
        let Some(parent) = self.spans.get(&id).filter(|s| !s.parallel).map(|s| s.parent) else { return };
        if parent == 0 {
            self.closed.extend(close(self.gap.take(), at, steps));
        } else if self.spans.get(&parent).is_some_and(|p| p.open.is_none() && p.end.is_none())
            && !self.spans.values().any(|s| s.parent == parent && s.open.is_some() && !s.parallel)
        {
            self.gap = last;
        }
    }

    fn live_children(&self, parent: u64) -> impl Iterator<Item = u64> {
        self.spans.iter().filter(move |(_, s)| s.parent == parent && s.end.is_none()).map(|(id, _)| *id)
    }

    fn end(&mut self, id: u64, at: u64, steps: &mut [Step]) -> Option<usize> {
        let span = self.spans.get_mut(&id).filter(|s| s.end.is_none())?;
        span.end = Some(at);
        let open = span.open.take();
        self.closed.extend(close(open, at, steps));
        open
    }

    fn roots(&self) -> impl Iterator<Item = &Span> {
        self.spans.values().filter(|s| s.parent == 0)
    }

    pub(super) fn finished(&self) -> bool {
        !self.spans.is_empty() && self.roots().all(|s| s.end.is_some())
    }

    /// Returns the step of a probe: the newest one that its request passed on its thread, otherwise the request's
    /// open one on its store. A probe without a request belongs to the newest step: the thread's own steps may be
    /// long past.
    pub(super) fn owner(&self, request: u64, thread: u16, steps: &[Step]) -> usize {
        let newest = steps.len().saturating_sub(1);
        if request == 0 {
            return newest;
        }
        let passed = |(step, by): (&Step, &u16)| *by == thread && step.request == request;
        if let Some(step) = steps.iter().zip(&self.threads).rposition(passed) {
            return step;
        }
        let store = crate::thread::info(thread).store;
        let open = self.spans.values().filter_map(|s| s.open).chain(self.replicas.values().copied());
        open.filter(|i| steps[*i].request == request && steps[*i].store == store).max().unwrap_or(newest)
    }

    /// Returns the time that main-lane steps cover within the roots, and the roots' own time, both in ns.
    /// Held time that no other step covers is in neither.
    pub(super) fn covered(&self, steps: &[Step]) -> (u64, u64) {
        let newest = steps.last().map_or(0, |s| s.at_ns);
        let roots = self.roots().filter_map(|s| Some((s.start?, s.end.unwrap_or(newest))));
        let roots = union(roots.collect());
        let main = || steps.iter().filter(|s| s.lane == "main");
        let work = union(main().map(|s| (s.at_ns.saturating_add(s.held_ns), s.end_ns())).collect());
        let held = main().map(|s| (s.at_ns, s.at_ns.saturating_add(s.held_ns)));
        let all = union(held.chain(work.iter().copied()).collect());
        let length = |spans: &[(u64, u64)]| spans.iter().map(|(a, b)| b - a).sum::<u64>();
        let within = |spans: &[(u64, u64)]| length(&intersection(spans, &roots));
        (within(&work), length(&roots) - (within(&all) - within(&work)))
    }
}

/// Sets the duration of a step; returns the step.
fn close(step: Option<usize>, at: u64, steps: &mut [Step]) -> Option<usize> {
    let closed = steps.get_mut(step?)?;
    closed.dur_ns = at.saturating_sub(closed.at_ns).saturating_sub(closed.held_ns);
    step
}

/// Returns disjoint sorted intervals that cover the union of `spans`.
fn union(mut spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    spans.retain(|(a, b)| a < b);
    spans.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

/// Returns the intersection of two lists of disjoint sorted intervals.
fn intersection(left: &[(u64, u64)], right: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while let (Some(l), Some(r)) = (left.get(i), right.get(j)) {
        let both = (l.0.max(r.0), l.1.min(r.1));
        if both.0 < both.1 {
            out.push(both);
        }
        if l.1 < r.1 { i += 1 } else { j += 1 }
    }
    out
}
