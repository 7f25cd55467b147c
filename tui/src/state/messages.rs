//! The lanes of an operation and the messages between them: of the client, of PD, and of each store its requests
//! and its replicas' work.
use tracepoints::trace::Step;

/// A lane of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The client.
    Client,
    /// The placement driver.
    Pd,
    /// A store's part in the requests' own path.
    Main(u64),
    /// A store's work beside it: log, replication, apply.
    Replica(u64),
}

impl Lane {
    /// The lane of a step.
    pub fn from_step(step: &Step) -> Self {
        match (step.layer.as_str(), step.lane.as_str()) {
            ("client", _) => Self::Client,
            ("pd", _) => Self::Pd,
            (_, "main") => Self::Main(step.store),
            _ => Self::Replica(step.store),
        }
    }

    /// The name before the lane.
    pub fn name(self) -> String {
        match self {
            Self::Client => "client".into(),
            Self::Pd => "PD".into(),
            Self::Main(store) => format!("store {store}"),
            Self::Replica(store) => format!("store {store} log"),
        }
    }

    /// The store; 0 for the client and PD.
    fn store(self) -> u64 {
        match self {
            Self::Client | Self::Pd => 0,
            Self::Main(store) | Self::Replica(store) => store,
        }
    }
}

/// Lists the lanes of the steps: the client, PD, then each store's.
pub fn lanes(steps: &[Step]) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = steps.iter().map(Lane::from_step).collect();
    lanes.sort_by_key(|lane| (lane.store(), *lane));
    lanes.dedup();
    lanes
}

/// A message from one lane to another. Times are in ns since the operation began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The lane that sends.
    pub from: Lane,
    /// The time of the sending step.
    pub sent_ns: u64,
    /// The lane that receives.
    pub to: Lane,
    /// The time of arrival.
    pub arrived_ns: u64,
    /// The step that receives it, by its number.
    pub step: usize,
}

/// Finds the messages: requests and replies of the client, and Raft's messages between the stores.
pub fn messages(steps: &[Step]) -> Vec<Message> {
    let mut out = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        if let Some(sent) = sender(steps, i) {
            out.push(Message {
                from: Lane::from_step(&steps[sent]),
                sent_ns: sent_at(&steps[sent], step),
                to: Lane::from_step(step),
                arrived_ns: step.at_ns,
                step: i,
            });
        }
    }
    out
}

/// A reply leaves at the end of the last stage; any other message at its stamp.
fn sent_at(sender: &Step, receiver: &Step) -> u64 {
    if receiver.layer == "client" { sender.end_ns().min(receiver.at_ns) } else { sender.at_ns }
}

/// The step that sent what this step receives.
fn sender(steps: &[Step], i: usize) -> Option<usize> {
    let step = &steps[i];
    let before = &steps[..i];
    let last = |stage: &str, store: Option<u64>| {
        before.iter().rposition(|s| {
            s.request == step.request && s.stage == stage && store.is_none_or(|store| s.store == store)
        })
    };
    match step.stage.as_str() {
        "grpc_receive" | "pd_tso" | "pd_get_region" => before.iter().rposition(|s| s.layer == "client"),
        "follower_receive" => last("raft_send", None).or_else(|| last("raft_propose", None)),
        "read_index_heartbeat" => last("read_index_propose", None),
        "raft_ack" => {
            let from = step.fields.get("from").copied().filter(|store| *store != step.store)?;
            last("follower_ack", Some(from))
        }
        "read_index_ack" => {
            let from = step.fields.get("from").copied().filter(|store| *store != step.store)?;
            last("read_index_heartbeat", Some(from))
        }
        _ if step.layer == "client" => {
            // Only the step right before can be a reply: otherwise the client worked in between.
            before.iter().rposition(|s| s.lane == "main").filter(|at| steps[*at].layer != "client")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(stage: &str, layer: &str, store: u64, at_ns: u64) -> Step {
        let lane = if stage.starts_with("follower") || stage == "raft_ack" { "replica" } else { "main" };
        let request = if layer == "client" { 1 } else { 2 };
        let (stage, layer, lane) = (stage.into(), layer.into(), lane.into());
        Step { stage, layer, lane, store, at_ns, dur_ns: 10, request, ..Step::default() }
    }

    #[test]
    fn requests_replies_and_raft_messages_are_found() {
        let mut steps = vec![
            step("client_send", "client", 0, 0),
            step("grpc_receive", "grpc", 1, 10),
            step("raft_send", "raftstore", 1, 20),
            step("follower_receive", "raftstore", 2, 30),
            step("follower_receive", "raftstore", 3, 31),
            step("follower_ack", "raftstore", 2, 40),
            step("raft_ack", "raftstore", 1, 50),
            step("grpc_reply", "grpc", 1, 60),
            step("client_reply", "client", 0, 80),
        ];
        steps[6].fields.insert("from".into(), 2);
        let found: Vec<_> = messages(&steps)
            .into_iter()
            .map(|m| (m.from.name(), m.sent_ns, m.to.name(), m.arrived_ns))
            .collect();
        let named = |(from, sent, to, arrived): (&str, u64, &str, u64)| {
            (from.to_owned(), sent, to.to_owned(), arrived)
        };
        let expected = [
            ("client", 0, "store 1", 10),
            ("store 1", 20, "store 2 log", 30),
            ("store 1", 20, "store 3 log", 31),
            ("store 2 log", 40, "store 1 log", 50),
            ("store 1", 70, "client", 80),
        ];
        assert_eq!(found, expected.map(named));
        let lanes: Vec<_> = lanes(&steps).into_iter().map(Lane::name).collect();
        assert_eq!(lanes, ["client", "store 1", "store 1 log", "store 2 log", "store 3 log"]);
    }
}
