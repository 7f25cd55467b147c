use std::collections::BTreeMap;

use super::*;
use crate::{Req, RequestKind, stage, trace::Step};

/// Stamps whose fields the gates of these tests name.
#[allow(dead_code, reason = "the linker collects the stamps of functions that are not called, too")]
fn stamps(req: Req) {
    crate::stamp!(WRITE_CF_FOUND, req, commit_ts = 1_u64, start_ts = 1_u64, write_type = 80_u8, short = true);
    crate::stamp!(GRPC_REPLY, req, region = 1_u64, outcome = 1_u64);
}

fn parse(text: &str) -> Result<Gate, String> {
    Gate::parse(text, &Names::default()).map_err(|e| e.to_string())
}

fn step(fields: &[(&str, u64)]) -> Step {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    Step {
        stage: "write_cf_found".into(),
        kind: "kv_get".into(),
        store: 2,
        request: 7,
        fields,
        ..Step::default()
    }
}

/// Timestamps of PD.
const T20: u64 = 470_607_130_216_890_369;
const T30: u64 = T20 + 10;

/// Whether the condition holds at a write record of commit T30, start T20, where ts1 is T20 and ts2 is T30.
fn holds(condition: &str) -> bool {
    let gate =
        parse(&format!("write_cf_found if {condition}")).unwrap_or_else(|e| panic!("{condition}: {e}"));
    let step = step(&[("commit_ts", T30), ("start_ts", T20), ("write_type", 80), ("short", 0)]);
    let mut timestamps = Timestamps::beginning_with(&[T20]);
    timestamps.learn(&step);
    let at = Recorded { step: &step, key: Some(b"k1"), timestamps: &timestamps };
    gate.accepts(stage::WRITE_CF_FOUND, "", 0, &at)
}

#[test]
fn conditions_compare_fields_timestamps_words_and_keys() {
    for yes in [
        "commit_ts > ts1",
        "commit_ts == ts2 and start_ts = ts1",
        "commit_ts > 470607130216890378 && start_ts < 0x7fffffffffffffff",
        "write_type == Put",
        "write_type == Delete or (start_ts <= ts1 and store == 2)",
        "not short",
        "!(commit_ts != ts2)",
        "key == k1",
        "key == key(\"k\\x31\") and key < 'k2'",
        "kind == kv_get and request == 7",
        "write_type < 1_000us and 5ms == 5000000",
    ] {
        assert!(holds(yes), "{yes}");
    }
    for no in
        ["commit_ts < ts1", "commit_ts > ts3", "ts3 > commit_ts", "short", "key == k2", "kind != kv_get"]
    {
        assert!(!holds(no), "{no}");
    }
}

#[test]
fn a_wrong_condition_says_what_the_stage_has() {
    let wrong = |condition: &str| parse(&format!("write_cf_found if {condition}")).unwrap_err();
    let unknown = wrong("comit_ts > ts1");
    assert!(
        unknown.contains("found `comit_ts`; its fields are commit_ts, short, start_ts, write_type"),
        "{unknown}"
    );
    assert!(unknown.contains("store, kind, key, request"), "{unknown}");
    for (condition, expected) in [
        ("commit_ts >", "found the end at column 12"),
        ("commit_ts > > 1", "found `>` at column 13"),
        ("(commit_ts > 1", "expected `)`, found none"),
        ("commit_ts > 1 commit_ts", "expected `and`, `or` or the end"),
        ("commit_ts > tsx", "expected ts1, ts2"),
        ("commit_ts > 12x", "expected a number such as"),
        ("key == 7", "found a number and a key"),
        ("key == \"k", "expected \" at the end of the text"),
        ("kind == kv_gte", "did you mean"),
        ("commit_ts ; 1", "found `;`"),
        ("write_type == Putt", "expected a field of write_cf_found, found `Putt`"),
        ("", "found the end"),
    ] {
        let error = wrong(condition);
        assert!(error.contains(expected), "{condition}: {error}");
    }
    let deep = format!("{}commit_ts{}", "(".repeat(99), ")".repeat(99));
    assert!(wrong(&deep).contains("at most 32 brackets"));
    for word in ["or", "and"] {
        let terms = |n: usize| vec!["short"; n].join(&format!(" {word} "));
        assert!(parse(&format!("write_cf_found if {}", terms(64))).is_ok());
        let long = wrong(&terms(800_000));
        assert!(long.contains("at most 64 comparisons") && long.len() < 200, "{} bytes", long.len());
    }
}

#[test]
fn a_condition_of_a_change_has_only_the_fields_of_a_change() {
    for condition in ["new > old and store == 2", "region == 7 or not new", "old == 0x10"] {
        assert!(parse(&format!("change of term if {condition}")).is_ok(), "{condition}");
    }
    for (condition, found) in [
        ("key == k1", "key"),
        ("kind == kv_get", "kind"),
        ("new > 1 and request == 7", "request"),
        ("new > ts1", "ts1"),
        ("new > ts(ts1)", "ts1"),
        ("comit > 1", "comit"),
    ] {
        let error = parse(&format!("change of term if {condition}")).unwrap_err();
        let expected = format!("found `{found}`; its fields are new, old, region, store");
        assert!(error.contains(&expected), "{condition}: {error}");
    }
}

#[test]
fn the_text_of_a_gate_names_the_same_place_and_condition_again() {
    let own = include_str!("tests.rs");
    let stamped = own.lines().position(|l| l.contains("WRITE_CF_FOUND, req")).unwrap() + 1;
    let source = |_: &str| Some(own.to_owned());
    let names = Names { source: Some(&source), ..Names::default() };
    // The line of `fn`: only the source shows that it belongs to the stamp after it.
    let gate = Gate::parse(&format!("gates/tests.rs:{}", stamped - 1), &names).unwrap();
    assert_eq!(gate.text(), format!("gates/tests.rs:{stamped}"));
    assert_eq!(parse(gate.text()).unwrap(), gate);
    let spaces = parse("write_cf_found  if  key == 'a  b' ").unwrap();
    assert_eq!(spaces.text(), "write_cf_found if key == 'a  b'");
    assert_eq!(parse(spaces.text()).unwrap(), spaces);
}

#[test]
fn places_are_stages_lines_functions_outcomes_and_changes() {
    assert_eq!(parse("write_cf_found").unwrap(), Gate::at(stage::WRITE_CF_FOUND));
    assert_eq!(parse(" Raft_Propose # 2 ").unwrap().hit, 2);
    let line = include_str!("tests.rs").lines().position(|l| l.contains("WRITE_CF_FOUND, req")).unwrap() + 1;
    let of_line = parse(&format!("gates/tests.rs:{line} if short")).unwrap();
    assert_eq!(of_line.stage(), Some(stage::WRITE_CF_FOUND));
    assert!(matches!(of_line.place, Place::Line { line: found, .. } if found as usize == line));
    assert!(matches!(parse("any if store == 2").unwrap().place, Place::Any));
    assert!(matches!(parse("key error").unwrap().place, Place::Outcome(o) if o == [Outcome::KeyError]));
    assert!(matches!(parse("any error#3").unwrap().place, Place::Outcome(o) if o.len() == 5));
    let change = parse("change of commit#2 if store == 2 and new > old").unwrap();
    assert!(matches!(change.place, Place::Change(Watched::Commit)) && change.hit == 2);
    let function = parse("mvcc/reader/point_getter.rs::PointGetter::load_data");
    assert!(function.is_ok() || function.unwrap_err().contains("end of a path"));
    for (text, expected) in [
        ("", "such as `write_cf_found if"),
        ("if commit_ts > 1", "such as `write_cf_found if"),
        ("lock_cf", "did you mean lock_cf_get"),
        ("zzzz", "grpc_receive, grpc_decode"),
        ("raft_ack", "only observed"),
        ("raft_propose#0", "from 1, found `0`"),
        ("raft_propose#x", "from 1, found `x`"),
        ("nowhere.rs:1", "found `nowhere.rs`, which has none"),
        ("gates/tests.rs:x", "expected FILE:LINE"),
        ("Nothing::at_all", "end of a path"),
        ("change of colour", "values are term, commit"),
        ("two words", "a condition begins with `if`"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_name_of_a_scenario_is_its_timestamp() {
    let named = BTreeMap::from([("before".to_owned(), 25)]);
    let names = Names { timestamps: Some(&named), ..Names::default() };
    let gate = Gate::parse("write_cf_found if commit_ts > before and start_ts < ts(before)", &names).unwrap();
    let step = step(&[("commit_ts", 30), ("start_ts", 20)]);
    let at = Recorded { step: &step, key: None, timestamps: &Timestamps::default() };
    assert!(gate.accepts(stage::WRITE_CF_FOUND, "", 0, &at));
    let wrong = Gate::parse("write_cf_found if commit_ts > ts(befor)", &names).unwrap_err();
    assert!(wrong.to_string().contains("one of before"), "{wrong}");
}

#[test]
fn a_log_point_may_name_a_stage_that_is_only_observed() {
    let names = Names { observed: true, ..Names::default() };
    assert!(Gate::parse("raft_ack", &names).is_ok());
    assert!(RequestKind::parse("kv_get").is_some());
}
