//! Five values in four fields: an acknowledgement's stamp has its entries and its sender.
use tracepoints::{
    Req, Stamp, StampSite,
    field::{self, Vote, from_count},
    stage,
};

fn named(fields: &'static [&'static str], values: [u64; 4]) -> Vec<(&'static str, u64)> {
    let site = Box::leak(Box::new(StampSite::new(stage::RAFT_ACK, "f.rs", 1, fields, || "f::__here")));
    let stamp = Stamp { req: Req::NONE, site: Some(site), fields: values, ..Stamp::EMPTY };
    stamp.named_fields().collect()
}

const ACK: &[&str] = &["region", "term", "last", "from_count"];

#[test]
fn the_sender_and_the_first_entry_are_separate_fields() {
    let shown = named(ACK, [2, 6, 13, from_count(5, Vote::Both, 3)]);
    assert_eq!(shown, [("region", 2), ("term", 6), ("last", 13), ("from", 5), ("first", 11)]);
    let learner = named(ACK, [2, 6, 13, from_count(u64::from(u32::MAX) / 4, Vote::Learner, 1)]);
    assert_eq!(learner[3..], [("from", u64::from(u32::MAX) / 4), ("first", 13), ("learner", 1)]);
}

#[test]
fn a_vote_in_one_of_two_configurations_is_a_field() {
    let joining = named(ACK, [2, 6, 13, from_count(5, Vote::Joining, 3)]);
    assert_eq!(joining[3..], [("from", 5), ("first", 11), ("joining", 1)]);
    let propose: &[&str] = &["region", "term", "index", "voters"];
    assert_eq!(named(propose, [2, 6, 9, field::voters(3, 0, Vote::Both)])[3..], [("voters", 3)]);
    let joint = named(propose, [2, 6, 9, field::voters(3, 4, Vote::Leaving)]);
    assert_eq!(joint[3..], [("voters", 3), ("outgoing", 4), ("leaving", 1)]);
    assert_eq!(named(&["from"], [field::from(5, Vote::Leaving), 0, 0, 0]), [("from", 5), ("leaving", 1)]);
    assert_eq!(named(&["from"], [5, 0, 0, 0]), [("from", 5)]);
}

#[test]
fn values_that_do_not_fit_are_capped_without_a_panic() {
    let many = named(ACK, [2, 6, 1 << 40, from_count(5, Vote::Both, 1 << 40)]);
    assert_eq!(many[3], ("from", 5), "the count is capped, the sender stays");
    assert_eq!(named(ACK, [0; 4])[3..], [("from", 0), ("first", 1)]);
    assert_eq!(named(ACK, [u64::MAX; 4]).len(), 6);
    assert_eq!(named(&["region"], [7, 0, 0, 0]), [("region", 7)]);
}
