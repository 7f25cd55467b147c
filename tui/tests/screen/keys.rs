//! Keys and the mouse: stepping, panes, search, and what the program must do.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use tikv_tui::{
    export,
    state::{Effect, Pane, Phase, SourceEvent, Start, panes::Tab},
};
use tracepoints::trace::Step;

use crate::{LARGE, Rig, SMALL, common};

#[test]
fn stepping_goes_forward_and_back_and_state_is_as_it_was() {
    let mut rig = Rig::stepped(LARGE);
    assert_eq!(
        (rig.stage(), rig.screen.phase(), rig.screen.timeline().steps().len()),
        ("client_send", Phase::Held, 1)
    );
    rig.keys("nnnnnnnnnnnn");
    assert_eq!(rig.stage(), "write_cf_found");
    assert!(rig.text().contains("▸ write"), "the chosen version is marked");
    let newest = rig.screen.timeline().steps().len();
    rig.keys("p");
    assert_eq!((rig.stage(), rig.screen.timeline().steps().len()), ("write_cf_seek", newest));
    assert!(!rig.text().contains("▸ write"), "it was not chosen yet");
    rig.key(KeyCode::Right);
    assert_eq!(
        (rig.stage(), rig.screen.timeline().steps().len()),
        ("write_cf_found", newest),
        "forward over known steps"
    );
    rig.keys("0");
    assert_eq!(rig.stage(), "client_send");
    rig.keys("p");
    assert_eq!(rig.screen.message(), Some("this is the first step"));
    rig.keys("H");
    assert_eq!(rig.stage(), "write_cf_found");
}

#[test]
fn the_palette_runs_to_a_stage_and_an_operation_needs_a_client() {
    let mut rig = Rig::stepped(SMALL);
    rig.keys(":run to grpc_reply");
    rig.key(KeyCode::Enter);
    assert_eq!((rig.stage(), rig.screen.phase()), ("grpc_reply", Phase::Held));
    assert!(rig.screen.gates().is_empty(), "the gate held once");
    rig.keys("eget k1");
    rig.key(KeyCode::Enter);
    assert!(rig.text().contains("this source has no client"), "{}", rig.text());
    rig.key(KeyCode::Esc);
    rig.keys("R");
    assert!(rig.screen.message().is_some_and(|m| m.contains("nothing can run again here")));
}

#[test]
fn observed_stages_are_not_skipped() {
    let mut rig = Rig::stepped(LARGE);
    let mut seen = vec![rig.stage().to_owned()];
    for _ in 0..40 {
        rig.keys("n");
        if seen.last().map(String::as_str) != Some(rig.stage()) {
            seen.push(rig.stage().to_owned());
        }
    }
    let all: Vec<String> = common::point_get().into_iter().map(|s| s.stage).collect();
    assert_eq!(seen, all, "n visits every step once, held or only observed");
}

#[test]
fn keys_of_panes_search_zoom_and_quit() {
    let mut rig = Rig::stepped(SMALL);
    rig.keys("nnnnnnnnnnn3j");
    assert_eq!(rig.screen.panes().frame(), Some(1));
    rig.keys("2");
    assert!(rig.text().contains("point_getter.rs:19"), "the frame's source: {}", rig.text());
    rig.key(KeyCode::Esc);
    assert_eq!(rig.screen.panes().frame(), None);
    rig.keys("/fn load_value");
    rig.key(KeyCode::Enter);
    assert!(rig.text().contains("fn load_value"));
    rig.keys("1/grpc");
    rig.key(KeyCode::Enter);
    assert_eq!(rig.stage(), "grpc_receive");
    rig.keys("]");
    assert_eq!(rig.stage(), "grpc_decode");
    rig.keys("[");
    assert_eq!(rig.stage(), "grpc_receive");
    rig.keys("/nothing like this");
    rig.key(KeyCode::Enter);
    assert!(rig.screen.message().is_some_and(|m| m.contains("no match")));
    rig.keys("z");
    assert_eq!(rig.keys("q"), Effect::None, "q leaves the zoom first");
    assert_eq!(rig.keys("q"), Effect::None, "then the search");
    assert_eq!(rig.keys("q"), Effect::Quit);
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    rig.keys(":x");
    assert_eq!(rig.screen.on_key(ctrl_c), Effect::Quit, "from anywhere");
}

#[test]
fn editor_copy_and_save_ask_the_program() {
    let mut rig = Rig::stepped(LARGE);
    rig.keys("nnnnnnnnnnn");
    let Effect::Edit { path, line } = rig.keys("o") else { panic!("an editor") };
    assert!(path.ends_with("tui/tests/data/point_getter.rs") && path.is_file() && line == 31);
    assert_eq!(rig.keys("2y"), Effect::Copy("tui/tests/data/point_getter.rs:31".into()));
    let Effect::Copy(state) = rig.keys("4y") else { panic!("a copy") };
    assert!(state.contains("Raft group of region 2") && state.contains("Leader"));
    assert_eq!(rig.screen.act(tikv_tui::input::Action::SaveFlame), Effect::SaveFlame);
    let export = export::flame(&rig.screen);
    let files = export.files;
    assert!(export.problems.is_empty(), "{:?}", export.problems);
    assert_eq!(
        files.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(),
        ["point_get.folded", "point_get.svg", "point_get.html"]
    );
    assert!(files[0].1.contains("point_get;kv_get (store 1);mvcc;lock_cf_get 18900"), "{}", files[0].1);
    assert!(files[2].1.starts_with("<!DOCTYPE html>") && files[2].1.contains("critical path"));
    assert_eq!(rig.screen.act(tikv_tui::input::Action::SaveTrace), Effect::SaveTrace);
    let files = export::steps(&rig.screen).unwrap().files;
    assert_eq!(files[0].1.lines().count(), rig.screen.timeline().steps().len());
    let step = Step { file: "no/such/file.rs".into(), ..rig.screen.timeline().steps()[11].clone() };
    rig.screen.apply(SourceEvent::Step(Box::new(step)));
    assert_eq!(rig.keys("to"), Effect::None, "the catalogue's function is no file here");
    rig.keys("t");
    assert!(rig.text().contains("no/such/file.rs is not on this disk"), "{}", rig.text());
}

#[test]
fn the_mouse_selects_steps_frames_and_panes_and_scrolls() {
    let mut rig = Rig::stepped(LARGE);
    rig.keys("nnnnnnnn");
    let mouse = |kind, column, row| MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    let (x, y, ..) = rig.screen.panes().drawn(Pane::Path).area;
    rig.screen.on_mouse(mouse(MouseEventKind::Down(MouseButton::Left), x + 5, y + 3));
    assert_eq!((rig.stage(), rig.screen.panes().focus()), ("grpc_receive", Pane::Path));
    let (x, y, ..) = rig.screen.panes().drawn(Pane::Stack).area;
    // Below the logical stack of two rows and the titles.
    rig.screen.on_mouse(mouse(MouseEventKind::Down(MouseButton::Left), x + 1, y + 6));
    assert_eq!((rig.screen.panes().frame(), rig.screen.panes().focus()), (Some(2), Pane::Stack));
    let (x, y, ..) = rig.screen.panes().drawn(Pane::Source).area;
    rig.settle();
    let before = rig.screen.panes().drawn(Pane::Source).offset;
    rig.screen.on_mouse(mouse(MouseEventKind::ScrollDown, x + 1, y + 1));
    rig.settle();
    assert_eq!(rig.screen.panes().drawn(Pane::Source).offset, before + 3);
    let mut small = Rig::stepped(SMALL);
    let Tab { pane, x, y, .. } = small.screen.panes().tabs()[2];
    small.screen.on_mouse(mouse(MouseEventKind::Down(MouseButton::Left), x + 1, y));
    assert_eq!((small.screen.panes().tab(), pane), (Pane::State, Pane::State));
}

#[test]
fn no_sequence_of_keys_panics() {
    let mut rig = Rig::new(common::prewrite(), Start::default(), (100, 30), true);
    let keys: Vec<char> = "npcrbgGHNtfoyzjkhl/:?q[]12345xmsi ".chars().collect();
    let codes = [
        KeyCode::Esc,
        KeyCode::Enter,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Down,
        KeyCode::Up,
        KeyCode::Backspace,
    ];
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..4_000 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let pick = (seed >> 33) as usize;
        let code = if pick.is_multiple_of(4) {
            codes[pick % codes.len()]
        } else {
            KeyCode::Char(keys[pick % keys.len()])
        };
        rig.key(code);
        assert!(rig.screen.timeline().cursor() < rig.screen.timeline().steps().len());
    }
}
