//! The wall-clock flame of an operation: operation, request, layer, stage, each as wide as its time.
use std::collections::BTreeMap;

use tracepoints::{catalogue::Class, find_stage, request::RequestInfo, trace::Step};

/// One bar of the flame.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Level of the bar: 0 for the operation.
    pub depth: usize,
    /// Start of the bar, in ns since the operation began.
    pub from_ns: u64,
    /// End of the bar, in ns since the operation began.
    pub to_ns: u64,
    /// The text in the bar.
    pub label: String,
    /// The layer, which decides the colour.
    pub layer: String,
    /// The class of a stage's bar.
    pub class: Option<Class>,
    /// Time of the bar's stages, in ns: the length of the bar without its gaps.
    pub dur_ns: u64,
    /// The step of a stage's bar.
    pub step: Option<usize>,
    /// Identifies the frame across operations: its path without the operation's name and without stores.
    pub key: String,
}

/// The meaning of the bars' colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colours {
    /// The layer of the code.
    #[default]
    Layer,
    /// The class of the time: work, queue, latch ...
    Class,
    /// More or less time than in the previous operation.
    Diff,
}

/// The view of the flame: selection, zoom, search and colours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlameView {
    /// Index of the selected bar.
    pub selected: usize,
    /// Nested windows of time, in ns; the last one is shown.
    pub zoom: Vec<(u64, u64)>,
    /// The searched text; empty without a search.
    pub query: String,
    /// The query is being typed.
    pub typing: bool,
    /// Draw the operation at the bottom.
    pub inverted: bool,
    /// The meaning of the colours.
    pub colours: Colours,
    /// Show only stacks that contain this frame.
    pub only: Option<String>,
    /// Show the legend of the colours.
    pub legend: bool,
    /// Show the help of this view.
    pub help: bool,
    /// Show the timeline with its messages instead of the bars.
    pub timeline: bool,
    /// The selected step of the timeline, by its number.
    pub step: usize,
}

impl FlameView {
    /// The shown window of time, in ns, of an operation that took `wall_ns`.
    pub fn window(&self, wall_ns: u64) -> (u64, u64) {
        self.zoom.last().copied().unwrap_or((0, wall_ns.max(1)))
    }

    /// Whether the search matches a label.
    pub fn hits(&self, label: &str) -> bool {
        !self.query.is_empty() && label.to_lowercase().contains(&self.query.to_lowercase())
    }
}

/// The time of each frame in ns, by [`Bar::key`], to compare operations.
pub type Spent = BTreeMap<String, u64>;

/// Sums the bars' times by frame.
pub fn spent(bars: &[Bar]) -> Spent {
    let mut out = Spent::new();
    for bar in bars {
        let sum: &mut u64 = out.entry(bar.key.clone()).or_default();
        *sum = sum.saturating_add(bar.dur_ns);
    }
    out
}

/// A folded stack: the names from the operation down to the stage, and the wall time in ns.
pub type Fold = (Vec<String>, u64);

/// The main lane's stacks, in the order of the steps.
fn stacks<'a>(title: &str, steps: &'a [Step], requests: &[RequestInfo]) -> Vec<(Vec<String>, &'a Step)> {
    let mut out = Vec::new();
    for step in steps.iter().filter(|s| s.lane == "main") {
        let mut names = vec![title.to_owned()];
        if step.kind != "client" {
            let store = requests.iter().find(|r| r.id == step.request).map_or(step.store, |r| r.store);
            names.push(if store == 0 { step.kind.clone() } else { format!("{} (store {store})", step.kind) });
        }
        names.push(step.layer.clone());
        names.push(step.stage.clone());
        out.push((names, step));
    }
    out
}

/// Folds the stacks in the order of time, for a picture with time from left to right.
pub fn in_time(title: &str, steps: &[Step], requests: &[RequestInfo]) -> Vec<Fold> {
    let stacks = stacks(title, steps, requests).into_iter().filter(|(_, step)| step.dur_ns > 0);
    let mut out: Vec<_> = stacks.collect();
    out.sort_by_key(|(_, step)| step.at_ns);
    out.into_iter().map(|(names, step)| (names, step.dur_ns)).collect()
}

/// Folds the stacks for a flamegraph: adds up equal stacks.
pub fn folded(title: &str, steps: &[Step], requests: &[RequestInfo]) -> Vec<Fold> {
    let mut out: Vec<Fold> = Vec::new();
    for (names, step) in stacks(title, steps, requests).into_iter().filter(|(_, s)| s.dur_ns > 0) {
        match out.iter_mut().find(|(n, _)| *n == names) {
            Some((_, ns)) => *ns = ns.saturating_add(step.dur_ns),
            None => out.push((names, step.dur_ns)),
        }
    }
    out
}

/// Builds the bars, by depth and time. Neighbours with equal paths share a bar. `only`: filter by this frame.
pub fn bars(title: &str, steps: &[Step], requests: &[RequestInfo], only: Option<&str>) -> Vec<Bar> {
    let mut stacks = stacks(title, steps, requests);
    if let Some(only) = only {
        stacks.retain(|(names, _)| names.iter().any(|n| n == only));
    }
    let depth = stacks.iter().map(|(n, _)| n.len()).max().unwrap_or(0);
    let mut out: Vec<Bar> = Vec::new();
    for level in 0..depth {
        let mut above: Option<&[String]> = None;
        for (names, step) in &stacks {
            if level >= names.len() {
                above = None;
                continue;
            }
            let leaf = level + 1 == names.len();
            let path = &names[..=level];
            match out.last_mut() {
                Some(bar) if above == Some(path) && !leaf => {
                    // The time of stages that run in parallel counts once.
                    let end = step.at_ns.saturating_add(step.dur_ns);
                    let more = end.saturating_sub(step.at_ns.max(bar.to_ns));
                    bar.dur_ns = bar.dur_ns.saturating_add(more);
                    bar.to_ns = bar.to_ns.max(end);
                }
                _ => out.push(bar(path, step, leaf)),
            }
            above = Some(path);
        }
    }
    out
}

fn bar(path: &[String], step: &Step, leaf: bool) -> Bar {
    let plain = path.iter().skip(1).map(|n| n.split(" (").next().unwrap_or(n));
    Bar {
        depth: path.len() - 1,
        from_ns: step.at_ns,
        to_ns: step.at_ns.saturating_add(step.dur_ns),
        label: path.last().cloned().unwrap_or_default(),
        layer: step.layer.clone(),
        class: find_stage(&step.stage).filter(|_| leaf).map(|s| s.class),
        dur_ns: step.dur_ns,
        step: leaf.then_some(step.step),
        key: plain.collect::<Vec<_>>().join(";"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(i: usize, kind: &str, layer: &str, stage: &str, dur_ns: u64) -> Step {
        let (kind, layer, stage, lane) = (kind.into(), layer.into(), stage.into(), "main".into());
        let at_ns = [0, 50, 60, 80][i];
        Step { step: i, kind, layer, stage, lane, at_ns, dur_ns, request: 1, ..Step::default() }
    }

    #[test]
    fn sums_of_damaged_times_do_not_overflow() {
        let steps = [0, 1].map(|i| step(i, "kv_get", "grpc", "grpc_receive", u64::MAX));
        let folds = folded("get", &steps, &[]);
        assert_eq!(folds.iter().map(|(_, ns)| *ns).collect::<Vec<_>>(), [u64::MAX]);
        assert_eq!(spent(&bars("get", &steps, &[], None)).values().max(), Some(&u64::MAX));
    }

    #[test]
    fn bars_nest_and_cover_the_whole_time() {
        let steps = [
            step(0, "client", "client", "client_send", 50),
            step(1, "kv_get", "grpc", "grpc_receive", 10),
            step(2, "kv_get", "mvcc", "lock_cf_get", 20),
            step(3, "kv_get", "mvcc", "write_cf_seek", 20),
        ];
        let bars = bars("get", &steps, &[], None);
        let level = |d| {
            bars.iter()
                .filter(move |b| b.depth == d)
                .map(|b| (b.label.as_str(), b.dur_ns))
                .collect::<Vec<_>>()
        };
        assert_eq!(level(0), [("get", 100)]);
        assert_eq!(level(1), [("client", 50), ("kv_get", 50)]);
        assert_eq!(level(2), [("client_send", 50), ("grpc", 10), ("mvcc", 40)]);
        assert_eq!(level(3), [("grpc_receive", 10), ("lock_cf_get", 20), ("write_cf_seek", 20)]);
        assert_eq!((bars[2].from_ns, bars[2].to_ns, bars[2].class), (50, 100, None));
        assert_eq!(
            bars.last().map(|b| (b.class, b.key.as_str())),
            Some((Some(Class::Work), "kv_get;mvcc;write_cf_seek"))
        );
        let only = super::bars("get", &steps, &[], Some("mvcc"));
        assert_eq!(only.iter().map(|b| b.dur_ns).collect::<Vec<_>>(), [40, 40, 40, 20, 20]);
        assert_eq!(spent(&only)["kv_get;mvcc"], 40);
        assert_eq!(folded("get", &steps, &[]).iter().map(|f| f.1).sum::<u64>(), 100);
    }

    #[test]
    fn no_bar_takes_more_than_the_operation() {
        let steps = [
            step(0, "client", "client", "client_send", 50),
            step(1, "kv_get", "grpc", "grpc_receive", 50),
            step(2, "kv_get", "grpc", "grpc_decode", 40),
            step(3, "kv_get", "mvcc", "write_cf_seek", 15),
        ];
        for bar in bars("get", &steps, &[], None) {
            assert!(bar.dur_ns <= bar.to_ns - bar.from_ns && bar.to_ns <= 100, "{bar:?}");
        }
    }
}
