//! Names a run's timestamps: 18-digit numbers become `ts1`, `ts2`, with their clock time and their purposes.
use std::collections::{BTreeSet, HashMap};

use tracepoints::{
    gates::{is_from_pd, is_timestamp, of_facts, of_rows},
    trace::Step,
};

use super::{
    engine::{Cell, Kind, Section, TableRow},
    units,
};

/// A named timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    ts: u64,
    purposes: BTreeSet<&'static str>,
}

/// The timestamps of a run, in the order of their first appearance. A name never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    all: Vec<Named>,
    /// The place of each timestamp in `all`.
    places: HashMap<u64, usize>,
}

impl Timestamps {
    /// Adds the timestamps of a step: of its fields, and of the rows that it sees. A gate's condition numbers
    /// them in the same order.
    pub fn learn(&mut self, step: &Step) {
        for (name, value) in step.fields.iter().filter(|(name, _)| is_timestamp(name)) {
            self.add(*value, purpose(step, name));
        }
        if let Some(rows) = &step.state.mvcc {
            of_rows(rows, &mut |ts, purpose| self.add(ts, purpose));
        }
        for facts in &step.state.facts {
            of_facts(facts, &mut |ts, name| self.add(ts, purpose_of_fact(name)));
        }
    }

    fn add(&mut self, ts: u64, purpose: &'static str) {
        if !is_from_pd(ts) {
            return;
        }
        let place = *self.places.entry(ts).or_insert_with(|| {
            self.all.push(Named { ts, purposes: BTreeSet::new() });
            self.all.len() - 1
        });
        self.all[place].purposes.insert(purpose);
    }

    /// The timestamps of a run's steps.
    pub fn of_steps(steps: &[Step]) -> Self {
        let mut all = Self::default();
        steps.iter().for_each(|step| all.learn(step));
        all
    }

    /// The timestamp with this name, such as `ts1`.
    pub fn find(&self, name: &str) -> Option<u64> {
        let number: usize = name.strip_prefix("ts")?.parse().ok()?;
        Some(self.all.get(number.checked_sub(1)?)?.ts)
    }

    /// The name of a timestamp; None for any other number.
    pub fn name(&self, ts: u64) -> Option<String> {
        let at = self.places.get(&ts)?;
        Some(format!("ts{}", at + 1))
    }

    /// The name of a timestamp with its clock time and its purposes: `ts1 (22:45:54.429 +1, read)`; None for any other
    /// number.
    pub fn describe(&self, ts: u64) -> Option<String> {
        let at = *self.places.get(&ts)?;
        let time = units::timestamp(ts).unwrap_or_default();
        Some(format!("ts{} ({time}, {})", at + 1, purposes_of(self.all.get(at)?)))
    }

    /// Replaces the known timestamps in a text by their names.
    pub fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let digits = rest[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - start);
            let number = &rest[start..start + digits];
            out.push_str(&rest[..start]);
            let name = number.parse().ok().filter(|_| number.len() > 15).and_then(|ts| self.name(ts));
            out.push_str(name.as_deref().unwrap_or(number));
            rest = &rest[start + digits..];
        }
        out.push_str(rest);
        out
    }

    /// Replaces the timestamps in tables, and adds a table of those that they contain.
    pub fn name_all(&self, mut sections: Vec<Section>) -> Vec<Section> {
        let mut used = BTreeSet::new();
        for cell in sections.iter_mut().flat_map(|s| &mut s.rows).flat_map(|r| &mut r.cells) {
            for number in cell.text.split(|c: char| !c.is_ascii_digit()) {
                let ts = number.parse().ok().filter(|_| number.len() > 15);
                used.extend(ts.and_then(|ts: u64| self.places.get(&ts)));
            }
            cell.text = self.apply(&cell.text);
        }
        sections.extend(self.section(&used));
        sections
    }

    fn section(&self, used: &BTreeSet<usize>) -> Option<Section> {
        let cell = |text: String| Cell { text, changed: false };
        let row = |kind, cells: [String; 4]| TableRow { kind, cells: cells.map(cell).into() };
        let mut rows = vec![row(Kind::Head, ["name", "UTC", "purpose", "number"].map(String::from))];
        for (at, named) in self.all.iter().enumerate().filter(|(at, _)| used.contains(at)) {
            let purposes = purposes_of(named);
            let time = units::timestamp(named.ts).unwrap_or_default();
            rows.push(row(Kind::Row, [format!("ts{}", at + 1), time, purposes, named.ts.to_string()]));
        }
        (rows.len() > 1).then(|| Section { title: "Timestamps".into(), rows })
    }
}

fn purposes_of(named: &Named) -> String {
    named.purposes.iter().copied().collect::<Vec<_>>().join(", ")
}

/// The purpose of a timestamp in the facts of a step, by its name.
fn purpose_of_fact(name: &str) -> &'static str {
    match name {
        name if name.contains("commit") => "commit",
        name if name.contains("current") => "lock check",
        name if name.contains("start") || name.contains("lock") => "start",
        _ => "read",
    }
}

/// The purpose of a timestamp in a field of a step.
fn purpose(step: &Step, field: &str) -> &'static str {
    match (field, step.stage.as_str(), step.kind.as_str()) {
        ("start_ts", ..) | ("lock_ts", ..) => "start",
        ("commit_ts", ..) => "commit",
        ("min_commit_ts", ..) => "minimum of the commit",
        ("for_update_ts", ..) => "pessimistic lock",
        (_, "pd_tso", _) => "from PD",
        (_, "mem_lock_check", _) => "lock check",
        (_, _, "kv_get" | "kv_batch_get" | "kv_scan") => "read",
        _ if step.layer == "mvcc" || step.stage.starts_with("read_") => "read",
        _ => "start",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 445_645_312_341_835_777;

    fn step(stage: &str, kind: &str, fields: &[(&str, u64)]) -> Step {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        Step { stage: stage.into(), kind: kind.into(), fields, ..Step::default() }
    }

    #[test]
    fn timestamps_get_names_in_the_order_of_their_appearance() {
        let mut all = Timestamps::default();
        all.learn(&step("pd_tso", "tso", &[("ts", A), ("count", 1)]));
        all.learn(&step("mem_lock_check", "kv_get", &[("ts", A)]));
        all.learn(&step("write_cf_found", "kv_get", &[("commit_ts", A - 9), ("start_ts", 7)]));
        assert_eq!(all.apply(&format!("read at {A}, found {}", A - 9)), "read at ts1, found ts2");
        assert_eq!(all.apply("region 2, 445645312341835778"), "region 2, 445645312341835778", "unknown");
        assert_eq!(all.describe(A).as_deref(), Some("ts1 (22:45:54.429 +1, from PD, lock check)"));
        assert_eq!((all.name(7), all.name(A).as_deref()), (None, Some("ts1")));
        all.learn(&step("x", "kv_prewrite", &[("ts", A + 1), ("max_ts", u64::MAX)]));
        assert_eq!(all.apply(&format!("{A}{}", "")), "ts1", "a name never changes");
        assert_eq!(all.all[0].purposes.iter().copied().collect::<Vec<_>>(), ["from PD", "lock check"]);
    }

    #[test]
    fn tables_have_names_and_a_table_of_their_timestamps() {
        let mut all = Timestamps::default();
        all.learn(&step("mvcc_get", "kv_get", &[("ts", A)]));
        all.learn(&step("mvcc_get", "kv_get", &[("ts", A + 5)]));
        let cell = Cell { text: format!("read at {A}"), changed: true };
        let row = TableRow { kind: Kind::Text, cells: vec![cell] };
        let named = all.name_all(vec![Section { title: "Rows".into(), rows: vec![row] }]);
        assert_eq!(named[0].rows[0].cells[0], Cell { text: "read at ts1".into(), changed: true });
        let texts: Vec<_> = named[1].rows[1].cells.iter().map(|c| c.text.as_str()).collect();
        assert_eq!((texts[0], texts[2], texts[3]), ("ts1", "read", "445645312341835777"));
        assert_eq!(named[1].rows.len(), 2, "only those that the tables contain");
        assert_eq!(all.name_all(Vec::new()), []);
    }
}
