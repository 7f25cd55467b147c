//! Which replica made the quorum, which were in time without need, and which did not matter.
use serde::{Deserialize, Serialize};

use crate::trace::Step;

/// What a replica's durable copy, or its answer, was for the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It completed the quorum: had it been faster, so had the commit.
    Decided,
    /// It counted, but before it was needed.
    Counted,
    /// It came after the quorum was complete: it did not matter.
    Late,
    /// It does not vote: it did not matter.
    Learner,
    /// Nothing of it was seen by the leader.
    Silent,
}

/// One replica in a quorum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replica {
    pub store: u64,
    pub leader: bool,
    pub verdict: Verdict,
    /// When its own disk had the entry, in ns since the trace began.
    pub durable_ns: Option<u64>,
    /// When the leader counted it.
    pub counted_ns: Option<u64>,
    /// Between that and the decision.
    pub slack_ns: u64,
}

/// A quorum that the operation waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quorum {
    pub request: u64,
    /// The request's kind, e.g. `kv_prewrite`.
    pub kind: String,
    /// The entry's place; all 0 for a read index.
    pub region: u64,
    pub term: u64,
    pub index: u64,
    /// How many vote, and how many of them are needed.
    pub voters: usize,
    pub needed: usize,
    /// How many voted before, while several peers change at once: most of them are needed, too. 0: no such change.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outgoing: usize,
    /// The store that completed it. None: the stamps that tell are missing, or old ones without a sender.
    pub decided_by: Option<u64>,
    pub decided_ns: Option<u64>,
    pub replicas: Vec<Replica>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Steps of one request beside its main lane, from a main-lane step on.
struct Beside<'a> {
    steps: &'a [Step],
    replicas: &'a [usize],
    from: u64,
}

impl Beside<'_> {
    fn of<'s>(&'s self, stage: &'s str, store: u64) -> impl DoubleEndedIterator<Item = usize> + 's {
        let fits = move |i: &usize| {
            let s = &self.steps[*i];
            s.stage == stage && s.store == store && s.at_ns >= self.from
        };
        self.replicas.iter().copied().filter(fits)
    }

    fn at(&self, step: usize) -> u64 {
        self.steps[step].at_ns
    }

    /// The last of a stage on a store that is not after `before`.
    fn last(&self, stage: &str, store: u64, before: u64) -> Option<usize> {
        self.of(stage, store).rfind(|i| self.at(*i) <= before)
    }

    /// The steps of `stages` on a store that led to `before`, in order. What was lost is left out.
    fn led_to(&self, stages: &[&str], store: u64, mut before: u64) -> Vec<usize> {
        let mut out = Vec::new();
        for stage in stages.iter().rev() {
            if let Some(step) = self.last(stage, store, before) {
                before = self.at(step);
                out.push(step);
            }
        }
        out.reverse();
        out
    }

    /// The first of each of `stages` on a store, one after the other, up to `to`.
    fn followed_by(&self, stages: &[&str], store: u64, mut after: u64, to: u64) -> Vec<usize> {
        let mut out = Vec::new();
        for stage in stages {
            if let Some(step) = self.of(stage, store).find(|i| (after..=to).contains(&self.at(*i))) {
                after = self.at(step);
                out.push(step);
            }
        }
        out
    }
}

const FOLLOWER: [&str; 6] = [
    "follower_receive",
    "follower_append",
    "raft_write_begin",
    "raft_write_end",
    "raft_persisted",
    "follower_ack",
];
const LEADER: [&str; 3] = ["raft_write_begin", "raft_write_end", "raft_persisted"];
const APPLY: [&str; 3] = ["apply_begin", "apply_write", "apply_done"];

/// The steps on the critical path while `main` lasted, from itself on, and the quorum it waited for, if it did.
pub(super) fn way(steps: &[Step], replicas: &[usize], main: usize, to: u64) -> (Vec<usize>, Option<Quorum>) {
    let beside = Beside { steps, replicas, from: steps[main].at_ns };
    if steps[main].stage == "read_index_propose" {
        return read(&beside, main, to);
    }
    match beside.last("raft_commit", steps[main].store, to) {
        Some(commit) => write(&beside, main, commit, to),
        None => (vec![main], None),
    }
}

fn write(beside: &Beside<'_>, main: usize, commit: usize, to: u64) -> (Vec<usize>, Option<Quorum>) {
    let leader = beside.steps[main].store;
    let (mut quorum, role) = begin(beside, main, "raft_propose");
    let own = beside.of("raft_persisted", leader).next();
    let mut counted: Vec<Vote> = own.map(|step| Vote::own(step, leader, role)).into_iter().collect();
    counted.extend(acks(beside, "raft_ack", leader));
    let decided = decide(beside, &mut counted, &quorum, beside.at(commit));
    fill(beside, &mut quorum, &counted, decided);
    let mut way = vec![main];
    match decided.map(|n| &counted[n]) {
        Some(vote) if vote.own => way.extend(beside.led_to(&LEADER, leader, beside.at(vote.step))),
        Some(vote) => {
            if let Some(store) = vote.store {
                way.extend(beside.led_to(&FOLLOWER, store, beside.at(vote.step)));
            }
            way.push(vote.step);
        }
        None => {}
    }
    way.push(commit);
    way.extend(beside.followed_by(&APPLY, leader, beside.at(commit), to));
    (way, Some(quorum))
}

/// A leader without a lease counts itself at once and waits for the answers to its heartbeat.
fn read(beside: &Beside<'_>, main: usize, to: u64) -> (Vec<usize>, Option<Quorum>) {
    let leader = beside.steps[main].store;
    let (mut quorum, role) = begin(beside, main, "read_index_propose");
    let mut counted = vec![Vote::own(main, leader, role)];
    counted.extend(acks(beside, "read_index_ack", leader));
    let decided = decide(beside, &mut counted, &quorum, to);
    fill(beside, &mut quorum, &counted, decided);
    let mut way = vec![main];
    if let Some(vote) = decided.map(|n| &counted[n]).filter(|v| !v.own) {
        if let Some(store) = vote.store {
            way.extend(beside.led_to(&["read_index_heartbeat"], store, beside.at(vote.step)));
        }
        way.push(vote.step);
    }
    (way, Some(quorum))
}

/// A replica that the leader counts.
struct Vote {
    step: usize,
    /// None if the stamp does not say whose it is.
    store: Option<u64>,
    own: bool,
    role: Role,
}

impl Vote {
    fn own(step: usize, leader: u64, role: Role) -> Self {
        Self { step, store: Some(leader), own: true, role }
    }
}

/// Whether a replica votes in the configuration to come, and in the one that is left.
#[derive(Clone, Copy)]
struct Role {
    incoming: bool,
    outgoing: bool,
}

impl Role {
    fn of(step: Option<&Step>) -> Self {
        let is = |name: &str| step.is_some_and(|s| s.fields.contains_key(name));
        let learner = is("learner");
        Self { incoming: !learner && !is("leaving"), outgoing: !learner && !is("joining") }
    }

    fn is_learner(self) -> bool {
        !self.incoming && !self.outgoing
    }
}

/// The first acknowledgement of each store.
fn acks(beside: &Beside<'_>, stage: &str, leader: u64) -> Vec<Vote> {
    let mut out: Vec<Vote> = Vec::new();
    for step in beside.of(stage, leader) {
        let stamped = &beside.steps[step];
        let store = stamped.fields.get("from").copied().filter(|s| *s != 0);
        if store.is_none() || !out.iter().any(|v| v.store == store) {
            out.push(Vote { step, store, own: false, role: Role::of(Some(stamped)) });
        }
    }
    out
}

/// Puts the votes in the order they were counted; the place of the one that completed the quorum.
fn decide(beside: &Beside<'_>, votes: &mut [Vote], quorum: &Quorum, before: u64) -> Option<usize> {
    votes.sort_by_key(|v| beside.at(v.step));
    // Of two configurations each needs most of its own.
    let mut left = [quorum.needed, if quorum.outgoing > 0 { quorum.outgoing / 2 + 1 } else { 0 }];
    let in_time = votes.iter().enumerate().take_while(|(_, v)| beside.at(v.step) <= before);
    for (n, vote) in in_time.filter(|(_, v)| !v.role.is_learner()) {
        left[0] = left[0].saturating_sub(usize::from(vote.role.incoming));
        left[1] = left[1].saturating_sub(usize::from(vote.role.outgoing));
        if left == [0, 0] {
            return Some(n);
        }
    }
    None
}

/// The quorum of the request that `main` is of, and how its leader votes; `asked` is the stage that says who votes.
fn begin(beside: &Beside<'_>, main: usize, asked: &str) -> (Quorum, Role) {
    let step = &beside.steps[main];
    let mut own = beside.steps[..=main].iter().rev().filter(|s| s.request == step.request);
    let propose = own.find(|s| s.stage == asked);
    let field = |name: &str| propose.and_then(|s| s.fields.get(name)).copied().unwrap_or(0);
    let voters = match field("voters") as usize {
        0 => guess_voters(beside, step),
        voters => voters,
    };
    let quorum = Quorum {
        request: step.request,
        kind: step.kind.clone(),
        region: field("region"),
        term: field("term"),
        index: field("index"),
        voters,
        needed: voters / 2 + 1,
        outgoing: field("outgoing") as usize,
        decided_by: None,
        decided_ns: None,
        replicas: Vec::new(),
    };
    (quorum, Role::of(propose))
}

/// Of a recording whose stamps do not say how many vote: as the leader's probe says, else as many as were met.
fn guess_voters(beside: &Beside<'_>, main: &Step) -> usize {
    let probe = main.state.raft.iter().find(|r| r.store == main.store);
    probe.map(|r| r.progress.len()).filter(|n| *n > 0).unwrap_or_else(|| met(beside, main.store).len())
}

/// The stores of a request's replicas, the leader first.
fn met(beside: &Beside<'_>, leader: u64) -> Vec<u64> {
    let mut stores: Vec<u64> =
        beside.replicas.iter().map(|i| beside.steps[*i].store).filter(|s| *s != leader && *s != 0).collect();
    stores.sort_unstable();
    stores.dedup();
    stores.insert(0, leader);
    stores
}

fn fill(beside: &Beside<'_>, quorum: &mut Quorum, votes: &[Vote], decided: Option<usize>) {
    let vote = decided.map(|n| &votes[n]);
    let at = vote.map(|v| beside.at(v.step));
    (quorum.decided_by, quorum.decided_ns) = (vote.and_then(|v| v.store), at);
    let leader = votes.iter().find(|v| v.own).and_then(|v| v.store);
    let mut stores = met(beside, leader.unwrap_or(0));
    stores.extend(votes.iter().filter_map(|v| v.store));
    let mut seen = std::collections::BTreeSet::new();
    stores.retain(|s| *s != 0 && seen.insert(*s));
    for store in stores {
        let place = votes.iter().position(|v| v.store == Some(store));
        let counted_ns = place.map(|n| beside.at(votes[n].step));
        let verdict = match place {
            None => Verdict::Silent,
            Some(n) if votes[n].role.is_learner() => Verdict::Learner,
            Some(n) if Some(n) == decided => Verdict::Decided,
            Some(n) if decided.is_some_and(|d| n > d) => Verdict::Late,
            Some(_) => Verdict::Counted,
        };
        quorum.replicas.push(Replica {
            store,
            leader: Some(store) == leader,
            verdict,
            durable_ns: beside.of("raft_persisted", store).next().map(|i| beside.at(i)),
            counted_ns,
            slack_ns: counted_ns.zip(at).map_or(0, |(c, d)| c.abs_diff(d)),
        });
    }
}
