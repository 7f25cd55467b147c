//! Compares two profiles, or two cohorts of requests, frame by frame: the cost per request on both sides, the
//! difference, and its statistical significance.
pub mod stats;
mod svg;
mod text;
pub(crate) mod units;

use crate::{
    Folded, ProfileError,
    flame::Measure,
    tree::{Tree, add},
};

/// Level of significance for p after multiplication by the number of tested frames (Bonferroni).
pub const LEVEL: f64 = 0.05;

/// One side of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// The label, e.g. a file's name or `p99..100`.
    pub label: String,
    /// All stacks.
    pub folded: Folded,
    /// Each request's own stacks in a cohort. Empty for a profile of samples.
    pub requests: Vec<Folded>,
}

impl Side {
    /// Makes a side of samples.
    pub fn samples(label: &str, folded: Folded) -> Self {
        Self { label: label.to_owned(), folded, requests: Vec::new() }
    }

    /// Makes a side of requests, each with its own stacks.
    pub fn cohort(label: &str, requests: Vec<Folded>) -> Self {
        Self { label: label.to_owned(), folded: crate::cohort::sum(&requests), requests }
    }

    /// Returns the sum of all counts.
    pub fn total(&self) -> u64 {
        self.folded.total()
    }
}

/// The compared quantity, which determines the widths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Time per request. Tested with Mann-Whitney over the requests' own times.
    Request,
    /// Share of all samples. Tested with two proportions, assuming independent samples.
    Share,
}

/// A frame with its callers.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameDelta {
    /// Node in [`Comparison::tree`].
    pub node: usize,
    /// `a;b;c`.
    pub path: String,
    /// Cost per request in ns; or the share, 0 to 1.
    pub before: f64,
    /// As `before`, of the other side.
    pub after: f64,
    /// p times the number of tested frames, at most 1. `None`: too little data to test.
    pub p: Option<f64>,
}

impl FrameDelta {
    /// Returns the difference: positive if it costs more.
    pub fn delta(&self) -> f64 {
        self.after - self.before
    }

    /// Returns the change relative to before; `None` for a new frame.
    pub fn change(&self) -> Option<f64> {
        (self.before > 0.0).then(|| self.after / self.before - 1.0)
    }

    /// Whether the difference is significant at [`LEVEL`].
    pub fn significant(&self) -> bool {
        self.p.is_some_and(|p| p < LEVEL)
    }
}

/// Both sides in one tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The side to compare with.
    pub before: Side,
    /// The side that is compared.
    pub after: Side,
    /// Unit of the counts.
    pub measure: Measure,
    /// The compared quantity.
    pub basis: Basis,
    /// The stacks of both sides, with a value for each.
    pub tree: Tree,
    /// One per node of the tree, in its order.
    pub frames: Vec<FrameDelta>,
    /// Number of tested frames.
    pub tested: usize,
}

/// Compares the time per request if both sides are cohorts, otherwise the shares.
///
/// # Errors
/// [`ProfileError::Empty`] if either side is empty.
pub fn compare(before: Side, after: Side, measure: Measure) -> Result<Comparison, ProfileError> {
    if before.folded.is_empty() {
        return Err(ProfileError::Empty("the profile before has no stack to compare"));
    }
    if after.folded.is_empty() {
        return Err(ProfileError::Empty("the profile after has no stack to compare"));
    }
    let tree = Tree::from_profiles("all", &[&before.folded, &after.folded]);
    let cohorts = !before.requests.is_empty() && !after.requests.is_empty();
    let basis = if cohorts { Basis::Request } else { Basis::Share };
    let raw = match basis {
        Basis::Request => by_request(&tree, &before.requests, &after.requests),
        Basis::Share => by_share(&tree, measure, [before.total(), after.total()]),
    };
    let tested = raw.iter().flatten().count();
    let unit = |side: &Side| match basis {
        Basis::Request => side.requests.len() as f64,
        Basis::Share => side.total() as f64,
    };
    let (of_before, of_after) = (unit(&before), unit(&after));
    let frames = tree.nodes.iter().enumerate().map(|(node, n)| FrameDelta {
        node,
        path: tree.path(node),
        before: n.values[0] as f64 / of_before,
        after: n.values[1] as f64 / of_after,
        p: raw[node].map(|p| (p * tested as f64).min(1.0)),
    });
    let frames = frames.collect();
    Ok(Comparison { before, after, measure, basis, tree, frames, tested })
}

/// Tests shares. Samples are counted, so their shares can be tested; ns cannot, since one long request is not
/// many.
fn by_share(tree: &Tree, measure: Measure, totals: [u64; 2]) -> Vec<Option<f64>> {
    let test = |hits: &[u64]| match measure {
        Measure::Samples => stats::two_proportions([hits[0], hits[1]], totals),
        Measure::Nanoseconds | Measure::Bytes | Measure::CpuTime => None,
    };
    tree.nodes.iter().map(|n| test(&n.values)).collect()
}

fn by_request(tree: &Tree, before: &[Folded], after: &[Folded]) -> Vec<Option<f64>> {
    let mut spent: Vec<[Vec<u64>; 2]> = vec![Default::default(); tree.nodes.len()];
    for (side, requests) in [before, after].into_iter().enumerate() {
        let mut here = vec![0u64; tree.nodes.len()];
        for request in requests {
            let mut visited = Vec::new();
            for (stack, ns) in request.iter() {
                for node in std::iter::once(0).chain(tree.walk(stack)) {
                    if here[node] == 0 {
                        visited.push(node);
                    }
                    add(&mut here[node], ns);
                }
            }
            visited.into_iter().for_each(|node| spent[node][side].push(std::mem::take(&mut here[node])));
        }
    }
    let test =
        |[x, y]: &[Vec<u64>; 2]| stats::mann_whitney([x, y], [before.len() - x.len(), after.len() - y.len()]);
    spent.iter().map(test).collect()
}

impl Comparison {
    /// Describes the test that computed p.
    pub fn test(&self) -> String {
        let many = format!("p is times the {} frames tested (Bonferroni)", self.tested);
        match (self.basis, self.tested) {
            (Basis::Request, 0) => "not tested: fewer than 8 requests on a side".into(),
            (Basis::Request, _) => format!("Mann-Whitney over the requests' own times; {many}"),
            (Basis::Share, 0) if self.measure == Measure::Nanoseconds => {
                "not tested: folded times do not contain the number of requests".into()
            }
            (Basis::Share, 0) => "not tested: too few samples".into(),
            (Basis::Share, _) => format!("two-proportion z over the samples; {many}"),
        }
    }

    /// Formats both totals in their own units.
    pub fn totals(&self) -> String {
        let of = |side: &Side| {
            let total = match self.measure {
                Measure::Samples => format!("{} samples", side.total()),
                Measure::Bytes => format!("{} bytes", side.total()),
                Measure::Nanoseconds | Measure::CpuTime => units::duration(side.total() as f64),
            };
            match side.requests.len() {
                0 => format!("{} {total}", side.label),
                n => format!("{} {total} of {n} requests", side.label),
            }
        };
        format!("{}; {}", of(&self.before), of(&self.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Folded {
        Folded::parse(text).unwrap()
    }

    fn frame<'a>(c: &'a Comparison, path: &str) -> &'a FrameDelta {
        c.frames.iter().find(|f| f.path == path).unwrap()
    }

    #[test]
    fn samples_are_compared_by_share_not_by_number() {
        let before = Side::samples("old", folded("a;b 500\na;c 500\n"));
        let after = Side::samples("new", folded("a;b 6000\na;c 3000\na;d 1000\n"));
        let c = compare(before, after, Measure::Samples).unwrap();
        let b = frame(&c, "a;b");
        assert_eq!((b.before, b.after), (0.5, 0.6));
        assert!(b.significant() && frame(&c, "a;c").significant() && frame(&c, "a;d").significant());
        assert_eq!(
            (frame(&c, "a;d").change(), frame(&c, "a").p),
            (None, None),
            "the whole of both sides is not tested"
        );
        assert_eq!(c.totals(), "old 1000 samples; new 10000 samples");
        assert!(c.test().contains("two-proportion") && c.test().contains("3 frames"));
    }

    #[test]
    fn cohorts_are_compared_by_request() {
        let side = |label: &str, n: u64, queue: u64| {
            let of = |i: u64| folded(&format!("get;queue {}\nget;run {}\n", queue + i, 100 + i % 7));
            Side::cohort(label, (0..n).map(of).collect())
        };
        let c = compare(side("p50", 40, 10), side("p99", 20, 500), Measure::Nanoseconds).unwrap();
        let (queue, run) = (frame(&c, "get;queue"), frame(&c, "get;run"));
        assert_eq!((queue.before, queue.after), (29.5, 509.5));
        assert!(queue.significant() && !run.significant(), "{:?}", c.frames);
        assert!((queue.delta() - 480.0).abs() < 1e-9);
        assert!(c.test().contains("Mann-Whitney"));
        assert!(c.totals().contains("of 40 requests; p99"));
        let few = compare(side("a", 3, 1), side("b", 3, 900), Measure::Nanoseconds).unwrap();
        assert!(few.frames.iter().all(|f| f.p.is_none()) && few.test().contains("fewer than 8"));
    }

    #[test]
    fn equal_sides_do_not_differ() {
        let side = || Side::samples("x", folded("a;b 500\na;c 500\n"));
        let c = compare(side(), side(), Measure::Samples).unwrap();
        assert!(c.frames.iter().all(|f| f.delta() == 0.0 && !f.significant()));
    }

    #[test]
    fn empty_sides_and_times_without_requests_are_refused() {
        let (some, none) = (Side::samples("s", folded("a 100")), Side::default());
        let of = |a: &Side, b: &Side| compare(a.clone(), b.clone(), Measure::Nanoseconds);
        assert!(of(&none, &some).unwrap_err().to_string().contains("before"));
        assert!(of(&some, &none).unwrap_err().to_string().contains("after"));
        assert!(of(&some, &some).unwrap().test().contains("do not contain the number of requests"));
    }
}
