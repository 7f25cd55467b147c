//! The JSON data of a page.
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use tracepoints::{catalogue::Class, critical};

use super::{
    lanes::Timeline,
    names::{Names, class_number},
};
use crate::{
    Comparison, Folded,
    cohort::Operation,
    compare::{Basis, units::duration},
    flame::Measure,
    folded::show,
    tree::{Tree, add},
    wall::class_of,
};

#[derive(Clone, Debug, Serialize)]
pub(super) struct Data {
    kind: &'static str,
    unit: String,
    names: Names,
    /// Each class and, for a trace, its time on the critical paths.
    classes: Vec<(&'static str, u64)>,
    pub(super) notes: Vec<String>,
    flame: Flame,
    timeline: Option<Timeline>,
    table: Table,
}

#[derive(Clone, Debug, Serialize)]
struct Side {
    label: String,
    total: u64,
    /// Divisor of the values for the comparison: requests, or the total.
    per: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Flame {
    sides: Vec<Side>,
    /// Whether sides are compared by share, not by request.
    relative: bool,
    inverted: bool,
    parent: Vec<usize>,
    name: Vec<usize>,
    /// Values per side and node, each of the node and all below it.
    value: Vec<Vec<u64>>,
    /// Index of the class, or -1.
    class: Vec<i64>,
    p: Vec<Option<f64>>,
    significant: Vec<u8>,
}

#[derive(Clone, Debug, Serialize)]
struct Table {
    columns: Vec<Value>,
    rows: Vec<Value>,
    /// Columns: the initial sort column, and the one that Enter searches for in the flame graph.
    sort: usize,
    search: usize,
}

fn columns(of: &[(&str, &str)]) -> Vec<Value> {
    of.iter().map(|(label, unit)| json!({ "label": label, "unit": unit })).collect()
}

fn flame(tree: &Tree, names: &mut Names, sides: Vec<Side>) -> Flame {
    let mut flame = Flame { sides, ..Flame::default() };
    flame.value = vec![Vec::with_capacity(tree.nodes.len()); flame.sides.len()];
    for node in &tree.nodes {
        flame.parent.push(node.parent);
        flame.name.push(names.intern(&node.name));
        flame.class.push(class_number(class_of(&node.name)));
        node.values.iter().enumerate().for_each(|(side, v)| flame.value[side].push(*v));
    }
    flame
}

fn unit_of(folded: &Folded, measure: Measure) -> String {
    match folded.decimals() {
        0 => unit(measure).to_owned(),
        n => format!("{}/{}", unit(measure), 10u64.pow(n)),
    }
}

fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Samples => "samples",
        Measure::Nanoseconds | Measure::CpuTime => "ns",
        Measure::Bytes => "bytes",
    }
}

fn classes(of: impl Fn(Class) -> u64) -> Vec<(&'static str, u64)> {
    Class::ALL.iter().map(|c| (c.name(), of(*c))).collect()
}

impl Data {
    pub(super) fn profile(folded: &Folded, measure: Measure) -> Self {
        let tree = Tree::from_profiles("all", &[folded]);
        let mut names = Names::default();
        let side = Side { label: "all".into(), total: folded.total(), per: 1 };
        let flame = flame(&tree, &mut names, vec![side]);
        let leaves = leaf_classes(folded, measure);
        Self {
            kind: "profile",
            unit: unit_of(folded, measure),
            flame,
            names,
            classes: classes(|c| leaves.get(&c).copied().unwrap_or(0)),
            notes: Vec::new(),
            timeline: None,
            table: by_function(folded),
        }
    }

    pub(super) fn trace(operations: &[Operation], folded: &Folded) -> Self {
        let tree = Tree::from_profiles("all", &[folded]);
        let mut names = Names::default();
        let side = Side { label: "all".into(), total: folded.total(), per: 1 };
        let flame = flame(&tree, &mut names, vec![side]);
        let timeline = Timeline::build(operations, &mut names);
        let of = |c: Class| {
            let spent = operations.iter().filter_map(|o| o.path.classes.get(&c).copied());
            spent.fold(0, u64::saturating_add)
        };
        Self {
            kind: "trace",
            unit: "ns".to_owned(),
            flame,
            names,
            classes: classes(of),
            notes: notes(operations),
            timeline: Some(timeline),
            table: by_stage(operations),
        }
    }

    pub(super) fn diff(c: &Comparison) -> Self {
        let mut names = Names::default();
        let side = |side: &crate::compare::Side| Side {
            label: side.label.clone(),
            total: side.total(),
            per: if c.basis == Basis::Share { side.total() } else { side.requests.len() as u64 },
        };
        let mut flame = flame(&c.tree, &mut names, vec![side(&c.before), side(&c.after)]);
        flame.relative = c.basis == Basis::Share;
        flame.p = c.frames.iter().map(|f| f.p).collect();
        // Untested frames are drawn like significant ones.
        flame.significant = c.frames.iter().map(|f| u8::from(f.p.is_none() || f.significant())).collect();
        Self {
            kind: "diff",
            unit: unit(c.measure).to_owned(),
            flame,
            names,
            classes: classes(|_| 0),
            notes: vec![c.totals(), c.test()],
            timeline: None,
            table: by_difference(c),
        }
    }
}

/// Sums the time by the class in each leaf.
fn leaf_classes(folded: &Folded, measure: Measure) -> BTreeMap<Class, u64> {
    let mut out = BTreeMap::new();
    for (stack, count) in folded.iter().filter(|_| measure == Measure::Nanoseconds) {
        if let Some(class) = stack.rsplit(';').next().and_then(class_of) {
            add(out.entry(class).or_default(), count);
        }
    }
    out
}

/// Describes the critical path of one operation, or the durations of several.
fn notes(operations: &[Operation]) -> Vec<String> {
    let write = |ns: u64| duration(ns as f64);
    let mut out = match operations {
        [one] => critical::lines(&one.path, &write),
        many => {
            let mut ns: Vec<u64> = many.iter().map(Operation::duration_ns).collect();
            ns.sort_unstable();
            let at = |share: f64| write(ns[((ns.len() - 1) as f64 * share).round() as usize]);
            vec![format!("{} requests: p50 {}, p99 {}, longest {}", ns.len(), at(0.5), at(0.99), at(1.0))]
        }
    };
    let dropped = operations.iter().map(|o| o.dropped).fold(0, u64::saturating_add);
    if dropped > 0 {
        out.push(format!("{dropped} stamps are missing: their time counts for the stage before them"));
    }
    out
}

/// Lists functions by the cost of their own code and including callees.
fn by_function(folded: &Folded) -> Table {
    let mut functions: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (stack, count) in folded.iter() {
        let frames: Vec<&str> = stack.split(';').collect();
        let mut seen = std::collections::HashSet::new();
        for frame in &frames {
            let entry = functions.entry(frame).or_default();
            // A recursive function counts once.
            add(&mut entry.1, if seen.insert(*frame) { count } else { 0 });
        }
        if let Some(leaf) = frames.last() {
            add(&mut functions.entry(leaf).or_default().0, count);
        }
    }
    let total = folded.total().max(1) as f64;
    let row = |(name, (own, all)): (&&str, &(u64, u64))| {
        json!([show(name), own, *own as f64 / total, all, *all as f64 / total])
    };
    Table {
        columns: columns(&[
            ("frame", "text"),
            ("self", ""),
            ("of all", "percent"),
            ("with callees", ""),
            ("of all ", "percent"),
        ]),
        rows: functions.iter().map(row).collect(),
        sort: 1,
        search: 0,
    }
}

#[derive(Default)]
struct Spent {
    count: u64,
    ns: u64,
    max: u64,
    critical: u64,
}

/// Lists stages by kind, stage and store, with their part of the critical path.
fn by_stage(operations: &[Operation]) -> Table {
    let mut stages: BTreeMap<StageKey<'_>, Spent> = BTreeMap::new();
    operations.iter().for_each(|operation| add_steps(operation, &mut stages));
    let total = operations.iter().map(Operation::duration_ns).fold(0, u64::saturating_add);
    let row = |((kind, stage, store, main), s): (&StageKey<'_>, &Spent)| {
        let class = tracepoints::find_stage(stage).map_or("", |s| s.class.name());
        let store = if *store == 0 { "client, PD".to_owned() } else { format!("store {store}") };
        let lane = if *main { "main" } else { "replica" };
        let mean = s.ns / s.count.max(1);
        let share = s.critical as f64 / (total as f64).max(1.0);
        json!([stage, kind, store, lane, class, s.count, s.ns, mean, s.max, s.critical, share])
    };
    Table {
        columns: columns(&[
            ("stage", "text"),
            ("request", "text"),
            ("where", "text"),
            ("lane", "text"),
            ("class", "text"),
            ("count", "count"),
            ("total", "ns"),
            ("mean", "ns"),
            ("longest", "ns"),
            ("on the critical path", "ns"),
            ("of all", "percent"),
        ]),
        rows: stages.iter().map(row).collect(),
        sort: 9,
        search: 0,
    }
}

/// Kind of request, stage, store, and whether the step is in the main lane.
type StageKey<'a> = (&'a str, &'a str, u64, bool);

/// Adds the time of each step of an operation.
fn add_steps<'a>(operation: &'a Operation, stages: &mut BTreeMap<StageKey<'a>, Spent>) {
    let mut critical = vec![0; operation.steps.len()];
    for segment in &operation.path.segments {
        add(&mut critical[segment.step], segment.dur_ns);
    }
    for (step, critical) in operation.steps.iter().zip(critical) {
        // A replica's last stamp has no duration, but the operation may have waited after it.
        let ns = step.dur_ns.max(critical);
        let key = (step.kind.as_str(), step.stage.as_str(), step.store, step.lane == "main");
        let spent = stages.entry(key).or_default();
        spent.count += 1;
        add(&mut spent.ns, ns);
        spent.max = spent.max.max(ns);
        add(&mut spent.critical, critical);
    }
}

fn by_difference(c: &Comparison) -> Table {
    let unit = if c.basis == Basis::Share { "percent" } else { "ns" };
    let (a, b) = (&c.before.label, &c.after.label);
    let per = if c.basis == Basis::Share { "" } else { " a request" };
    let delta = if c.basis == Basis::Share { "points" } else { "delta" };
    let row = |f: &crate::compare::FrameDelta| {
        let path = if f.path.is_empty() { "all" } else { &f.path };
        let name = &c.tree.nodes[f.node].name;
        let verdict = match f.p {
            None => "not tested",
            Some(_) if f.significant() => "significant",
            Some(_) => "may be due to chance",
        };
        json!([name, f.before, f.after, f.delta(), f.change(), f.p, verdict, path.replace(';', " › ")])
    };
    Table {
        columns: columns(&[
            ("frame", "text"),
            (&format!("{a}{per}"), unit),
            (&format!("{b}{per}"), unit),
            ("delta", delta),
            ("change", "change"),
            ("p", "p"),
            ("verdict", "text"),
            ("path", "text"),
        ]),
        rows: c.frames.iter().map(row).collect(),
        sort: 3,
        search: 0,
    }
}
