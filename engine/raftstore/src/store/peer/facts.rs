//! Facts for a person who steps, at the stages at which Raft decides: each value beside the one it is compared with.
//!
//! Runs only for a stepped request.
use kvproto::raft_cmdpb::{CmdType, RaftCmdRequest};
use prost::Message as _;
use raft::eraftpb::{ConfState, Entry};
use tracepoints::{Facts, facts::shown, field::Vote};

use super::{Peer, probe::vote};
use crate::store::run::Run;

/// Counts the stores that have an entry; only the leader knows them. During a joint change of the members, a majority
/// of the old voters and one of the new voters are needed.
pub fn quorum(peer: &Peer, index: u64) -> Facts {
    let progress = peer.raft_group.raft.prs();
    let matched = |id| progress.get(id).map_or(0, |progress| progress.matched);
    let committed = peer.raft_group.raft.raft_log.committed;
    let mut facts = Facts::new("Quorum").number("entry", index);
    for member in &peer.region().peers {
        let what = match (matched(member.id) >= index, vote(member) != Vote::Learner) {
            (true, true) => "has the entry",
            (true, false) => "has the entry, but is a learner and does not vote",
            (false, _) => "not yet",
        };
        let own = if member.id == peer.peer_id() { " (this leader's disk)" } else { "" };
        facts = facts.number(&format!("store {} matched", member.store_id), matched(member.id));
        facts = facts.note(format!("{what}{own}"));
    }
    let state = progress.conf().to_conf_state();
    let mut counts = Vec::new();
    for (name, voters) in majorities(&state) {
        let have = voters.iter().filter(|id| matched(**id) >= index).count();
        let needed = voters.len() / 2 + 1;
        facts = facts.number(&format!("needed{name}"), needed as u64);
        facts = facts.note(format!("of {} voters", voters.len()));
        counts.push((format!("{have} of {}{name} have it", voters.len()), needed));
    }
    facts.outcome(verdict(&counts, committed >= index))
}

/// Returns the groups of which a majority must have an entry, with the words that follow a count.
pub(super) fn majorities(state: &ConfState) -> Vec<(&'static str, &[u64])> {
    match state.voters_outgoing.is_empty() {
        true => vec![("", &state.voters)],
        false => vec![(" new voters", &state.voters), (" old voters", &state.voters_outgoing)],
    }
}

fn verdict(counts: &[(String, usize)], committed: bool) -> String {
    let shown: Vec<String> = counts
        .iter()
        .map(|(count, needed)| if committed { count.clone() } else { format!("{count}, {needed} needed") })
        .collect();
    let shown = shown.join("; ");
    if committed { format!("{shown}: committed") } else { shown }
}

/// Adds to the facts of an acknowledgement whether it completed the quorum.
pub fn acknowledged(facts: Facts, store: u64, committed_before: u64, committed: u64, last: u64) -> Facts {
    let facts = facts.number("acknowledged by store", store);
    let note = match (committed_before >= last, committed >= last) {
        (true, _) => "the entry was committed before",
        (false, true) => "this acknowledgement completes the quorum",
        (false, false) => "the quorum is not complete",
    };
    facts.note(note)
}

/// Counts the quorum after the leader's own disk has an entry, which is its own acknowledgement.
pub fn persisted(leader: &Peer, store: u64, committed_before: u64, last: u64) -> Facts {
    let committed = leader.raft_group.raft.raft_log.committed;
    acknowledged(quorum(leader, last), store, committed_before, committed, last)
}

/// Lists the writes of committed entries. No later leader can lose them.
pub fn committed(run: Run, entries: &[Entry], leader: bool) -> Facts {
    let mut facts = Facts::new("Committed entry").number("index", run.first);
    if run.last > run.first {
        facts = facts.note(format!("to {}", run.last));
    }
    facts = facts
        .number("term", run.term)
        .text("certain now", "no later leader can lose the entry; it is not applied yet");
    if !leader {
        facts = facts.text("known from", "the leader's commit index");
    }
    let ours = entries.iter().filter(|entry| (run.first..=run.last).contains(&entry.index));
    for entry in ours {
        let Ok(command) = RaftCmdRequest::decode(&entry.data[..]) else { continue };
        facts = command.requests.iter().fold(facts, |facts, request| match request.cmd_type() {
            CmdType::Put => {
                let put = request.put.clone().unwrap_or_default();
                facts
                    .text(&format!("put {}", cf(&put.cf)), key(&put.key))
                    .note(format!("{} bytes", put.value.len()))
            }
            CmdType::Delete => {
                let delete = request.delete.clone().unwrap_or_default();
                facts.text(&format!("delete {}", cf(&delete.cf)), key(&delete.key))
            }
            other => facts.text("command", format!("{other:?}")),
        });
        if let Some(admin) = &command.admin_request {
            facts = facts.text("command", format!("{:?}", admin.cmd_type()));
        }
    }
    facts
}

fn cf(name: &str) -> &str {
    if name.is_empty() { "default" } else { name }
}

fn key(encoded: &[u8]) -> String {
    match txn_types::Key::split_readable(encoded) {
        (user_key, Some(ts)) => format!("{} at {ts}", shown(&user_key)),
        (user_key, None) => shown(&user_key),
    }
}

#[cfg(test)]
mod tests {
    use kvproto::raft_cmdpb::{PutRequest, Request};
    use tracepoints::facts::FactValue;

    use super::*;

    #[test]
    fn a_committed_entry_lists_its_writes() {
        let put = PutRequest {
            cf: "write".into(),
            key: txn_types::Key::from_raw(b"k1").append_ts(7.into()).into_encoded(),
            value: vec![1; 9],
        };
        let request = Request { cmd_type: CmdType::Put as i32, put: Some(put), ..Request::default() };
        let data = RaftCmdRequest { requests: vec![request], ..RaftCmdRequest::default() }.encode_to_vec();
        let entry = Entry { index: 8, term: 6, data: data.into(), ..Entry::default() };
        let run = Run { region: 2, term: 6, first: 8, last: 8 };
        let facts = committed(run, &[entry], true);
        let row = facts.rows.iter().find(|row| row.name == "put write").unwrap();
        assert_eq!((&row.value, row.note.as_str()), (&FactValue::Text("k1 at 7".into()), "9 bytes"));
    }

    #[test]
    fn a_joint_change_needs_both_majorities() {
        let mut state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
        assert_eq!(majorities(&state), [("", &[1, 2, 3][..])]);
        state.voters_outgoing = vec![1, 4];
        assert_eq!(majorities(&state), [(" new voters", &[1, 2, 3][..]), (" old voters", &[1, 4])]);
        let counts = [("2 of 3 new voters have it".into(), 2), ("1 of 2 old voters have it".into(), 2)];
        assert_eq!(
            verdict(&counts, false),
            "2 of 3 new voters have it, 2 needed; 1 of 2 old voters have it, 2 needed"
        );
        assert_eq!(verdict(&counts[..1], true), "2 of 3 new voters have it: committed");
    }

    #[test]
    fn the_acknowledgement_that_completes_the_quorum_is_named() {
        let note = |before, after| acknowledged(Facts::new("x"), 3, before, after, 8).rows[0].note.clone();
        assert_eq!(note(7, 8), "this acknowledgement completes the quorum");
        assert_eq!(note(8, 8), "the entry was committed before");
        assert_eq!(note(7, 7), "the quorum is not complete");
    }
}
