//! The critical path over the main lane: of requests side by side, the one that its operation waited for.
use std::collections::HashMap;

use crate::trace::Step;

/// A main-lane step and the part of its time that is on the path, in ns.
type Stretch = (usize, u64, u64);

/// Backwards from the end, then put in order.
pub(super) fn walk(steps: &[Step]) -> Vec<Stretch> {
    let lanes = Lanes::of(steps);
    let mut out = Vec::new();
    let Some(mut at) = lanes.by_end.last().map(|i| end(&steps[*i])) else { return out };
    let mut here: Option<usize> = None;
    while let Some(step) = lanes.before(steps, at, here) {
        let (from, to) = (steps[step].at_ns, end(&steps[step]).min(at));
        out.push((step, from, to));
        (at, here) = (from, Some(step));
    }
    out.reverse();
    out
}

fn end(step: &Step) -> u64 {
    step.at_ns + step.dur_ns
}

/// Main-lane steps that last.
struct Lanes {
    /// By their end, then by their begin.
    by_end: Vec<usize>,
    /// The step before, of the same request.
    before: HashMap<usize, usize>,
}

impl Lanes {
    fn of(steps: &[Step]) -> Self {
        let lasting = |s: &Step| s.lane == "main" && s.dur_ns > 0;
        let mut by_end: Vec<usize> = (0..steps.len()).filter(|i| lasting(&steps[*i])).collect();
        let (mut last, mut before) = (HashMap::new(), HashMap::new());
        for i in &by_end {
            if let Some(earlier) = last.insert(steps[*i].request, *i) {
                before.insert(*i, earlier);
            }
        }
        by_end.sort_by_key(|i| (end(&steps[*i]), steps[*i].at_ns));
        Self { by_end, before }
    }

    /// What the path was in just before `at`: the same request's step, else one that ends there, else one that lasts
    /// over it, else, after a gap, the last one before.
    fn before(&self, steps: &[Step], at: u64, here: Option<usize>) -> Option<usize> {
        let own = here.and_then(|i| self.before.get(&i)).filter(|i| end(&steps[**i]) >= at);
        if let Some(own) = own.filter(|i| steps[**i].at_ns < at) {
            return Some(*own);
        }
        let upto = self.by_end.partition_point(|i| end(&steps[*i]) <= at);
        let ending = upto.checked_sub(1).map(|n| self.by_end[n]);
        if let Some(ending) = ending.filter(|i| end(&steps[*i]) == at) {
            return Some(ending);
        }
        let over = self.by_end[upto..].iter().copied().find(|i| steps[*i].at_ns < at);
        over.or(ending)
    }
}
