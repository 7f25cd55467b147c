//! The message of a request or an answer, the decisions at a step, and transactions that wait for locks.
use std::collections::HashMap;

use tracepoints::{
    Facts,
    facts::{Fact, FactValue},
    probe::{LockQueue, LockWaitEdge, LockWaitsProbe, MemoryLocksProbe, WaitGraphProbe},
    trace::{
        Step,
        story::{ANSWER, REQUEST},
    },
};

use super::node::Node;

/// The decoded request of this step.
pub(super) fn request(step: &Step) -> Option<Node> {
    step.state.facts.iter().find(|facts| is_request(facts)).map(|facts| node("message", facts))
}

/// The decoded answer of this step.
pub(super) fn answer(step: &Step) -> Option<Node> {
    step.state.facts.iter().find(|facts| facts.title == ANSWER).map(|facts| node("message", facts))
}

/// The decisions at this step, with the compared values.
pub(super) fn decisions(step: &Step) -> Vec<Node> {
    // A client asks for the parts of a value by its name.
    let mut known: HashMap<&str, usize> = HashMap::new();
    let decided = step.state.facts.iter().filter(|facts| facts.title != ANSWER && !is_request(facts));
    let mut out = Vec::new();
    for facts in decided {
        let number = known.entry(&facts.title).or_default();
        *number += 1;
        let name = if *number == 1 { facts.title.clone() } else { format!("{} {number}", facts.title) };
        out.push(node(&name, facts));
    }
    out
}

fn is_request(facts: &Facts) -> bool {
    facts.title.strip_prefix(REQUEST).is_some_and(|rest| rest.starts_with(' '))
}

fn node(name: &str, facts: &Facts) -> Node {
    let mut rows: Vec<Node> = facts.rows.iter().map(row).collect();
    if facts.more > 0 {
        rows.push(Node::leaf("more", format!("{} values are not shown", facts.more)));
    }
    Node::parent(name, &facts.outcome, rows)
}

fn row(fact: &Fact) -> Node {
    let node = match &fact.value {
        FactValue::Text(text) => Node::leaf(&fact.name, text),
        FactValue::Number(number) => Node::leaf(&fact.name, number),
        FactValue::Ts(ts) => Node::timestamp(&fact.name, *ts),
    };
    match fact.note.as_str() {
        "" => node,
        note => Node { value: format!("{}, {note}", node.value), ..node },
    }
}

/// The queues of locks, and the cycle that the deadlock detector found.
pub(super) fn lock_waits(probe: &LockWaitsProbe) -> Vec<Node> {
    let mut out: Vec<Node> = probe.queues.iter().map(queue).collect();
    if !probe.chain.is_empty() {
        let edges = probe.chain.iter().map(edge).collect();
        out.push(Node::parent("deadlock", format!("{} transactions", probe.chain.len()), edges));
    }
    out
}

fn edge(edge: &LockWaitEdge) -> Node {
    Node::leaf(format!("{} waits for", edge.txn), format!("{} at {}", edge.wait_for, edge.key))
}

/// The graph of the deadlock detector.
pub(super) fn wait_graph(probe: &WaitGraphProbe) -> Node {
    let edges = probe.edges.iter().map(edge).chain(more(probe.more)).collect();
    Node::parent("deadlock detector", format!("on store {}", probe.store), edges)
}

/// The pessimistic locks in the memory of a leader.
pub(super) fn memory_locks(probe: &MemoryLocksProbe) -> Node {
    let locks = probe.locks.iter().map(|lock| {
        let parts = vec![
            Node::timestamp("start_ts", lock.start_ts),
            Node::timestamp("for_update_ts", lock.for_update_ts),
            Node::leaf("ttl_ms", lock.ttl_ms),
        ];
        Node::parent(&lock.key, "pessimistic lock", parts)
    });
    let title = format!("of region {} on store {}", probe.region, probe.store);
    Node::parent("locks in memory", title, locks.chain(more(probe.more)).collect())
}

fn more(more: u64) -> Option<Node> {
    (more > 0).then(|| Node::leaf("more", format!("{more} are not shown")))
}

fn queue(queue: &LockQueue) -> Node {
    let mut parts = vec![Node::timestamp("locked by", queue.holder)];
    let others = queue.other_holders.iter().enumerate();
    parts.extend(others.map(|(i, ts)| Node::timestamp(format!("and by {}", i + 2), *ts)));
    parts.extend(queue.waiters.iter().enumerate().map(|(i, waiter)| {
        let node = Node::timestamp(format!("waits {}", i + 1), waiter.start_ts);
        if waiter.fair { Node { value: format!("{}, fair", node.value), ..node } } else { node }
    }));
    Node::parent(&queue.key, format!("{} wait", queue.waiters.len()), parts)
}

#[cfg(test)]
mod tests {
    use tracepoints::probe::LockWaiter;

    use super::*;

    fn step(facts: Vec<Facts>) -> Step {
        let mut step = Step::default();
        step.state.facts = facts;
        step
    }

    #[test]
    fn each_fact_is_in_one_place_under_its_own_name() {
        let lock = |key: &str| Facts::new("Lock").outcome("none").text("key", key).note("of the command");
        let asked = Facts::new("Request kv_get").text("key", "k1");
        let answered = Facts::new(ANSWER).failed("locked").number("ttl", 7);
        let step = step(vec![asked, lock("a"), lock("b"), answered]);
        let (request, answer) = (request(&step).unwrap(), answer(&step).unwrap());
        assert_eq!((request.children[0].name.as_str(), request.children[0].value.as_str()), ("key", "k1"));
        assert_eq!((answer.value.as_str(), answer.children[0].value.as_str()), ("locked", "7"));
        let decided = decisions(&step);
        let shown: Vec<(&str, &str)> =
            decided.iter().map(|node| (node.name.as_str(), node.children[0].value.as_str())).collect();
        assert_eq!(shown, [("Lock", "a, of the command"), ("Lock 2", "b, of the command")]);
        assert_eq!(decided[0].value, "none");
    }

    #[test]
    fn a_queue_names_its_lock_and_those_who_wait() {
        let waiters = vec![LockWaiter { start_ts: 8, fair: true }, LockWaiter { start_ts: 9, fair: false }];
        let queue = LockQueue { key: "k1".into(), holder: 5, other_holders: vec![6], waiters };
        let chain = vec![LockWaitEdge { txn: 8, wait_for: 5, key: "k1".into() }];
        let nodes = lock_waits(&LockWaitsProbe { store: 1, queues: vec![queue], chain });
        let parts: Vec<(&str, &str)> =
            nodes[0].children.iter().map(|part| (part.name.as_str(), part.value.as_str())).collect();
        assert_eq!(parts, [("locked by", "5"), ("and by 2", "6"), ("waits 1", "8, fair"), ("waits 2", "9")]);
        assert_eq!((nodes[0].name.as_str(), nodes[1].children[0].value.as_str()), ("k1", "5 at k1"));
    }
}
