//! The critical path on the main lane: of parallel requests, the one that the operation waited for.
use std::collections::HashMap;

use crate::{kind::RequestKind, trace::Step};

/// A main-lane step and the start and end, in ns, of its part on the path.
type PathSegment = (usize, u64, u64);

/// Finds the path backwards from the end; returns it in time order.
pub(super) fn walk(steps: &[Step]) -> Vec<PathSegment> {
    let lanes = Lanes::from_steps(steps);
    let mut out = Vec::new();
    let Some(mut at) = lanes.by_end.last().map(|i| steps[*i].end_ns()) else { return out };
    let mut here: Option<usize> = None;
    while let Some(step) = lanes.before(steps, at, here) {
        let (begin, to) = (steps[step].at_ns, steps[step].end_ns().min(at));
        // The step waited for nothing while it was held.
        out.push((step, begin.saturating_add(steps[step].held_ns).min(to), to));
        (at, here) = (begin, Some(step));
    }
    out.reverse();
    out
}

/// Main-lane steps with a duration.
struct Lanes {
    /// Sorted by their end, then by their start.
    by_end: Vec<usize>,
    /// Previous step of the same request.
    before: HashMap<usize, usize>,
}

impl Lanes {
    fn from_steps(steps: &[Step]) -> Self {
        // Some requests of the client run in parallel with its operation, which does not wait for them.
        let operation = steps.iter().any(|s| s.kind == "client");
        let parallel =
            |s: &Step| operation && RequestKind::parse(&s.kind).is_some_and(RequestKind::runs_beside);
        // A step at the greatest time ends where it begins, even with a duration: the walk would stay there.
        let lasting = |s: &Step| s.lane == "main" && s.dur_ns > 0 && s.end_ns() > s.at_ns && !parallel(s);
        let mut by_end: Vec<usize> = (0..steps.len()).filter(|i| lasting(&steps[*i])).collect();
        let (mut last, mut before) = (HashMap::new(), HashMap::new());
        for i in &by_end {
            if let Some(earlier) = last.insert(steps[*i].request, *i) {
                before.insert(*i, earlier);
            }
        }
        by_end.sort_by_key(|i| (steps[*i].end_ns(), steps[*i].at_ns));
        Self { by_end, before }
    }

    /// Finds the step on the path just before `at`: the same request's step, else one that ends there, else
    /// one that spans it, else, after a gap, the last one before it.
    fn before(&self, steps: &[Step], at: u64, here: Option<usize>) -> Option<usize> {
        let own = here.and_then(|i| self.before.get(&i)).filter(|i| steps[**i].end_ns() >= at);
        if let Some(own) = own.filter(|i| steps[**i].at_ns < at) {
            return Some(*own);
        }
        let upto = self.by_end.partition_point(|i| steps[*i].end_ns() <= at);
        let ending = upto.checked_sub(1).map(|n| self.by_end[n]);
        if let Some(ending) = ending.filter(|i| steps[*i].end_ns() == at) {
            return Some(ending);
        }
        let over = self.by_end[upto..].iter().copied().find(|i| steps[*i].at_ns < at);
        over.or(ending)
    }
}
