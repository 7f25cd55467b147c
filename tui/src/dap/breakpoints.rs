//! The client's breakpoints: of lines, functions, values and errors; and the decision to stop at a step.
mod errors;
mod place;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use tracepoints::{
    Gate,
    gates::{Condition, Recorded, Timestamps},
    trace::Step,
};

use super::{
    arguments::WantedBreakpoint,
    evaluate::evaluate,
    stepper::{Stop, Watch},
    types::{Breakpoint, Source},
};
pub use errors::FILTERS;
use errors::answered_with;
pub use place::{Place, of_function, of_line};
pub use values::watched;

use crate::state::{HeldRequest, timeline::Timeline};

/// A breakpoint that is set.
#[derive(Debug)]
struct Set {
    id: i64,
    place: Place,
    rule: Rule,
    /// The numbers of the operation's steps that it was hit at.
    hits: BTreeSet<usize>,
}

/// A watched value.
#[derive(Debug)]
struct Value {
    id: i64,
    data: String,
    rule: Rule,
    condition: Option<Condition>,
    /// The numbers of the operation's steps at which it changed and the condition was true.
    hits: BTreeSet<usize>,
}

impl Value {
    fn accepts(&self, before: &str, now: &str) -> bool {
        let Some(condition) = &self.condition else { return true };
        values::change(&self.data, before, now).is_some_and(|change| condition.holds(&change))
    }

    /// Whether the change at the step of this number stops, once it is among the hits.
    fn stops_at(&self, step: usize) -> bool {
        self.rule.hit.is_none_or(|hit| hit.accepts(self.hits.range(..=step).count()))
    }
}

/// The rule by which a hit stops, or writes a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    hit: Option<Hits>,
    log: Option<String>,
}

/// A condition on the number of hits, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hits {
    Exactly(usize),
    From(usize),
    UpTo(usize),
    Every(usize),
}

impl Hits {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "expected a hit count such as `2`, `>= 2`, `< 2` or `% 2`, found `{text}`: write one of these"
            )
        };
        let number = |rest: &str| rest.trim().parse().ok().filter(|n| *n > 0).ok_or_else(bad);
        let text = text.trim();
        for (sign, make) in [
            (">=", Hits::From as fn(usize) -> Hits),
            ("<=", Hits::UpTo),
            ("==", Hits::Exactly),
            ("=", Hits::Exactly),
        ] {
            if let Some(rest) = text.strip_prefix(sign) {
                return number(rest).map(make);
            }
        }
        if let Some(rest) = text.strip_prefix('>') {
            return number(rest).map(|n| Hits::From(n.saturating_add(1)));
        }
        if let Some(rest) = text.strip_prefix('<') {
            return number(rest).map(|n| Hits::UpTo(n - 1));
        }
        if let Some(rest) = text.strip_prefix('%') {
            return number(rest).map(Hits::Every);
        }
        number(text.trim_start_matches('#')).map(Hits::Exactly)
    }

    fn accepts(self, hits: usize) -> bool {
        match self {
            Hits::Exactly(n) => hits == n,
            Hits::From(n) => hits >= n,
            Hits::UpTo(n) => hits <= n,
            Hits::Every(n) => hits.is_multiple_of(n),
        }
    }
}

/// All breakpoints of a client.
#[derive(Debug, Default)]
pub struct Breakpoints {
    lines: BTreeMap<String, Vec<Set>>,
    functions: Vec<Set>,
    /// The gates of the configuration.
    stages: Vec<Set>,
    values: Vec<Value>,
    /// The last seen values of the watched ones.
    known: BTreeMap<String, String>,
    /// The gates of the errors to stop at.
    errors: Vec<Gate>,
    /// The timestamps of the operation up to the newest step that was passed, and the number of these steps.
    named: (usize, Timestamps),
    next_id: i64,
    /// Lines of log points that wait to be written.
    pub logged: Vec<String>,
}

impl Breakpoints {
    /// Replaces the breakpoints of a file.
    pub fn set_lines(&mut self, source: &Source, wanted: &[WantedBreakpoint]) -> Vec<Breakpoint> {
        let path = source.path.clone().or_else(|| source.name.clone()).unwrap_or_default();
        let mut set = Vec::new();
        let shown = wanted.iter().map(|w| {
            let found = of_line(&path, w.line);
            let line = found.as_ref().ok().and_then(Place::line);
            let mut shown = self.add(found, w, &mut set);
            shown.line = line.or(Some(w.line));
            shown.source = Some(source.clone());
            shown
        });
        let shown = shown.collect();
        self.lines.insert(path, set);
        shown
    }

    /// Replaces the breakpoints of functions and stages.
    pub fn set_functions(&mut self, wanted: &[WantedBreakpoint]) -> Vec<Breakpoint> {
        let mut set = Vec::new();
        let shown = wanted.iter().map(|w| self.add(of_function(&w.name), w, &mut set)).collect();
        self.functions = set;
        shown
    }

    /// Sets the gates of the configuration.
    pub fn set_gates(&mut self, gates: &[Gate]) {
        let set = gates.iter().map(|gate| {
            let hit = (gate.hit > 1).then_some(Hits::From(gate.hit as usize));
            let (place, rule) = (gate.clone().into(), Rule { hit, log: None });
            Set { id: self.id(), place, rule, hits: BTreeSet::new() }
        });
        self.stages = set.collect();
    }

    /// Replaces the watched values.
    pub fn set_values(&mut self, wanted: &[WantedBreakpoint]) -> Vec<Breakpoint> {
        self.values.clear();
        self.known.clear();
        let shown = wanted.iter().map(|w| {
            let id = self.id();
            let condition = || values::condition(&w.data_id, w.condition.as_deref().unwrap_or_default());
            match watched(&w.data_id).and_then(|what| Ok((what, rule(w)?, condition()?))) {
                Ok((what, rule, condition)) => {
                    let data = w.data_id.clone();
                    self.values.push(Value { id, data, rule, condition, hits: BTreeSet::new() });
                    Breakpoint {
                        id,
                        verified: true,
                        message: format!("stops when {what} changes"),
                        ..Breakpoint::default()
                    }
                }
                Err(message) => Breakpoint { id, message, ..Breakpoint::default() },
            }
        });
        shown.collect()
    }

    /// Replaces the errors to stop at; returns whether each filter is known.
    pub fn set_errors(&mut self, filters: &[String]) -> Vec<Breakpoint> {
        self.errors.clear();
        let mut shown = Vec::new();
        for filter in filters {
            shown.push(match errors::gate(filter) {
                Ok(gate) => {
                    self.errors.push(gate);
                    Breakpoint { id: self.next_id, verified: true, ..Breakpoint::default() }
                }
                Err(message) => Breakpoint { id: self.next_id, message, ..Breakpoint::default() },
            });
        }
        shown
    }

    /// The gates at which the engine must hold for these breakpoints, each once.
    pub fn gates(&self) -> Vec<Gate> {
        let all = self.lines.values().flatten().chain(&self.functions).chain(&self.stages);
        let mut gates: Vec<Gate> = all.flat_map(|set| set.place.gates()).cloned().collect();
        // An answer is sent after its stage, so it shows the outcome while the request is still held.
        gates.extend(self.errors.iter().cloned());
        gates.sort_by(|a, b| a.text().cmp(b.text()));
        gates.dedup_by(|a, b| a.text() == b.text());
        gates
    }

    /// Whether a breakpoint or error stops at the step of this number; counts no hit.
    pub fn stops_at(&self, timeline: &Timeline, at: usize) -> bool {
        let steps = timeline.steps();
        let arrival = arrival(timeline, at, &self.named.1);
        let number = |set: &Set| set.hits.range(..=at).count();
        let stops = |set: &Set| {
            set.rule.log.is_none()
                && set.place.accepts(&steps[at], &arrival)
                && set.rule.hit.is_none_or(|hit| hit.accepts(number(set)))
        };
        let changed = |watched: &Value| {
            let before = at.checked_sub(1).and_then(|i| values::value(&steps[i], &watched.data));
            let both = before.zip(values::value(&steps[at], &watched.data));
            both.is_some_and(|(before, now)| now != before && watched.accepts(&before, &now))
                && watched.stops_at(at)
        };
        self.lines.values().flatten().chain(&self.functions).chain(&self.stages).any(stops)
            || self.values.iter().any(changed)
            || answered_with(&steps[at], &arrival, self.errors.iter()).is_some()
    }

    fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn add(
        &mut self,
        found: Result<Place, String>,
        wanted: &WantedBreakpoint,
        to: &mut Vec<Set>,
    ) -> Breakpoint {
        let id = self.id();
        match found.and_then(|place| Ok((place.under(wanted.condition.as_deref())?, rule(wanted)?))) {
            Ok((place, rule)) => {
                let message = place.describe();
                to.push(Set { id, place, rule, hits: BTreeSet::new() });
                Breakpoint { id, verified: true, message, ..Breakpoint::default() }
            }
            Err(message) => Breakpoint { id, message, ..Breakpoint::default() },
        }
    }

    /// Returns the watched values that differ from the last seen ones, as their conditions and hit counts say.
    fn changes(&mut self, step: &Step) -> Option<Stop> {
        let (mut ids, mut changes) = (Vec::new(), Vec::new());
        for value in &mut self.values {
            let data = &value.data;
            let Some(now) = values::value(step, data) else { continue };
            let before = self.known.insert(data.clone(), now.clone());
            let Some(before) = before.filter(|before| *before != now) else { continue };
            if !value.accepts(&before, &now) {
                continue;
            }
            value.hits.insert(step.step);
            if value.stops_at(step.step) {
                ids.push(value.id);
                let data = &value.data;
                changes.push(format!("{}: {before} → {now}", watched(data).unwrap_or_else(|_| data.clone())));
            }
        }
        (!ids.is_empty()).then(|| Stop::Data(ids, changes.join("; ")))
    }

    fn hits(&mut self, timeline: &Timeline, at: usize) -> Option<Stop> {
        let step = &timeline.steps()[at];
        let arrival = arrival(timeline, at, &self.named.1);
        let mut stopped = Vec::new();
        for set in self.lines.values_mut().flatten().chain(&mut self.functions).chain(&mut self.stages) {
            if !set.place.accepts(step, &arrival) {
                continue;
            }
            set.hits.insert(at);
            let number = set.hits.range(..=at).count();
            if set.rule.hit.is_some_and(|hit| !hit.accepts(number)) {
                continue;
            }
            match &set.rule.log {
                Some(text) => self.logged.push(filled(text, timeline, at)),
                None => stopped.push(set.id),
            }
        }
        (!stopped.is_empty()).then_some(Stop::Breakpoint(stopped))
    }
}

/// The arrival of a step, as a condition sees it.
fn arrival<'a>(timeline: &'a Timeline, at: usize, timestamps: &'a Timestamps) -> Recorded<'a> {
    let step = &timeline.steps()[at];
    let request = timeline.requests().iter().find(|request| request.id == step.request);
    // The timeline does not have the requests of other processes, so their keys are unknown.
    Recorded { step, key: request.map(|request| request.key.as_slice()), timestamps }
}

fn rule(wanted: &WantedBreakpoint) -> Result<Rule, String> {
    let given = |text: &Option<String>| text.clone().filter(|t| !t.trim().is_empty());
    let hit = given(&wanted.hit_condition).map(|text| Hits::parse(&text)).transpose()?;
    Ok(Rule { hit, log: given(&wanted.log_message) })
}

/// Replaces `{expression}` in the text of a log point by its value.
fn filled(text: &str, timeline: &Timeline, at: usize) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        out.push_str(before);
        match evaluate(name, timeline, at) {
            Ok(found) => out.push_str(&found.value),
            Err(_) => out.push_str(&format!("{{no {name}}}")),
        }
        rest = after;
    }
    out + rest
}

impl Watch for Breakpoints {
    fn reached(&mut self, timeline: &Timeline, at: usize) -> Option<Stop> {
        let step = &timeline.steps()[at];
        for step in timeline.steps().iter().take(at + 1).skip(self.named.0) {
            self.named.1.learn(step);
        }
        self.named.0 = self.named.0.max(at + 1);
        let changed = self.changes(step);
        let hit = self.hits(timeline, at);
        let wrong = answered_with(step, &arrival(timeline, at, &self.named.1), self.errors.iter());
        changed.or(hit).or_else(|| wrong.map(Stop::Error))
    }

    fn held(&mut self, hold: &HeldRequest, step: Option<&Step>) -> Option<Stop> {
        if let Some(set) = self.stages.iter().find(|set| set.place.is_change(&hold.reason)) {
            return Some(Stop::Data(vec![set.id], hold.reason.clone()));
        }
        let step = step?;
        let breakpoints = self.lines.values().flatten().chain(&self.functions);
        let counted = |set: &&Set| set.rule.hit.is_none() && set.rule.log.is_none();
        let all = breakpoints.filter(counted).chain(&self.stages);
        let ids: Vec<i64> =
            all.filter(|set| set.place.is_reason(&hold.reason, step)).map(|set| set.id).collect();
        (!ids.is_empty()).then_some(Stop::Breakpoint(ids))
    }

    fn settled(&mut self, step: &Step) -> Option<Stop> {
        self.changes(step)
    }

    fn moved(&mut self, step: &Step) {
        self.known.clear();
        self.changes(step);
    }

    /// Hits are counted in each operation.
    fn begin(&mut self) {
        self.known.clear();
        self.named = Default::default();
        self.values.iter_mut().for_each(|value| value.hits.clear());
        self.lines
            .values_mut()
            .flatten()
            .chain(&mut self.functions)
            .chain(&mut self.stages)
            .for_each(|set| set.hits.clear());
    }

    fn every_stage(&self) -> bool {
        !self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tracepoints::{gates::Names, probe::RaftProbe, trace::StateView};

    use super::*;

    fn timeline(steps: Vec<Step>) -> Timeline {
        let mut timeline = Timeline::new("test".into());
        for (i, step) in steps.into_iter().enumerate() {
            timeline.add_step(Step { step: i, ..step });
        }
        timeline
    }

    fn texts(all: &Breakpoints) -> Vec<String> {
        all.gates().iter().map(|gate| gate.text().to_owned()).collect()
    }

    fn step(stage: &str, commit_ts: u64) -> Step {
        Step { stage: stage.into(), fields: [("commit_ts".to_owned(), commit_ts)].into(), ..Step::default() }
    }

    #[test]
    fn hit_counts_are_parsed_or_refused() {
        assert_eq!(Hits::parse("2"), Ok(Hits::Exactly(2)));
        assert_eq!(Hits::parse(" >= 3 "), Ok(Hits::From(3)));
        assert_eq!(Hits::parse("> 3"), Ok(Hits::From(4)));
        assert_eq!(Hits::parse("%2"), Ok(Hits::Every(2)));
        assert_eq!((Hits::parse("<= 3"), Hits::parse("< 3")), (Ok(Hits::UpTo(3)), Ok(Hits::UpTo(2))));
        assert!(Hits::UpTo(2).accepts(2) && !Hits::UpTo(2).accepts(3));
        assert!(Hits::parse("0").unwrap_err().contains("found `0`"));
        assert!(Hits::parse("x").unwrap_err().contains(">= 2"));
    }

    #[test]
    fn a_hit_is_counted_once_however_often_it_is_passed() {
        let mut all = Breakpoints::default();
        let wanted = WantedBreakpoint {
            name: "write_cf_found".into(),
            hit_condition: Some("2".into()),
            ..WantedBreakpoint::default()
        };
        assert!(all.set_functions(&[wanted])[0].verified);
        let steps =
            timeline(vec![step("write_cf_found", 1), step("read_done", 0), step("write_cf_found", 2)]);
        assert_eq!(all.reached(&steps, 0), None);
        assert_eq!(all.reached(&steps, 0), None, "passed again after a step back");
        assert!(matches!(all.reached(&steps, 2), Some(Stop::Breakpoint(_))));
        assert!(all.stops_at(&steps, 2) && !all.stops_at(&steps, 0));
    }

    #[test]
    fn a_log_point_writes_values_and_does_not_stop() {
        let mut all = Breakpoints::default();
        let log_message = Some("commit {commit_ts} at {stage}, {nothing}".into());
        all.set_functions(&[WantedBreakpoint {
            name: "write_cf_found".into(),
            log_message,
            ..WantedBreakpoint::default()
        }]);
        assert_eq!(all.reached(&timeline(vec![step("write_cf_found", 7)]), 0), None);
        assert_eq!(all.logged, ["commit 7 at write_cf_found, {no nothing}"]);
        let log_message = Some("{key(0x6b31)} {Stage/stage} {".into());
        all.set_functions(&[WantedBreakpoint {
            name: "write_cf_found".into(),
            log_message,
            ..WantedBreakpoint::default()
        }]);
        assert_eq!(all.reached(&timeline(vec![step("write_cf_found", 7)]), 0), None);
        assert_eq!(all.logged[1], "k1 write_cf_found {", "the expressions of the console");
    }

    #[test]
    fn a_watched_value_takes_a_condition_and_a_hit_count() {
        let steps = [5, 6, 7, 8].map(|commit| {
            let peer = RaftProbe { region: 1, store: 2, commit, ..RaftProbe::default() };
            Step { state: StateView { raft: vec![peer], ..StateView::default() }, ..Step::default() }
        });
        let steps = timeline(steps.into());
        let stops = |condition: &str, hit: &str| {
            let mut all = Breakpoints::default();
            let wanted = WantedBreakpoint {
                data_id: "raft/1/2/commit".into(),
                condition: Some(condition.into()),
                hit_condition: Some(hit.into()),
                ..WantedBreakpoint::default()
            };
            assert!(all.set_values(&[wanted])[0].verified, "{condition} {hit}");
            let forward: Vec<usize> = (0..4).filter(|at| all.reached(&steps, *at).is_some()).collect();
            let back: Vec<usize> = (0..4).filter(|at| all.stops_at(&steps, *at)).collect();
            assert_eq!(forward, back, "{condition} {hit}");
            forward
        };
        assert_eq!(stops("", ""), [1, 2, 3]);
        assert_eq!(stops("new > 6", ""), [2, 3]);
        assert_eq!(stops("", "2"), [2]);
        assert_eq!(stops("old >= 6 and store == 2", ">= 2"), [3]);
        let refused = |data_id: &str, condition: &str| {
            let (data_id, condition) = (data_id.to_owned(), Some(condition.to_owned()));
            let wanted = WantedBreakpoint { data_id, condition, ..WantedBreakpoint::default() };
            let shown = Breakpoints::default().set_values(&[wanted]).remove(0);
            assert!(!shown.verified);
            shown.message
        };
        assert!(refused("raft/1/2/commit", "newer > 6").contains("found `newer`"));
        assert!(refused("rows", "new > 6").contains("found the rows of the key"));
    }

    #[test]
    fn a_gate_of_the_configuration_stops_as_a_breakpoint_does() {
        let mut all = Breakpoints::default();
        let gate = |text| Gate::parse(text, &Names::default()).unwrap();
        all.set_gates(&[gate("mvcc_get#2 if store == 0"), gate("change of commit")]);
        assert_eq!(texts(&all), ["change of commit", "mvcc_get#2 if store == 0"]);
        let steps = timeline(vec![step("mvcc_get", 0), step("mvcc_get", 0)]);
        assert_eq!(all.reached(&steps, 0), None, "the first hit");
        assert!(matches!(all.reached(&steps, 1), Some(Stop::Breakpoint(_))));
        let hold = |reason: &str| HeldRequest { reason: reason.into(), ..HeldRequest::default() };
        let change = "change of commit: commit of store 1: 7 → 8";
        assert!(matches!(all.held(&hold(change), None), Some(Stop::Data(_, text)) if text == change));
        let get = step("mvcc_get", 0);
        let by_key = all.held(&hold("mvcc_get#2 if store == 0"), Some(&get));
        assert!(matches!(by_key, Some(Stop::Breakpoint(_))), "the engine knows more than the step");
        assert_eq!(all.held(&hold(""), Some(&get)), None, "held at every stage");
    }

    #[test]
    fn errors_are_gates_of_the_engine() {
        let mut all = Breakpoints::default();
        let shown = all.set_errors(&["any_error".into(), "panic".into()]);
        assert!(shown[0].verified && !shown[1].verified && shown[1].message.contains("key_error"));
        assert_eq!(texts(&all), ["any error"]);
        let mut reply = step("grpc_reply", 0);
        reply.fields.insert("outcome".into(), tracepoints::Outcome::KeyError as u64);
        let stop = all.reached(&timeline(vec![reply]), 0);
        assert!(matches!(stop, Some(Stop::Error(text)) if text.contains("with a key error")));
    }

    #[test]
    fn only_stages_that_can_hold_become_gates() {
        let mut all = Breakpoints::default();
        let named = |name: &str| WantedBreakpoint { name: name.into(), ..WantedBreakpoint::default() };
        let shown = all.set_functions(&[named("raft_ack"), named("mvcc_get"), named("nothing")]);
        assert!(shown[0].verified && shown[0].message.contains("only observed"), "{:?}", shown[0]);
        assert!(!shown[2].verified && shown[2].message.contains("`nothing`"), "{:?}", shown[2]);
        assert_eq!(texts(&all), ["mvcc_get"]);
    }
}
