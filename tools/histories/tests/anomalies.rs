//! Hand-made histories, each with one anomaly, and histories without.
use histories::{Anomaly, History, Isolation, Options, Order, check, check_with};

fn names(text: &str) -> Vec<&'static str> {
    found(text, Order::Data).iter().map(|anomaly| anomaly.kind.name()).collect()
}

fn found(text: &str, order: Order) -> Vec<Anomaly> {
    let history: History = text.parse().unwrap();
    check_with(&history, Options { order, isolation: Isolation::Serializable })
}

#[test]
fn a_serial_history_has_no_anomaly() {
    let text = "p0 0..1 ok append x 1; list x [1]\np1 2..3 ok list x [1]; append x 2; append y 1\n\
                p0 4..5 ok list x [1 2]; list y [1]\np2 6..7 ok write r 1\np3 8..9 ok read r 1; write r 2; read r 2";
    assert_eq!(found(text, Order::RealTime), []);
}

#[test]
fn g0_is_a_cycle_of_writes() {
    let text = "p0 0..9 ok append x 1; append y 1\np1 0..9 ok append x 2; append y 2\np2 10..11 ok list x [1 2]; list y [2 1]";
    assert_eq!(names(text)[0], "G0");
}

#[test]
fn g1a_reads_a_value_that_was_rolled_back() {
    assert_eq!(names("p0 0..1 fail append x 1\np1 2..3 ok list x [1]"), ["G1a"]);
    assert_eq!(names("p0 0..1 fail write x 1\np1 2..3 ok read x 1"), ["G1a"]);
}

#[test]
fn g1b_reads_a_value_that_its_writer_replaced() {
    assert!(
        names("p0 0..9 ok append x 1; append x 2\np1 1..3 ok list x [1]\np2 10..11 ok list x [1 2]")
            .contains(&"G1b")
    );
    assert_eq!(names("p0 0..1 ok write x 1; write x 2\np1 2..3 ok read x 1")[0], "G1b");
}

#[test]
fn g1c_is_a_cycle_of_reads_of_each_other() {
    let text = "p0 0..9 ok append x 1; list y [1]\np1 0..9 ok append y 1; list x [1]";
    assert_eq!(names(text), ["G1c"]);
    assert_eq!(names("p0 0..9 ok write x 1; read y 1\np1 0..9 ok write y 1; read x 1"), ["G1c"]);
}

#[test]
fn g_single_is_a_lost_update() {
    let text =
        "p0 0..9 ok list x []; append x 1\np1 1..8 ok list x []; append x 2\np2 10..11 ok list x [1 2]";
    assert_eq!(names(text), ["G-single"]);
    let found = found(text, Order::Data);
    assert_eq!(found[0].to_string(), "G-single: T1 -rw x-> T0 -ww x-> T1");
    assert_eq!(names("p0 0..9 ok read x nil; write x 1\np1 1..8 ok read x nil; write x 2\np2 10..11 ok read x 1; write x 3\np3 12..13 ok read x 2; write x 4").len(), 1);
}

#[test]
fn g_single_is_a_read_of_two_states() {
    let text = "p0 0..9 ok append x 1; append y 1\np1 1..8 ok list x [1]; list y []\np2 10..11 ok list y [1]";
    assert_eq!(names(text), ["G-single"]);
}

#[test]
fn g_nonadjacent_is_a_long_fork() {
    let text = "p0 0..9 ok append x 1\np1 0..9 ok append y 1\np2 0..9 ok list x [1]; list y []\np3 0..9 ok list x []; list y [1]";
    assert_eq!(names(text), ["G-nonadjacent"]);
    let history: History = text.parse().unwrap();
    let snapshot = Options { order: Order::Data, isolation: Isolation::Snapshot };
    assert_eq!(check_with(&history, snapshot).len(), 1, "snapshot isolation forbids it");
}

#[test]
fn g2_is_a_write_skew_which_snapshot_isolation_allows() {
    let text = "p0 0..9 ok list x []; append y 1\np1 0..9 ok list y []; append x 1\np2 10..11 ok list x [1]; list y [1]";
    assert_eq!(names(text), ["G2"]);
    let history: History = text.parse().unwrap();
    assert_eq!(check_with(&history, Options { order: Order::RealTime, isolation: Isolation::Snapshot }), []);
}

#[test]
fn a_stale_read_needs_real_time_or_a_process() {
    let other = "p0 0..1 ok append x 1\np1 2..3 ok list x []\np2 4..5 ok list x [1]";
    assert_eq!(found(other, Order::Process), []);
    let stale = found(other, Order::RealTime);
    assert_eq!(stale.iter().map(|a| a.kind.name()).collect::<Vec<_>>(), ["G-single-realtime"]);
    assert_eq!(stale[0].text, "T1 -rw x-> T0 -realtime-> T1");
    let own = "p0 0..1 ok append x 1\np0 2..3 ok list x []\np2 4..5 ok list x [1]";
    assert_eq!(found(own, Order::Process)[0].kind.name(), "G-single-process");
}

#[test]
fn an_acknowledged_append_that_vanished_is_found() {
    let text = "p0 0..1 ok append x 1\np1 2..3 ok append x 2\np2 4..5 ok list x [1]";
    let lost = found(text, Order::RealTime);
    assert_eq!(lost[0].kind.name(), "G-single-realtime", "{lost:?}");
    let unknown = "p0 0..1 ok append x 1\np1 2..3 unknown append x 2\np2 4..5 ok list x [1]";
    assert_eq!(found(unknown, Order::RealTime), []);
}

#[test]
fn a_lost_answer_may_commit_later() {
    let text = "p0 0..1 unknown append x 1\np0 2..3 ok list x []\np1 4..5 ok list x [1]";
    assert_eq!(found(text, Order::RealTime), []);
}

#[test]
fn values_from_nowhere_and_other_orders_are_found() {
    assert_eq!(names("p0 0..1 ok list x [7]"), ["garbage read"]);
    assert_eq!(names("p0 0..1 ok read x 7"), ["garbage read"]);
    assert!(
        names(
            "p0 0..1 ok append x 1\np1 0..1 ok append x 2\np2 2..3 ok list x [1 2]\np3 2..3 ok list x [2 1]"
        )
        .contains(&"incompatible order")
    );
    assert_eq!(names("p0 0..1 ok append x 1\np1 0..1 ok append x 1")[0], "duplicate write");
    assert_eq!(names("p0 0..1 ok append x 1; list x []"), ["internal"]);
    assert_eq!(names("p0 0..1 ok read x nil; write x 1; read x nil"), ["internal"]);
}

#[test]
fn the_default_check_uses_the_data_only() {
    let history: History =
        "p0 0..1 ok append x 1\np1 2..3 ok list x []\np2 4..5 ok list x [1]".parse().unwrap();
    assert_eq!(check(&history), []);
}
