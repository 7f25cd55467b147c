//! The quorum's replicas: the one that completed it, the ones that counted earlier, and the ones that did not
//! matter.
use serde::{Deserialize, Serialize};

use crate::trace::Step;

/// A replica's contribution to the quorum, by its durable copy or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaRole {
    /// Completed the quorum: a faster replica would have made the commit faster.
    Decided,
    /// Counted before its acknowledgement was needed.
    Counted,
    /// Came after the quorum was complete and did not matter.
    Late,
    /// Does not vote and did not matter.
    Learner,
    /// The leader has received nothing from it.
    Silent,
}

/// One replica in a quorum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replica {
    /// The replica's store.
    pub store: u64,
    /// Whether it is the leader's own copy.
    pub leader: bool,
    /// The replica's part in the decision.
    pub verdict: ReplicaRole,
    /// Time at which its own disk had the entry, in ns since the trace began.
    pub durable_ns: Option<u64>,
    /// Time at which the leader counted it, in ns since the trace began.
    pub counted_ns: Option<u64>,
    /// Time in ns between `counted_ns` and the decision.
    pub slack_ns: u64,
}

/// A quorum that the operation waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quorum {
    /// Id of the request that waited.
    pub request: u64,
    /// The request's kind, e.g. `kv_prewrite`.
    pub kind: String,
    /// Region of the entry; region, term and index are 0 for a read index.
    pub region: u64,
    /// Term of the request's entry; 0 for a read.
    pub term: u64,
    /// Index of the request's entry; 0 for a read.
    pub index: u64,
    /// Number of voters, and how many of them are needed.
    pub voters: usize,
    /// Number of votes that decide.
    pub needed: usize,
    /// Number of voters of the old configuration during a joint change, of which a majority is needed too. 0:
    /// no such change.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outgoing: usize,
    /// The store that completed the quorum. `None`: its stamps are missing, or old ones without a sender.
    pub decided_by: Option<u64>,
    /// Time of the deciding vote in ns, as in the steps; `None` if it is unknown.
    pub decided_ns: Option<u64>,
    /// The replicas, by the time of their votes.
    pub replicas: Vec<Replica>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// The replica steps of one request from a main-lane step on.
struct ReplicaSteps<'a> {
    steps: &'a [Step],
    replicas: &'a [usize],
    from: u64,
}

impl ReplicaSteps<'_> {
    fn filter<'s>(&'s self, stage: &'s str, store: u64) -> impl DoubleEndedIterator<Item = usize> + 's {
        let fits = move |i: &usize| {
            let s = &self.steps[*i];
            s.stage == stage && s.store == store && s.at_ns >= self.from
        };
        self.replicas.iter().copied().filter(fits)
    }

    fn at(&self, step: usize) -> u64 {
        self.steps[step].at_ns
    }

    /// Finds the last step of a stage on a store that is not after `before`.
    fn last(&self, stage: &str, store: u64, before: u64) -> Option<usize> {
        self.filter(stage, store).rfind(|i| self.at(*i) <= before)
    }

    /// Finds the steps of `stages` on a store that led to `before`, in order; skips lost ones.
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

    /// Finds the first step of each of `stages` on a store, one after another, up to `to`.
    fn followed_by(&self, stages: &[&str], store: u64, mut after: u64, to: u64) -> Vec<usize> {
        let mut out = Vec::new();
        for stage in stages {
            if let Some(step) = self.filter(stage, store).find(|i| (after..=to).contains(&self.at(*i))) {
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

/// Returns the steps on the critical path while `main` lasted, beginning with it, and the quorum it waited
/// for, if any.
pub(super) fn steps_to(
    steps: &[Step],
    replicas: &[usize],
    main: usize,
    to: u64,
) -> (Vec<usize>, Option<Quorum>) {
    let replica_steps = ReplicaSteps { steps, replicas, from: steps[main].at_ns };
    if steps[main].stage == "read_index_propose" {
        return read(&replica_steps, main, to);
    }
    match replica_steps.last("raft_commit", steps[main].store, to) {
        Some(commit) => write(&replica_steps, main, commit, to),
        None => (vec![main], None),
    }
}

fn write(
    replica_steps: &ReplicaSteps<'_>,
    main: usize,
    commit: usize,
    to: u64,
) -> (Vec<usize>, Option<Quorum>) {
    let leader = replica_steps.steps[main].store;
    let (mut quorum, role) = begin(replica_steps, main, "raft_propose");
    let own = replica_steps.filter("raft_persisted", leader).next();
    let mut counted: Vec<Vote> = own.map(|step| Vote::own(step, leader, role)).into_iter().collect();
    counted.extend(acks(replica_steps, "raft_ack", leader));
    let decided = decide(replica_steps, &mut counted, &quorum, replica_steps.at(commit));
    fill(replica_steps, &mut quorum, &counted, decided);
    let mut path = vec![main];
    match decided.map(|n| &counted[n]) {
        Some(vote) if vote.own => {
            path.extend(replica_steps.led_to(&LEADER, leader, replica_steps.at(vote.step)))
        }
        Some(vote) => {
            if let Some(store) = vote.store {
                path.extend(replica_steps.led_to(&FOLLOWER, store, replica_steps.at(vote.step)));
            }
            path.push(vote.step);
        }
        None => {}
    }
    path.push(commit);
    path.extend(replica_steps.followed_by(&APPLY, leader, replica_steps.at(commit), to));
    (path, Some(quorum))
}

/// Finds the path of a read index: a leader without a lease counts itself at once and waits for its
/// heartbeats' answers.
fn read(replica_steps: &ReplicaSteps<'_>, main: usize, to: u64) -> (Vec<usize>, Option<Quorum>) {
    let leader = replica_steps.steps[main].store;
    let (mut quorum, role) = begin(replica_steps, main, "read_index_propose");
    let mut counted = vec![Vote::own(main, leader, role)];
    counted.extend(acks(replica_steps, "read_index_ack", leader));
    let decided = decide(replica_steps, &mut counted, &quorum, to);
    fill(replica_steps, &mut quorum, &counted, decided);
    let mut path = vec![main];
    if let Some(vote) = decided.map(|n| &counted[n]).filter(|v| !v.own) {
        if let Some(store) = vote.store {
            path.extend(replica_steps.led_to(&["read_index_heartbeat"], store, replica_steps.at(vote.step)));
        }
        path.push(vote.step);
    }
    (path, Some(quorum))
}

/// A replica that the leader counts.
struct Vote {
    step: usize,
    /// `None` if the stamp does not name its store.
    store: Option<u64>,
    own: bool,
    role: Role,
}

impl Vote {
    fn own(step: usize, leader: u64, role: Role) -> Self {
        Self { step, store: Some(leader), own: true, role }
    }
}

/// Whether a replica votes in the new and in the old configuration.
#[derive(Clone, Copy)]
struct Role {
    incoming: bool,
    outgoing: bool,
}

impl Role {
    fn from_step(step: Option<&Step>) -> Self {
        let is = |name: &str| step.is_some_and(|s| s.fields.contains_key(name));
        let learner = is("learner");
        Self { incoming: !learner && !is("leaving"), outgoing: !learner && !is("joining") }
    }

    fn is_learner(self) -> bool {
        !self.incoming && !self.outgoing
    }
}

/// Collects the first acknowledgement of each store.
fn acks(replica_steps: &ReplicaSteps<'_>, stage: &str, leader: u64) -> Vec<Vote> {
    let mut out: Vec<Vote> = Vec::new();
    for step in replica_steps.filter(stage, leader) {
        let stamped = &replica_steps.steps[step];
        let store = stamped.fields.get("from").copied().filter(|s| *s != 0);
        if store.is_none() || !out.iter().any(|v| v.store == store) {
            out.push(Vote { step, store, own: false, role: Role::from_step(Some(stamped)) });
        }
    }
    out
}

/// Sorts the votes by the time they were counted; returns the position of the one that completed the quorum.
fn decide(
    replica_steps: &ReplicaSteps<'_>,
    votes: &mut [Vote],
    quorum: &Quorum,
    before: u64,
) -> Option<usize> {
    votes.sort_by_key(|v| replica_steps.at(v.step));
    // Each of two configurations needs a majority of its own voters.
    let mut left = [quorum.needed, if quorum.outgoing > 0 { quorum.outgoing / 2 + 1 } else { 0 }];
    let in_time = votes.iter().enumerate().take_while(|(_, v)| replica_steps.at(v.step) <= before);
    for (n, vote) in in_time.filter(|(_, v)| !v.role.is_learner()) {
        left[0] = left[0].saturating_sub(usize::from(vote.role.incoming));
        left[1] = left[1].saturating_sub(usize::from(vote.role.outgoing));
        if left == [0, 0] {
            return Some(n);
        }
    }
    None
}

/// Starts the quorum of the request of `main`, with its leader's role; `asked` is the stage whose stamp has
/// the voters.
fn begin(replica_steps: &ReplicaSteps<'_>, main: usize, asked: &str) -> (Quorum, Role) {
    let step = &replica_steps.steps[main];
    let mut own = replica_steps.steps[..=main].iter().rev().filter(|s| s.request == step.request);
    let propose = own.find(|s| s.stage == asked);
    let field = |name: &str| propose.and_then(|s| s.fields.get(name)).copied().unwrap_or(0);
    let voters = match field("voters") as usize {
        0 => guess_voters(replica_steps, step),
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
    (quorum, Role::from_step(propose))
}

/// Guesses the number of voters if the stamps lack it: from the leader's probe, else from the stores in the
/// trace.
fn guess_voters(replica_steps: &ReplicaSteps<'_>, main: &Step) -> usize {
    let probe = main.state.raft.iter().find(|r| r.store == main.store);
    probe
        .map(|r| r.progress.len())
        .filter(|n| *n > 0)
        .unwrap_or_else(|| stores_seen(replica_steps, main.store).len())
}

/// Returns the stores of a request's replicas, the leader first.
fn stores_seen(replica_steps: &ReplicaSteps<'_>, leader: u64) -> Vec<u64> {
    let mut stores: Vec<u64> = replica_steps
        .replicas
        .iter()
        .map(|i| replica_steps.steps[*i].store)
        .filter(|s| *s != leader && *s != 0)
        .collect();
    stores.sort_unstable();
    stores.dedup();
    stores.insert(0, leader);
    stores
}

fn fill(replica_steps: &ReplicaSteps<'_>, quorum: &mut Quorum, votes: &[Vote], decided: Option<usize>) {
    let vote = decided.map(|n| &votes[n]);
    let at = vote.map(|v| replica_steps.at(v.step));
    (quorum.decided_by, quorum.decided_ns) = (vote.and_then(|v| v.store), at);
    let leader = votes.iter().find(|v| v.own).and_then(|v| v.store);
    let mut stores = stores_seen(replica_steps, leader.unwrap_or(0));
    stores.extend(votes.iter().filter_map(|v| v.store));
    let mut seen = std::collections::BTreeSet::new();
    stores.retain(|s| *s != 0 && seen.insert(*s));
    for store in stores {
        let place = votes.iter().position(|v| v.store == Some(store));
        let counted_ns = place.map(|n| replica_steps.at(votes[n].step));
        let verdict = match place {
            None => ReplicaRole::Silent,
            Some(n) if votes[n].role.is_learner() => ReplicaRole::Learner,
            Some(n) if Some(n) == decided => ReplicaRole::Decided,
            Some(n) if decided.is_some_and(|d| n > d) => ReplicaRole::Late,
            Some(_) => ReplicaRole::Counted,
        };
        quorum.replicas.push(Replica {
            store,
            leader: Some(store) == leader,
            verdict,
            durable_ns: replica_steps.filter("raft_persisted", store).next().map(|i| replica_steps.at(i)),
            counted_ns,
            slack_ns: counted_ns.zip(at).map_or(0, |(c, d)| c.abs_diff(d)),
        });
    }
}
