//! The wall-clock flame of an operation: operation, request, layer, stage, each as wide as its time.
use tracepoints::{request::RequestInfo, trace::Step};

/// One bar of the flame; `at` and `width` are shares of the whole, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    pub depth: usize,
    pub at: f64,
    pub width: f64,
    pub label: String,
    pub layer: String,
    pub dur_ns: u64,
    /// The step a stage's bar stands for.
    pub step: Option<usize>,
}

/// A stack of the operation's wall time: its names from the operation down to the stage, and their nanoseconds.
pub type Fold = (Vec<String>, u64);

/// The main lane as stacks, in the order of time.
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

/// Folded stacks for a flamegraph: equal ones are added up.
pub fn folded(title: &str, steps: &[Step], requests: &[RequestInfo]) -> Vec<Fold> {
    let mut out: Vec<Fold> = Vec::new();
    for (names, step) in stacks(title, steps, requests).into_iter().filter(|(_, s)| s.dur_ns > 0) {
        match out.iter_mut().find(|(n, _)| *n == names) {
            Some((_, ns)) => *ns += step.dur_ns,
            None => out.push((names, step.dur_ns)),
        }
    }
    out
}

/// The bars, by depth and time: neighbours with the same names above them are one bar.
pub fn bars(title: &str, steps: &[Step], requests: &[RequestInfo]) -> Vec<Bar> {
    let stacks = stacks(title, steps, requests);
    let total = super::path::wall_ns(steps).max(1) as f64;
    let depth = stacks.iter().map(|(n, _)| n.len()).max().unwrap_or(0);
    let mut out: Vec<Bar> = Vec::new();
    for level in 0..depth {
        let mut above: Option<&[String]> = None;
        for (names, step) in &stacks {
            let Some(label) = names.get(level) else {
                above = None;
                continue;
            };
            let leaf = level + 1 == names.len();
            let path = &names[..=level];
            let to = (step.at_ns + step.dur_ns) as f64 / total;
            match out.last_mut() {
                Some(bar) if above == Some(path) && !leaf => {
                    bar.dur_ns += step.dur_ns;
                    bar.width = bar.width.max(to - bar.at);
                }
                _ => out.push(Bar {
                    depth: level,
                    at: step.at_ns as f64 / total,
                    width: step.dur_ns as f64 / total,
                    label: label.clone(),
                    layer: step.layer.clone(),
                    dur_ns: step.dur_ns,
                    step: leaf.then_some(step.step),
                }),
            }
            above = Some(path);
        }
    }
    out
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
    fn bars_nest_and_cover_the_whole_time() {
        let steps = [
            step(0, "client", "client", "client_send", 50),
            step(1, "kv_get", "grpc", "grpc_receive", 10),
            step(2, "kv_get", "mvcc", "lock_cf_get", 20),
            step(3, "kv_get", "mvcc", "write_cf_seek", 20),
        ];
        let bars = bars("get", &steps, &[]);
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
        assert_eq!(folded("get", &steps, &[]).iter().map(|f| f.1).sum::<u64>(), 100);
    }
}
