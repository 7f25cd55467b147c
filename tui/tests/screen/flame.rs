//! The flame graph and the timeline of an operation.
use crossterm::event::KeyCode;
use tikv_tui::state::{Start, overlay::Overlay};

use crate::{LARGE, Rig, SMALL, assert_drawn, common};

#[test]
fn the_timeline_shows_messages_as_arrows() {
    let mut rig = Rig::new(common::prewrite(), Start { run: true, ..Start::default() }, LARGE, true);
    rig.keys("ft");
    let text = rig.text();
    assert!(text.contains("store 2 log") && text.contains('▼') && text.contains('▲'), "{text}");
    rig.keys("0");
    for _ in 0..40 {
        rig.keys("p");
    }
    rig.keys("n");
    assert!(rig.text().contains("receives a message from client"), "{}", rig.text());
    rig.keys("jjl");
    rig.keys("z");
    assert!(rig.text().contains("Timeline: "), "{}", rig.text());
    rig.key(KeyCode::Esc);
    rig.keys("t");
    assert!(rig.text().contains("Flame: "));
    rig.keys("t");
    rig.key(KeyCode::Enter);
    assert_eq!(*rig.screen.overlay(), Overlay::None);
}

#[test]
fn the_flame_has_its_own_help_and_enter_goes_to_the_step() {
    let mut rig = Rig::new(common::prewrite(), Start { run: true, ..Start::default() }, LARGE, true);
    rig.keys("f?");
    assert!(rig.text().contains("Help: flame"), "{}", rig.text());
    rig.key(KeyCode::Esc);
    assert!(rig.text().contains("Flame: ") && !rig.text().contains("Help: flame"));
    rig.keys("m");
    assert!(rig.text().contains("Colours: layer of the code"), "{}", rig.text());
    rig.keys("kkkj");
    rig.key(KeyCode::Enter);
    assert_eq!(
        (rig.stage(), rig.screen.overlay()),
        ("client_send", &Overlay::None),
        "a group: its first step"
    );
}

#[test]
fn the_flame_is_zoomed_searched_filtered_coloured_and_turned() {
    for (name, size) in [("small", SMALL), ("large", LARGE)] {
        let mut rig = Rig::new(common::prewrite(), Start { run: true, ..Start::default() }, size, true);
        let shot = |rig: &Rig, what: &str| assert_drawn(&format!("flame_{what}_{name}"), rig);
        rig.keys("f");
        assert!(rig.text().contains("store 2's ack made the quorum"), "{}", rig.text());
        rig.keys("kkkkjlz");
        shot(&rig, "zoomed");
        assert!(rig.text().contains("from 390 µs on"), "{}", rig.text());
        rig.keys("/raft");
        rig.key(KeyCode::Enter);
        rig.keys("]");
        shot(&rig, "searched");
        assert!(rig.text().contains("/raft: ") && !rig.text().contains("/raft: 0"));
        rig.keys("mi");
        shot(&rig, "classes_inverted");
        rig.keys("s");
        assert!(rig.text().contains("only raft"), "{}", rig.text());
        shot(&rig, "filtered");
        for _ in 0..3 {
            rig.key(KeyCode::Esc);
            assert!(rig.text().contains("Flame"), "zoom, filter and search are taken back first");
        }
        rig.key(KeyCode::Esc);
        assert!(!rig.text().contains("Flame"));
    }
}

#[test]
fn the_flame_is_compared_with_the_operation_before() {
    let mut rig = Rig::new(common::prewrite(), Start { run: true, ..Start::default() }, LARGE, true);
    rig.keys("fmmm");
    assert!(rig.screen.message().is_some_and(|m| m.contains("no operation before")));
    let earlier = [("kv_prewrite;raftstore;raft_send", 400_000), ("kv_prewrite;grpc;grpc_receive", 50_000)];
    let earlier = earlier.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    rig.screen.compare_with("put k0 v0".into(), earlier);
    rig.keys("mm");
    assert_drawn("flame_diff", &rig);
    let text = rig.text();
    assert!(text.contains("▲ more ▼ less than put k0 v0") && text.contains("▲raft_send"), "{text}");
    rig.keys("kkkkllljj");
    assert!(rig.text().contains("before "), "{}", rig.text());
}
