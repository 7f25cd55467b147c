//! Aligns the steps of two runs by request, stage and occurrence, and finds their differences.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use tracepoints::{
    Facts,
    field::named,
    trace::{Step, Summary},
};

/// A run beside the stepped one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// The title.
    pub title: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// The result.
    pub outcome: String,
}

/// A whole run with its summary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// Title, steps and result.
    pub run: Run,
    /// The sums of its steps.
    pub summary: Summary,
}

/// A step of one run or of both.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Index of the step in the first run.
    pub before: Option<usize>,
    /// Index of the step in the second run.
    pub after: Option<usize>,
    /// The kinds of difference, the most important first.
    pub difference: Difference,
}

/// The difference of two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Fields and outcomes of facts that differ: `write_type Put -> Delete`, `Lock: none -> locked`.
    pub fields: Vec<String>,
    /// The second step took notably more time, or less.
    pub time: Option<Change>,
}

/// The direction of a change of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// More time.
    Slower,
    /// Less time.
    Faster,
}

impl Pair {
    /// The sign of the difference: `-` only in the first run, `+` only in the second, `≠` other fields,
    /// `▲` slower, `▼` faster.
    pub fn sign(&self) -> &'static str {
        match (self.before, self.after, self.difference.time) {
            (_, None, _) => "-",
            (None, _, _) => "+",
            _ if !self.difference.fields.is_empty() => "≠",
            (_, _, Some(Change::Slower)) => "▲",
            (_, _, Some(Change::Faster)) => "▼",
            _ => " ",
        }
    }

    /// Whether the runs differ here.
    pub fn differs(&self) -> bool {
        self.sign() != " "
    }
}

/// The parts of a step that are the same in two runs: request kind, its number among those of the kind, lane,
/// stage, and its occurrence.
type Key<'a> = (&'a str, usize, &'a str, &'a str, usize);

fn keys(steps: &[Step]) -> Vec<Key<'_>> {
    let mut requests: HashMap<u64, usize> = HashMap::new();
    let mut of_kind: HashMap<&str, usize> = HashMap::new();
    let mut seen: HashMap<(&str, usize, &str, &str), usize> = HashMap::new();
    let mut out = Vec::with_capacity(steps.len());
    for step in steps {
        let number = *requests.entry(step.request).or_insert_with(|| {
            let next = of_kind.entry(&step.kind).or_default();
            *next += 1;
            *next
        });
        let occurrence = seen.entry((&step.kind, number, &step.lane, &step.stage)).or_default();
        *occurrence += 1;
        out.push((step.kind.as_str(), number, step.lane.as_str(), step.stage.as_str(), *occurrence));
    }
    out
}

/// Aligns two runs, in the order of the second; a step of only the first is after the step that it followed.
pub fn align(before: &[Step], after: &[Step]) -> Vec<Pair> {
    let (first, second) = (keys(before), keys(after));
    let known: HashMap<Key<'_>, usize> = first.iter().enumerate().map(|(i, k)| (*k, i)).collect();
    let places: HashMap<Key<'_>, usize> = second.iter().enumerate().map(|(i, k)| (*k, i)).collect();
    // Steps of only the first run, by the step of the second run that they follow; 0: before all.
    let mut missing: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut place = 0;
    for (i, key) in first.iter().enumerate() {
        match places.get(key) {
            Some(at) => place = at + 1,
            None => missing.entry(place).or_default().push(i),
        }
    }
    let mut out = Vec::with_capacity(first.len().max(second.len()));
    let mut add_missing = |out: &mut Vec<Pair>, at: usize| {
        for i in missing.remove(&at).unwrap_or_default() {
            out.push(Pair { before: Some(i), after: None, difference: Difference::default() });
        }
    };
    for (at, (key, step)) in second.iter().zip(after).enumerate() {
        add_missing(&mut out, at);
        let old = known.get(key).copied();
        let difference = old.map_or_else(Difference::default, |i| difference(&before[i], step));
        out.push(Pair { before: old, after: Some(at), difference });
    }
    add_missing(&mut out, second.len());
    out
}

/// A change of less than this many ns is noise.
const MIN_CHANGE_NS: u64 = 20_000;

fn difference(before: &Step, after: &Step) -> Difference {
    let mut fields = Vec::new();
    for (name, old) in before.fields.iter().filter(|(name, _)| counts(name)) {
        match after.fields.get(name) {
            Some(new) if new == old => {}
            Some(new) => fields.push(format!("{name} {} -> {}", value(name, *old), value(name, *new))),
            None => fields.push(format!("{name} {} -> none", value(name, *old))),
        }
    }
    let added = after.fields.iter().filter(|(name, _)| counts(name) && !before.fields.contains_key(*name));
    fields.extend(added.map(|(name, new)| format!("{name} none -> {}", value(name, *new))));
    fields.extend(outcomes_that_differ(&before.state.facts, &after.state.facts));
    let (old_pool, new_pool) = (thread_pool(before), thread_pool(after));
    if old_pool != new_pool {
        fields.push(format!("thread {old_pool} -> {new_pool}"));
    }
    let (old, new) = (before.dur_ns, after.dur_ns);
    let notable = old.abs_diff(new) >= MIN_CHANGE_NS && old.max(new) >= old.min(new).saturating_mul(3) / 2;
    let time = notable.then_some(if new > old { Change::Slower } else { Change::Faster });
    Difference { fields, time }
}

/// The facts of one title are compared in their order. A fact without an outcome decides nothing.
fn outcomes_that_differ(before: &[Facts], after: &[Facts]) -> Vec<String> {
    let (old, new) = (outcomes(before), outcomes(after));
    let titles: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let mut out = Vec::new();
    for title in titles {
        let at = |all: &BTreeMap<&str, Vec<String>>, i: usize| all.get(title)?.get(i).cloned();
        let count = |all: &BTreeMap<&str, Vec<String>>| all.get(title).map_or(0, Vec::len);
        for i in 0..count(&old).max(count(&new)) {
            let (old, new) = (at(&old, i), at(&new, i));
            if old != new {
                let shown = |outcome: Option<String>| outcome.unwrap_or_else(|| "none".into());
                out.push(format!("{title}: {} -> {}", shown(old), shown(new)));
            }
        }
    }
    out
}

/// The outcomes by title. Timestamps differ in any two runs, so they are left out.
fn outcomes(facts: &[Facts]) -> BTreeMap<&str, Vec<String>> {
    let mut out: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| !fact.outcome.is_empty()) {
        let words = fact.outcome.split(' ').map(|word| if is_of_a_run(word) { "…" } else { word });
        out.entry(&fact.title).or_default().push(words.collect::<Vec<_>>().join(" "));
    }
    out
}

/// Whether a word has a timestamp.
fn is_of_a_run(word: &str) -> bool {
    word.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 15)
}

/// Whether a field says something about the run: timestamps, times and running numbers differ in any two runs.
fn counts(name: &str) -> bool {
    let running = ["cid", "read_id", "index", "first", "last", "applied", "op"];
    !name.ends_with("ts") && !name.ends_with("_ns") && !running.contains(&name)
}

fn value(name: &str, value: u64) -> String {
    named(name, value).map_or_else(|| value.to_string(), str::to_owned)
}

/// The pool of a step's thread.
fn thread_pool(step: &Step) -> &str {
    step.thread.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(stage: &str, request: u64, kind: &str, dur_ns: u64) -> Step {
        let (stage, kind, lane) = (stage.into(), kind.into(), "main".into());
        Step { stage, request, kind, lane, dur_ns, ..Step::default() }
    }

    fn shown(before: &[Step], after: &[Step]) -> Vec<String> {
        let name = |p: &Pair| match (p.before, p.after) {
            (_, Some(i)) => after[i].stage.clone(),
            (Some(i), None) => before[i].stage.clone(),
            (None, None) => String::new(),
        };
        align(before, after).iter().map(|p| format!("{}{}", p.sign(), name(p))).collect()
    }

    #[test]
    fn steps_are_aligned_by_request_stage_and_occurrence() {
        let before =
            [step("client_send", 1, "client", 10), step("get", 2, "kv_get", 10), step("old", 2, "kv_get", 1)];
        let after = [
            step("client_send", 7, "client", 10),
            step("get", 8, "kv_get", 10),
            step("backoff", 7, "client", 10),
            step("get", 9, "kv_get", 10),
        ];
        assert_eq!(shown(&before, &after), [" client_send", " get", "-old", "+backoff", "+get"]);
        assert_eq!(shown(&after, &before), [" client_send", " get", "-backoff", "-get", "+old"]);
        assert_eq!(shown(&[], &before).len(), 3);
        assert_eq!(shown(&before, &before), [" client_send", " get", " old"]);
    }

    #[test]
    fn times_and_fields_that_differ_are_marked() {
        let (slow, fast) = (step("seek", 2, "kv_get", 900_000), step("seek", 2, "kv_get", 100_000));
        assert_eq!(shown(std::slice::from_ref(&fast), std::slice::from_ref(&slow)), ["▲seek"]);
        assert_eq!(shown(std::slice::from_ref(&slow), std::slice::from_ref(&fast)), ["▼seek"]);
        let near = step("seek", 2, "kv_get", 110_000);
        assert_eq!(shown(std::slice::from_ref(&fast), std::slice::from_ref(&near)), [" seek"]);
        let mut put = fast.clone();
        put.fields.insert("write_type".into(), 80);
        let mut delete = fast.clone();
        delete.fields.insert("write_type".into(), 68);
        delete.fields.insert("start_ts".into(), 7);
        let pair = &align(&[put], &[delete])[0];
        assert_eq!(
            (pair.sign(), pair.difference.fields.as_slice()),
            ("≠", &["write_type Put -> Delete".to_owned()][..])
        );
    }

    #[test]
    fn outcomes_of_facts_that_differ_are_marked() {
        let with = |outcomes: &[(&str, &str)]| {
            let mut step = step("lock_cf_get", 2, "kv_get", 10);
            step.state.facts =
                outcomes.iter().map(|(title, text)| Facts::new(*title).outcome(*text)).collect();
            step
        };
        let differences = |before: &[(&str, &str)], after: &[(&str, &str)]| {
            align(&[with(before)], &[with(after)])[0].difference.fields.clone()
        };
        assert_eq!(differences(&[("Lock", "no lock")], &[("Lock", "locked")]), ["Lock: no lock -> locked"]);
        let two = [("Lock", "no lock"), ("Lock", "locked")];
        assert_eq!(differences(&two, &two[..1]), ["Lock: locked -> none"], "the second of this title");
        let run = |ts: &str| format!("lock of {ts}");
        let (one, other) = (run("445645312341835777"), run("445645312341835999"));
        assert!(
            differences(&[("Lock", one.as_str())], &[("Lock", other.as_str())]).is_empty(),
            "a timestamp of each run"
        );
        assert!(differences(&[("Lock", "")], &[]).is_empty(), "without an outcome");
    }
}
