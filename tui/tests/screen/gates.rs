//! Gates and held requests: where they hold, and their lists.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tikv_tui::state::{HeldRequest, Phase, SourceEvent, Start, gates};
use tracepoints::{session::GateState, trace::Step};

use crate::{LARGE, Rig, SIZES, SMALL, assert_drawn, common};

#[test]
fn gates_hold_the_request_and_c_goes_to_them() {
    let mut rig = Rig::new(
        common::point_get(),
        Start { gates: vec![gates::parse("lock_cf_get").unwrap()], ..Start::default() },
        LARGE,
        true,
    );
    assert_eq!((rig.stage(), rig.screen.phase()), ("lock_cf_get", Phase::Held));
    rig.keys(":gate at grpc_reply");
    rig.key(KeyCode::Enter);
    assert!(rig.screen.is_gated("grpc_reply"));
    rig.keys("c");
    assert_eq!((rig.stage(), rig.screen.phase()), ("grpc_reply", Phase::Held));
    rig.keys("0c");
    assert_eq!(rig.stage(), "lock_cf_get", "over known steps first");
    rig.keys("b");
    assert!(!rig.screen.is_gated("lock_cf_get"));
    rig.keys("$c");
    assert_eq!((rig.stage(), rig.screen.phase()), ("client_reply", Phase::Finished));
    rig.keys("b");
    assert!(rig.screen.message().is_some_and(|m| m.contains("only observed")));
    rig.keys("n");
    assert!(rig.screen.message().is_some_and(|m| m.contains("has ended")));
}

#[test]
fn c_goes_over_known_steps_as_the_gates_say() {
    let gates = |texts: &[&str]| texts.iter().map(|text| gates::parse(text).unwrap()).collect::<Vec<_>>();
    for (set, expected) in [
        (gates(&["lock_cf_get if store == 7", "grpc_reply if store == 1"]), "grpc_reply"),
        (gates(&["lock_cf_get#2", "grpc_reply"]), "grpc_reply"),
        (gates(&["any if store == 7"]), "client_reply"),
        (gates(&["PointGetter::load_data"]), "write_cf_seek"),
    ] {
        let mut rig = Rig::new(common::point_get(), Start { gates: set, ..Start::default() }, LARGE, true);
        rig.keys("r0");
        assert_eq!((rig.stage(), rig.screen.phase()), ("client_send", Phase::Finished));
        rig.keys("c");
        assert_eq!(rig.stage(), expected, "{:?}", rig.screen.gates());
    }
}

#[test]
fn the_lists_of_gates_and_holds_at_four_widths() {
    for size in SIZES {
        let mut rig = Rig::stepped(size);
        let width = size.0;
        rig.keys("B");
        assert_drawn(&format!("overlay_gates_new_{width}"), &rig);
        rig.keys("lock_cf");
        rig.key(KeyCode::Enter);
        assert_drawn(&format!("overlay_gates_wrong_{width}"), &rig);
        rig.screen.on_key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        rig.keys("any if store == 2 and kind == kv_commit");
        rig.key(KeyCode::Enter);
        for gate in ["raft_propose#2", "key error", "change of commit if store == 2 and new > old"] {
            rig.keys(&format!("a{gate}"));
            rig.key(KeyCode::Enter);
        }
        rig.keys("k ");
        assert_drawn(&format!("overlay_gates_{width}"), &rig);
        rig.key(KeyCode::Esc);
        rig.keys("e");
        assert_drawn(&format!("overlay_operation_{width}"), &rig);
        rig.key(KeyCode::Esc);
        for (id, store) in [(71, 2), (72, 3)] {
            let (stage, thread) = ("raft_ready".to_owned(), format!("raftstore-{store}-0"));
            let hold = HeldRequest { id, stage, store, thread, ..HeldRequest::default() };
            rig.screen.apply(SourceEvent::Held(hold));
        }
        rig.keys("Hj");
        assert_drawn(&format!("overlay_held_{width}"), &rig);
    }
}

#[test]
fn the_list_of_gates_adds_refuses_switches_and_removes() {
    let mut rig = Rig::stepped(SMALL);
    rig.keys("Bwrite_cf_found if commit_ts >");
    rig.key(KeyCode::Enter);
    assert!(rig.text().contains("found the end at column"), "{}", rig.text());
    rig.screen.on_key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    rig.keys("nowhere");
    rig.key(KeyCode::Enter);
    assert!(rig.text().contains("expected a stage of the catalogue, found `nowhere`"), "{}", rig.text());
    rig.screen.on_key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    rig.keys("any if store == 7");
    rig.key(KeyCode::Enter);
    rig.keys("agrpc_reply if store == 1");
    rig.key(KeyCode::Enter);
    let gates = |rig: &Rig| {
        let text = |g: &GateState| format!("{} {}", g.gate.text(), g.on);
        rig.screen.gates().iter().map(text).collect::<Vec<_>>()
    };
    let set = gates(&rig);
    assert!(set.contains(&"any if store == 7 true".to_owned()), "{set:?}");
    assert!(set.contains(&"grpc_reply if store == 1 true".to_owned()), "{set:?}");
    assert!(rig.text().contains("● on  any if store == 7"), "{}", rig.text());
    rig.keys("kkkk ");
    assert_eq!(gates(&rig)[0].rsplit(' ').next(), Some("false"));
    rig.keys("d");
    assert_eq!(gates(&rig).len(), set.len() - 1);
    rig.key(KeyCode::Esc);
    rig.keys("c");
    assert_eq!((rig.stage(), rig.screen.phase()), ("grpc_reply", Phase::Held));
    assert_eq!(rig.screen.message(), Some("held by the gate grpc_reply if store == 1"));
}

#[test]
fn what_another_request_does_in_a_hold_is_marked() {
    let mut rig = Rig::stepped(LARGE);
    rig.keys("nnnnnnnn");
    let (held, at) = (rig.stage().to_owned(), rig.screen.timeline().steps().len());
    let (stage, kind) = ("grpc_receive".to_owned(), "kv_txn_heart_beat".to_owned());
    let step = Step { step: at, stage, kind, request: 9, store: 1, lane: "main".into(), ..Step::default() };
    rig.screen.apply(SourceEvent::Step(Box::new(step)));
    rig.settle();
    assert!(rig.text().contains("grpc_receive while held"), "{}", rig.text());
    let line = format!("while held at {held}: kv_txn_heart_beat runs");
    assert!(rig.screen.log().contains(&line), "{:?}", rig.screen.log());
}

#[test]
fn of_several_held_requests_the_user_chooses() {
    let mut rig = Rig::stepped(SMALL);
    for (id, store) in [(71, 2), (72, 3)] {
        let stage = "raft_ready".to_owned();
        rig.screen.apply(SourceEvent::Held(HeldRequest { id, stage, store, ..HeldRequest::default() }));
    }
    rig.keys("Hj");
    assert!(rig.text().contains("choose which one continues"), "{}", rig.text());
    let held = |rig: &Rig| rig.screen.timeline().holds().iter().map(|hold| hold.id).collect::<Vec<_>>();
    let before = held(&rig);
    rig.key(KeyCode::Enter);
    assert!(!held(&rig).contains(&before[1]) && held(&rig).contains(&before[2]), "{:?}", held(&rig));
}
