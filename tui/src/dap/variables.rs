//! Scopes and variables: numbers for the parts of the state, which are read only when the client asks.
use super::{
    tree::{Known, Node, Scope, mark},
    types::Variable,
};
use crate::state::timeline::Timeline;

/// A part of the state of a step, or of an evaluated value.
#[derive(Clone, Debug)]
enum Part {
    /// The names from the scope down.
    State { step: usize, scope: Scope, path: Vec<String> },
    /// The parts of an evaluated value.
    Value(Vec<Node>),
}

/// The parts that the client may ask about, until the next stop.
#[derive(Debug, Default)]
pub struct Variables {
    parts: Vec<Part>,
}

impl Variables {
    /// Forgets all parts.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    fn number(&mut self, part: Part) -> i64 {
        self.parts.push(part);
        self.parts.len() as i64
    }

    /// The scopes of a step that have values: name and number.
    pub fn scopes(&mut self, step: usize, timeline: &Timeline) -> Vec<(Scope, i64)> {
        let Some(known) = known(timeline, step) else { return Vec::new() };
        let filled = Scope::ALL.into_iter().filter(|scope| !scope.nodes(known).is_empty());
        let filled: Vec<Scope> = filled.collect();
        filled
            .into_iter()
            .map(|scope| (scope, self.number(Part::State { step, scope, path: Vec::new() })))
            .collect()
    }

    /// The variables of a number.
    ///
    /// # Errors
    /// A sentence if the number is of an earlier stop.
    pub fn list(&mut self, number: i64, timeline: &Timeline) -> Result<Vec<Variable>, String> {
        let nodes = self.nodes(number, timeline)?;
        let part = self.part(number)?.clone();
        Ok(nodes.into_iter().map(|node| self.variable(&part, node)).collect())
    }

    /// The watched name of a variable.
    ///
    /// # Errors
    /// A sentence if it cannot be watched.
    pub fn watch(&self, number: i64, name: &str, timeline: &Timeline) -> Result<String, String> {
        let nodes = self.nodes(number, timeline)?;
        let found = nodes.iter().find(|node| node.name == name).map(|node| node.data.clone());
        found.filter(|data| !data.is_empty()).ok_or_else(|| {
            format!("expected a value of a peer, a latch or a row, found {name}: only these are published at every change")
        })
    }

    /// Makes a variable of an evaluated value.
    pub fn value(&mut self, node: Node) -> Variable {
        self.variable(&Part::Value(Vec::new()), node)
    }

    fn part(&self, number: i64) -> Result<&Part, String> {
        let at = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        at.and_then(|at| self.parts.get(at)).ok_or_else(|| {
            format!(
                "expected a number of a variable since the last stop, found {number}: ask the scopes again"
            )
        })
    }

    fn nodes(&self, number: i64, timeline: &Timeline) -> Result<Vec<Node>, String> {
        Ok(match self.part(number)? {
            Part::Value(nodes) => nodes.clone(),
            Part::State { step, scope, path } => {
                let mut nodes = marked(*scope, timeline, *step);
                for name in path {
                    let found = nodes.into_iter().find(|node| node.name == *name);
                    nodes = found.map(|node| node.children).unwrap_or_default();
                }
                nodes
            }
        })
    }

    fn variable(&mut self, parent: &Part, node: Node) -> Variable {
        let named_variables = node.children.len();
        let (evaluate_name, part) = match parent {
            Part::Value(_) => (String::new(), Part::Value(node.children)),
            Part::State { step, scope, path } => {
                let mut path = path.clone();
                path.push(node.name.clone());
                let name = format!("{}/{}", scope.name(), path.join("/"));
                (name, Part::State { step: *step, scope: *scope, path })
            }
        };
        let variables_reference = if named_variables == 0 { 0 } else { self.number(part) };
        Variable {
            name: node.name,
            value: node.value,
            kind: node.kind.into(),
            evaluate_name,
            variables_reference,
            named_variables,
        }
    }
}

/// Finds a step with its request and the end of its operation.
pub fn known(timeline: &Timeline, at: usize) -> Option<Known<'_>> {
    let step = timeline.steps().get(at)?;
    let request = timeline.requests().iter().find(|r| r.id == step.request);
    let ending = timeline.ending().filter(|_| at >= timeline.end_step());
    Some(Known { step, request, ending })
}

/// The values of a scope, with named timestamps, and with those that changed since the step before marked.
pub fn marked(scope: Scope, timeline: &Timeline, at: usize) -> Vec<Node> {
    let named = |known: Known<'_>| {
        let mut nodes = scope.nodes(known);
        nodes.iter_mut().for_each(|node| node.name_timestamps(timeline.timestamps()));
        nodes
    };
    let Some(now) = known(timeline, at) else { return Vec::new() };
    let mut nodes = named(now);
    if scope.marks_changes()
        && let Some(before) = at.checked_sub(1).and_then(|i| known(timeline, i))
    {
        mark(&mut nodes, &named(before));
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracepoints::{
        probe::{MvccProbe, RaftProbe, WriteRow},
        trace::Step,
    };

    fn timeline() -> Timeline {
        let mut timeline = Timeline::new("get k1".into());
        for (i, commit) in [5, 6].into_iter().enumerate() {
            let mut step = Step { step: i, stage: "mvcc_get".into(), ..Step::default() };
            step.state.raft.push(RaftProbe {
                region: 1,
                store: 2,
                role: "Leader".into(),
                commit,
                ..RaftProbe::default()
            });
            timeline.add_step(step);
        }
        timeline
    }

    #[test]
    fn parts_are_read_on_request_and_changes_are_marked() {
        let (timeline, mut variables) = (timeline(), Variables::default());
        let scopes = variables.scopes(1, &timeline);
        assert_eq!(scopes.iter().map(|(s, _)| s.name()).collect::<Vec<_>>(), ["Stage", "Request", "Raft"]);
        let regions = variables.list(scopes[2].1, &timeline).unwrap();
        assert_eq!((regions[0].name.as_str(), regions[0].named_variables), ("region 1", 1));
        let stores = variables.list(regions[0].variables_reference, &timeline).unwrap();
        let peer = variables.list(stores[0].variables_reference, &timeline).unwrap();
        let commit = peer.iter().find(|v| v.name == "commit").unwrap();
        assert_eq!(commit.value, "6 (was 5)");
        assert_eq!(commit.evaluate_name, "Raft/region 1/store 2/commit");
        let watched = |name| variables.watch(stores[0].variables_reference, name, &timeline);
        assert_eq!(watched("commit").unwrap(), "raft/1/2/commit");
        assert!(watched("peer").unwrap_err().contains("found peer"));
    }

    #[test]
    fn timestamps_have_the_names_of_the_screen() {
        const TS: u64 = 445_645_312_341_835_777;
        let mut timeline = Timeline::new("get k1".into());
        let mut step = Step { stage: "mvcc_get".into(), kind: "kv_get".into(), ..Step::default() };
        step.fields.insert("ts".into(), TS);
        timeline.add_step(step.clone());
        let write = WriteRow { commit_ts: TS - 4, start_ts: 7, kind: "Put".into(), short_value: None };
        let rows = MvccProbe { key: "k1".into(), read_ts: TS, writes: vec![write], ..MvccProbe::default() };
        step.state.mvcc = Some(rows);
        timeline.add_step(Step { step: 1, ..step });
        let find = |nodes: &[Node], name: &str| nodes.iter().find(|node| node.name == name).cloned().unwrap();
        let stage = marked(Scope::Stage, &timeline, 1);
        assert_eq!(find(&stage, "ts").value, "ts1 (22:45:54.429 +1, read)");
        let rows = marked(Scope::Rows, &timeline, 1);
        let write = find(&find(&rows, "write").children, "ts2");
        assert!(find(&write.children, "commit_ts").value.starts_with("ts2 (22:45:54.428 +"), "{write:?}");
        assert_eq!(find(&write.children, "start_ts").value, "7", "a number that is not of PD");
    }

    #[test]
    fn a_number_of_an_earlier_stop_is_refused() {
        let (timeline, mut variables) = (timeline(), Variables::default());
        let number = variables.scopes(0, &timeline)[0].1;
        variables.clear();
        assert!(variables.list(number, &timeline).unwrap_err().contains("since the last stop"));
        assert!(variables.list(-1, &timeline).is_err());
    }
}
