//! Paths of invented traces: the deciding replica, the irrelevant ones, and that no time is lost or counted
//! twice.
use super::*;
use crate::catalogue::STAGES;

/// Makes a step of the lane that its stage has; `at` and, on the main lane, `dur` in ns.
fn step(stage: &str, store: u64, at: u64, dur: u64) -> Step {
    let entry = find(stage).unwrap_or_else(|| panic!("no stage {stage}"));
    let main = entry.lane == crate::Lane::Main;
    let thread = match (stage, store) {
        (_, 0) => "client".into(),
        (s, n) if s.starts_with("raft_write") => format!("store-writer-{n}-0"),
        (s, n) if s.starts_with("apply") => format!("apply-{n}-0"),
        (_, n) => format!("raftstore-{n}-0"),
    };
    Step {
        stage: stage.into(),
        layer: entry.layer.into(),
        store,
        thread,
        request: 7,
        kind: "raw_put".into(),
        lane: if main { "main" } else { "replica" }.into(),
        at_ns: at,
        dur_ns: dur,
        ..Step::default()
    }
}

fn with(mut step: Step, fields: &[(&str, u64)]) -> Step {
    step.fields = fields.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
    step
}

/// Times in ns at which a store's disk is done and the leader receives its acknowledgement.
struct Times {
    disk: u64,
    ack: u64,
}

/// Makes a write of 1000 ns on stores 1 (leader), 2, 3 ...; committed at `commit`.
fn put(leader_disk: u64, followers: &[Times], commit: u64) -> Vec<Step> {
    let voters = followers.len() as u64 + 1;
    let entry = [("region", 2), ("term", 6), ("index", 9), ("voters", voters)];
    let mut steps = vec![
        step("grpc_receive", 1, 0, 20),
        step("raft_route", 1, 20, 30),
        with(step("raft_propose", 1, 50, 50), &entry),
        step("raft_send", 1, 100, 850),
        step("raft_write_begin", 1, 110, 0),
        step("raft_write_end", 1, leader_disk - 10, 0),
        step("raft_persisted", 1, leader_disk, 0),
        step("raft_commit", 1, commit, 0),
        step("apply_begin", 1, commit + 20, 0),
        step("apply_write", 1, commit + 30, 0),
        step("apply_done", 1, commit + 60, 0),
        step("sched_finish", 1, 950, 20),
        step("grpc_reply", 1, 970, 30),
    ];
    for (n, times) in followers.iter().enumerate() {
        let store = n as u64 + 2;
        steps.push(step("follower_receive", store, 130, 0));
        steps.push(step("follower_append", store, 140, 0));
        steps.push(step("raft_write_begin", store, 150, 0));
        steps.push(step("raft_write_end", store, times.disk - 10, 0));
        steps.push(step("raft_persisted", store, times.disk, 0));
        steps.push(step("follower_ack", store, times.disk + 1, 0));
        steps.push(with(step("raft_ack", 1, times.ack, 0), &[("from", store), ("last", 9)]));
    }
    numbered(steps)
}

fn numbered(mut steps: Vec<Step>) -> Vec<Step> {
    steps.sort_by_key(|s| s.at_ns);
    steps.iter_mut().enumerate().for_each(|(i, s)| s.step = i);
    steps
}

fn verdicts(path: &CriticalPath) -> Vec<(u64, ReplicaRole)> {
    path.quorums[0].replicas.iter().map(|r| (r.store, r.verdict)).collect()
}

fn stages(path: &CriticalPath) -> Vec<(&str, u64, u64, Class)> {
    path.segments.iter().map(|s| (s.stage.as_str(), s.store, s.dur_ns, s.class)).collect()
}

#[test]
fn a_slow_follower_is_irrelevant_if_the_other_makes_the_quorum() {
    let path =
        CriticalPath::find(&put(200, &[Times { disk: 300, ack: 330 }, Times { disk: 900, ack: 930 }], 335));
    assert_eq!(
        verdicts(&path),
        [(1, ReplicaRole::Counted), (2, ReplicaRole::Decided), (3, ReplicaRole::Late)]
    );
    let quorum = &path.quorums[0];
    assert_eq!((quorum.voters, quorum.needed, quorum.index), (3, 2, 9));
    assert_eq!((quorum.decided_by, quorum.decided_ns), (Some(2), Some(330)));
    assert_eq!((quorum.replicas[0].slack_ns, quorum.replicas[2].slack_ns), (130, 600));
    assert_eq!(
        stages(&path),
        [
            ("grpc_receive", 1, 20, Class::Work),
            ("raft_route", 1, 30, Class::Queue),
            ("raft_propose", 1, 50, Class::Work),
            ("raft_send", 1, 30, Class::Network),
            ("follower_receive", 2, 10, Class::Work),
            ("follower_append", 2, 10, Class::Queue),
            ("raft_write_begin", 2, 140, Class::Fsync),
            ("raft_write_end", 2, 10, Class::Queue),
            ("raft_persisted", 2, 1, Class::Work),
            ("follower_ack", 2, 29, Class::Network),
            ("raft_ack", 1, 5, Class::Work),
            ("raft_commit", 1, 20, Class::Queue),
            ("apply_begin", 1, 10, Class::Work),
            ("apply_write", 1, 30, Class::Work),
            ("apply_done", 1, 555, Class::Queue),
            ("sched_finish", 1, 20, Class::Queue),
            ("grpc_reply", 1, 30, Class::Network),
        ]
    );
    assert_eq!((path.total_ns, path.classes[&Class::Fsync], path.classes[&Class::Network]), (1000, 140, 89));
    let on: Vec<&str> = path.segments[3..7].iter().map(|s| s.on.as_str()).collect();
    assert_eq!(on, ["store 2", "raftstore-2", "store-writer-2", "store-writer-2"]);
}

#[test]
fn the_leaders_disk_decides_if_one_follower_was_faster() {
    let path =
        CriticalPath::find(&put(520, &[Times { disk: 200, ack: 220 }, Times { disk: 800, ack: 820 }], 525));
    assert_eq!(
        verdicts(&path),
        [(1, ReplicaRole::Decided), (2, ReplicaRole::Counted), (3, ReplicaRole::Late)]
    );
    let stages: Vec<&str> = path.segments.iter().map(|s| s.stage.as_str()).collect();
    assert_eq!(
        stages[3..8],
        ["raft_send", "raft_write_begin", "raft_write_end", "raft_persisted", "raft_commit"]
    );
    assert_eq!(path.segments[3].class, Class::Queue, "no network between the leader and its own writer");
    assert!(path.segments.iter().all(|s| s.store <= 1), "no follower is on the path");
    let text = lines(&path, &|ns| format!("{ns} ns"));
    assert_eq!(text[0].split(" = ").next(), Some("critical path: 1000 ns"));
    assert!(
        text[1].contains("longest: raft_write_begin on store 1, 400 ns of fsync (store-writer-1)"),
        "{text:?}"
    );
    assert_eq!(
        text[2],
        "  entry 9 of raw_put, 2 of 3: the leader's own disk (store 1) made the quorum; store 2 counted 300 ns \
         earlier; store 3 did not matter, 300 ns later"
    );
}

#[test]
fn followers_can_complete_the_quorum_without_the_leader() {
    let path =
        CriticalPath::find(&put(900, &[Times { disk: 200, ack: 220 }, Times { disk: 300, ack: 320 }], 325));
    assert_eq!(
        verdicts(&path),
        [(1, ReplicaRole::Late), (2, ReplicaRole::Counted), (3, ReplicaRole::Decided)]
    );
}

#[test]
fn a_joint_change_needs_a_majority_of_both_configurations() {
    // Stores 1 and 2 stay, 3 joins, 4 leaves: new configuration {1, 2, 3}, old configuration {1, 2, 4}.
    let times = [Times { disk: 800, ack: 830 }, Times { disk: 300, ack: 330 }, Times { disk: 500, ack: 530 }];
    let mut steps = put(200, &times, 535);
    for step in &mut steps {
        let said: &[(&str, u64)] = match (step.stage.as_str(), step.fields.get("from")) {
            ("raft_propose", _) => &[("voters", 3), ("outgoing", 3)],
            ("raft_ack", Some(3)) => &[("joining", 1)],
            ("raft_ack", Some(4)) => &[("leaving", 1)],
            _ => &[],
        };
        step.fields.extend(said.iter().map(|(name, n)| ((*name).to_owned(), *n)));
    }
    let path = CriticalPath::find(&steps);
    let quorum = &path.quorums[0];
    assert_eq!((quorum.voters, quorum.needed, quorum.outgoing), (3, 2, 3));
    // Two of the three new voters are there at 330; of the old ones, only store 4's answer makes the second.
    assert_eq!((quorum.decided_by, quorum.decided_ns), (Some(4), Some(530)));
    assert_eq!(
        verdicts(&path),
        [
            (1, ReplicaRole::Counted),
            (2, ReplicaRole::Late),
            (3, ReplicaRole::Counted),
            (4, ReplicaRole::Decided)
        ]
    );
    let text = lines(&path, &|ns| format!("{ns} ns")).join("\n");
    assert!(text.contains("2 of 3 to come and 2 of 3 before (joint consensus): store 4's ack"), "{text}");
}

#[test]
fn of_five_voters_three_are_needed_even_if_two_are_down() {
    let acks = [(200, 220), (300, 320), (400, 420), (800, 820)].map(|(disk, ack)| Times { disk, ack });
    let path = CriticalPath::find(&put(700, &acks, 425));
    assert_eq!(path.quorums[0].needed, 3);
    assert_eq!(path.quorums[0].decided_by, Some(4));
    // Two of the followers are down: only the number of voters in the proposal shows that three are needed.
    let mut steps = put(250, &acks[..2], 325);
    let propose = steps.iter_mut().find(|s| s.stage == "raft_propose").unwrap();
    propose.fields.insert("voters".into(), 5);
    let path = CriticalPath::find(&numbered(steps));
    assert_eq!((path.quorums[0].needed, path.quorums[0].decided_by), (3, Some(3)));
}

#[test]
fn a_learner_never_counts() {
    let mut steps = put(500, &[Times { disk: 200, ack: 220 }, Times { disk: 800, ack: 820 }], 825);
    let ack = steps.iter_mut().find(|s| s.fields.get("from") == Some(&2)).unwrap();
    ack.fields.insert("learner".into(), 1);
    let path = CriticalPath::find(&steps);
    assert_eq!(
        verdicts(&path),
        [(1, ReplicaRole::Counted), (2, ReplicaRole::Learner), (3, ReplicaRole::Decided)]
    );
}

#[test]
fn missing_stamps_are_not_invented() {
    let times = [Times { disk: 300, ack: 330 }, Times { disk: 400, ack: 430 }];
    let mut unnamed = put(200, &times, 335);
    unnamed.iter_mut().for_each(|s| _ = s.fields.remove("from"));
    let path = CriticalPath::find(&unnamed);
    assert_eq!((path.quorums[0].decided_by, path.quorums[0].decided_ns), (None, Some(330)));
    assert!(lines(&path, &|ns| ns.to_string())[2].contains("does not say whose"));
    assert_eq!(path.total_ns, 1000);
    // Without the deciding ack the store is unknown; the time is still there.
    let mut lost = put(200, &times, 335);
    lost.retain(|s| s.stage != "raft_ack");
    let path = CriticalPath::find(&numbered(lost));
    assert_eq!(path.quorums[0].decided_by, None);
    assert!(lines(&path, &|ns| ns.to_string())[2].contains("stamps are missing"));
    assert_eq!(path.total_ns, 1000);
    // A lost link lengthens its neighbours.
    let mut gap = put(200, &times, 335);
    gap.retain(|s| !(s.store == 2 && s.stage == "raft_write_end"));
    let path = CriticalPath::find(&numbered(gap));
    assert_eq!((path.total_ns, path.classes[&Class::Fsync]), (1000, 150));
}

#[test]
fn a_read_without_a_lease_waits_for_the_first_answer() {
    let ask = [("region", 2), ("term", 6), ("read_id", 3), ("voters", 3)];
    let steps = numbered(vec![
        step("local_read_reject", 1, 0, 10),
        with(step("read_index_propose", 1, 10, 90), &ask),
        step("read_index_heartbeat", 2, 40, 0),
        step("read_index_heartbeat", 3, 30, 0),
        with(step("read_index_ack", 1, 60, 0), &[("from", 3)]),
        with(step("read_index_ack", 1, 95, 0), &[("from", 2)]),
        step("read_index_confirm", 1, 100, 5),
    ]);
    let path = CriticalPath::find(&steps);
    assert_eq!(path.quorums[0].decided_by, Some(3));
    assert_eq!(
        verdicts(&path),
        [(1, ReplicaRole::Counted), (2, ReplicaRole::Late), (3, ReplicaRole::Decided)]
    );
    assert_eq!(path.classes[&Class::Network], 50);
    assert_eq!(path.classes[&Class::Lease], 10);
    assert_eq!(path.total_ns, 105);
}

#[test]
fn of_parallel_requests_the_later_one_is_on_the_path() {
    let of = |request: u64, mut s: Step| {
        s.request = request;
        s
    };
    let steps = numbered(vec![
        of(1, step("client_send", 0, 0, 10)),
        of(2, step("grpc_receive", 1, 10, 50)),
        of(3, step("grpc_receive", 2, 12, 20)),
        of(3, step("grpc_reply", 2, 32, 68)),
        of(2, step("grpc_reply", 1, 60, 10)),
        of(1, step("client_reply", 0, 100, 5)),
    ]);
    let path = CriticalPath::find(&steps);
    let shown: Vec<_> = path.segments.iter().map(|s| (steps[s.step].request, s.dur_ns)).collect();
    assert_eq!(shown, [(1, 10), (2, 2), (3, 20), (3, 68), (1, 5)]);
    assert_eq!(path.total_ns, 105);
    assert!(path.has(0) && path.longest().is_some_and(|s| s.dur_ns == 68));
}

#[test]
fn unanswered_messages_count_as_a_wait_for_other_stores() {
    let steps = numbered(vec![
        step("raft_route", 1, 0, 10),
        step("raft_send", 1, 10, 900),
        step("sched_finish", 1, 910, 10),
        step("grpc_reply", 1, 920, 30),
    ]);
    let path = CriticalPath::find(&steps);
    let on = |stage: &str| path.segments.iter().find(|s| s.stage == stage).map(|s| s.on.clone());
    assert_eq!(on("raft_send").as_deref(), Some("the region's other stores"));
    assert_eq!(on("grpc_reply").as_deref(), Some("the client"));
    assert_eq!(path.classes[&Class::Quorum], 900);
}

#[test]
fn a_leader_without_follower_stamps_waits_for_a_quorum() {
    // Like a session in the leader's process: the stamps of the followers are in other processes.
    let mut steps = put(600, &[Times { disk: 300, ack: 330 }, Times { disk: 900, ack: 930 }], 605);
    steps.retain(|s| s.store == 1);
    let path = CriticalPath::find(&numbered(steps.clone()));
    assert_eq!(path.quorums[0].decided_by, Some(1));
    let mut steps = put(200, &[Times { disk: 300, ack: 330 }, Times { disk: 900, ack: 930 }], 335);
    steps.retain(|s| s.store == 1);
    let path = CriticalPath::find(&numbered(steps.clone()));
    let send = stages(&path).into_iter().find(|s| s.0 == "raft_send").unwrap();
    assert_eq!((send.2, send.3), (230, Class::Quorum), "{:?}", path.segments);
    // The same holds if the acknowledging store is unknown.
    steps.retain(|s| s.stage != "raft_ack");
    let path = CriticalPath::find(&numbered(steps));
    let send = stages(&path).into_iter().find(|s| s.0 == "raft_send").unwrap();
    assert_eq!((send.2, send.3), (235, Class::Quorum), "{:?}", path.segments);
}

#[test]
fn requests_parallel_to_the_operation_are_not_on_the_path() {
    let of = |request: u64, kind: &str, mut s: Step| {
        (s.request, s.kind) = (request, kind.to_owned());
        s
    };
    let beat = |s| of(3, "kv_txn_heart_beat", s);
    let steps = numbered(vec![
        of(1, "client", step("client_send", 0, 0, 10)),
        of(2, "kv_prewrite", step("grpc_receive", 1, 10, 90)),
        beat(step("latch_wait", 1, 20, 130)),
        of(1, "client", step("client_backoff", 0, 100, 50)),
        beat(step("grpc_reply", 1, 150, 20)),
        of(1, "client", step("client_reply", 0, 150, 0)),
    ]);
    let path = CriticalPath::find(&steps);
    let shown: Vec<_> = stages(&path).into_iter().map(|s| (s.0, s.2)).collect();
    assert_eq!(shown, [("client_send", 10), ("grpc_receive", 90), ("client_backoff", 50)]);
    assert_eq!(path.classes[&Class::Backoff], 50);
    // Stepped on its own, the request is the path.
    let alone: Vec<Step> = steps.into_iter().filter(|s| s.request == 3).collect();
    assert_eq!(CriticalPath::find(&numbered(alone)).total_ns, 150);
}

#[test]
fn held_time_is_not_on_the_path() {
    let mut steps = put(300, &[Times { disk: 900, ack: 930 }], 935);
    let held = |s: &mut Step, ns: u64| (s.held_ns, s.dur_ns) = (ns, s.dur_ns.saturating_sub(ns));
    held(steps.iter_mut().find(|s| s.stage == "raft_propose").unwrap(), 20);
    held(steps.iter_mut().find(|s| s.stage == "follower_append").unwrap(), 5);
    let path = CriticalPath::find(&steps);
    assert_eq!(path.total_ns, 975, "{:?}", path.segments);
    let took =
        |stage: &str, store| path.segments.iter().find(|s| (s.stage.as_str(), s.store) == (stage, store));
    assert_eq!(took("raft_propose", 1).map(|s| (s.at_ns, s.dur_ns)), Some((70, 30)));
    assert_eq!(took("follower_append", 2).map(|s| s.dur_ns), Some(5));
}

#[test]
fn times_of_a_damaged_trace_do_not_overflow() {
    let mut held = step("grpc_receive", 1, 7, u64::MAX);
    held.held_ns = u64::MAX;
    let last = step("raft_route", 1, u64::MAX, 1);
    let steps = numbered(vec![held, last, step("grpc_reply", 1, 10, u64::MAX - 10)]);
    let path = CriticalPath::find(&steps);
    assert!(path.segments.len() <= steps.len(), "{:?}", path.segments);
    let sum = path.segments.iter().fold(0u64, |sum, s| sum.saturating_add(s.dur_ns));
    assert_eq!(path.total_ns, sum);
    // A path of one step at the greatest time has no length, and ends.
    assert!(CriticalPath::find(&numbered(vec![step("raft_route", 1, u64::MAX, 1)])).segments.is_empty());
}

#[test]
fn every_class_is_named_as_the_catalogue_writes_it() {
    for class in Class::ALL {
        assert_eq!(serde_json::to_value(class).unwrap(), class.name());
    }
    assert_eq!(lines(&CriticalPath::find(&[]), &|_| String::new()), Vec::<String>::new());
}

proptest::proptest! {
    /// For any stamps, segments are in sequence, do not overlap, and sum to the total.
    #[test]
    fn time_is_never_counted_twice(
        raw in proptest::collection::vec((0usize..STAGES.len(), 0u64..4, 0u64..500, 0u64..80, 1u64..4, 0u64..4), 0..60),
    ) {
        let steps = numbered(raw.into_iter().map(|(stage, store, at, dur, request, from)| {
            let mut s = with(step(STAGES[stage].name, store, at, dur), &[("from", from), ("voters", from)]);
            s.request = request;
            s
        }).collect());
        let path = CriticalPath::find(&steps);
        let mut at = 0;
        for segment in &path.segments {
            proptest::prop_assert!(segment.at_ns >= at, "{:?}", path.segments);
            at = segment.at_ns + segment.dur_ns;
        }
        proptest::prop_assert_eq!(path.segments.iter().map(|s| s.dur_ns).sum::<u64>(), path.total_ns);
        proptest::prop_assert_eq!(path.classes.values().sum::<u64>(), path.total_ns);
    }
}
