use std::collections::BTreeMap;

use tracepoints_export::{Lane, folded::Folder};

use crate::sample;

#[test]
fn lines_sum_to_the_stages() {
    let mut folder = Folder::default();
    sample::requests().iter().for_each(|r| folder.request(r));
    let mut out = Vec::new();
    folder.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: BTreeMap<&str, u64> =
        text.lines().map(|l| l.rsplit_once(' ').unwrap()).map(|(s, n)| (s, n.parse().unwrap())).collect();
    let spans = || sample::requests().iter().flat_map(|r| r.spans.iter().map(move |s| (r, s)));
    let main: u64 = spans().filter(|(_, s)| s.lane == Lane::Main).map(|(_, s)| s.dur_ns).sum();
    let sum: u64 = lines.iter().filter(|(s, _)| !s.starts_with("replicas;")).map(|(_, n)| n).sum();
    assert_eq!(sum, main);
    let proposed: u64 = spans().filter(|(_, s)| s.name == "raft_propose").map(|(_, s)| s.dur_ns).sum();
    assert_eq!(lines["raw_put;raft_propose"], proposed);
    let appended = spans().filter(|(_, s)| s.name == "follower_append" && s.store == 3);
    assert_eq!(
        lines["replicas;raw_put;follower_append;store-3"],
        appended.map(|(_, s)| s.dur_ns).sum::<u64>()
    );
}
