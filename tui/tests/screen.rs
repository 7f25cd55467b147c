//! Tests of the drawn screen at several sizes.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::{Terminal, backend::TestBackend, style::Color};
use tikv_tui::{
    export,
    source::recorded::Recorded,
    state::{
        Effect, HeldRequest, Pane, Phase, Screen, SourceEvent, Start, StepSource, gates, overlay::Overlay,
        panes::Tab, screen::Options,
    },
    view,
};
use tracepoints::{Gate, session::GateState, trace::Step};

mod common;

struct Rig {
    screen: Screen,
    terminal: Terminal<TestBackend>,
}

impl Rig {
    fn new(steps: Vec<Step>, start: Start, size: (u16, u16), color: bool) -> Self {
        let title = if steps.len() > 18 { "txn_2pc" } else { "point_get" };
        let source = common::source(title, steps, &start);
        let screen = Screen::new(Box::new(source), Options { color, tikv_src: None });
        let terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        let mut rig = Self { screen, terminal };
        rig.settle();
        rig
    }

    /// A screen of an operation that is held at every stage.
    fn stepped(size: (u16, u16)) -> Self {
        Self::new(common::point_get(), Start::default(), size, true)
    }

    fn settle(&mut self) {
        while self.screen.poll() {}
        let mut drawn = Default::default();
        self.terminal.draw(|f| drawn = view::draw(f, &self.screen)).unwrap();
        self.screen.set_drawn(drawn);
    }

    fn key(&mut self, code: KeyCode) -> Effect {
        let effect = self.screen.on_key(KeyEvent::new(code, KeyModifiers::NONE));
        self.settle();
        effect
    }

    fn keys(&mut self, keys: &str) -> Effect {
        keys.chars().map(|c| self.key(KeyCode::Char(c))).last().unwrap_or(Effect::None)
    }

    fn text(&self) -> String {
        self.terminal.backend().to_string()
    }

    fn stage(&self) -> &str {
        self.screen.step().map_or("", |s| &s.stage)
    }
}

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (160, 50);

macro_rules! shot {
    ($name:literal, $rig:expr) => {
        insta::assert_snapshot!($name, $rig.terminal.backend())
    };
}

#[test]
fn the_held_request_on_a_small_and_a_large_terminal() {
    for (name, size) in [("small", SMALL), ("medium", (120, 30)), ("large", LARGE)] {
        let mut rig = Rig::stepped(size);
        rig.keys("nnnnnnnnnnn");
        assert_eq!((rig.stage(), rig.screen.phase()), ("write_cf_seek", Phase::Held));
        insta::assert_snapshot!(format!("held_{name}"), rig.terminal.backend());
    }
}

#[test]
fn head_line_says_in_whole_words_that_time_stands_still() {
    let mut rig = Rig::stepped(SMALL);
    rig.keys("nnnnnnnnnnn");
    rig.screen.apply(SourceEvent::Begin { title: "get k1".into() });
    for step in common::point_get().into_iter().take(12) {
        rig.screen.apply(SourceEvent::Step(Box::new(step)));
    }
    let (stage, store) = ("write_cf_seek".to_owned(), 1);
    rig.screen.apply(SourceEvent::Held(HeldRequest { stage, store, ..HeldRequest::default() }));
    rig.settle();
    let head = rig.text().lines().next().unwrap().to_owned();
    assert!(
        head.contains("held at write_cf_seek · time stands still") && head.contains("step 12 of 12"),
        "{head}"
    );
}

#[test]
fn the_end_of_the_request() {
    for (name, size) in [("small", SMALL), ("large", LARGE)] {
        let mut rig = Rig::stepped(size);
        rig.keys("r");
        assert_eq!(rig.screen.phase(), Phase::Finished);
        insta::assert_snapshot!(format!("ended_{name}"), rig.terminal.backend());
    }
}

/// Sizes of the snapshots of each pane and overlay.
const SIZES: [(u16, u16); 4] = [(60, 24), (80, 24), (120, 40), (160, 50)];

#[test]
fn every_pane_at_four_widths() {
    for size in SIZES {
        let mut rig = Rig::new(common::point_get_in_sources(), Start::default(), size, true);
        rig.keys("nnnnnnnnnnnn");
        for pane in Pane::ALL {
            rig.keys(&(pane as usize + 1).to_string());
            let name = format!("{}_{}", pane.name().to_lowercase(), size.0);
            insta::assert_snapshot!(format!("pane_{name}"), rig.terminal.backend());
            rig.keys("z");
            insta::assert_snapshot!(format!("zoom_{name}"), rig.terminal.backend());
            rig.keys("z");
        }
    }
}

#[test]
fn every_overlay_at_four_widths() {
    for size in SIZES {
        let mut rig = Rig::new(common::prewrite(), Start { run: true, ..Start::default() }, size, true);
        for (name, keys) in [
            ("help", "?"),
            ("palette", ":"),
            ("search", "/raft"),
            ("flame", "f"),
            ("flame_legend", "fm"),
            ("flame_help", "f?"),
            ("timeline", "ft"),
            ("timeline_help", "ft?"),
        ] {
            rig.keys(keys);
            insta::assert_snapshot!(format!("overlay_{name}_{}", size.0), rig.terminal.backend());
            while *rig.screen.overlay() != Overlay::None {
                rig.key(KeyCode::Esc);
            }
        }
    }
}

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

/// A source whose steps are lost at the program's end.
struct Live(Recorded);

impl StepSource for Live {
    fn title(&self) -> String {
        self.0.title()
    }
    fn poll(&mut self) -> Vec<SourceEvent> {
        self.0.poll()
    }
    fn step(&mut self) -> anyhow::Result<()> {
        self.0.step()
    }
    fn to_gate(&mut self) -> anyhow::Result<()> {
        self.0.to_gate()
    }
    fn run(&mut self) -> anyhow::Result<()> {
        self.0.run()
    }
    fn release(&mut self, hold: u64) -> anyhow::Result<()> {
        self.0.release(hold)
    }
    fn gates(&self) -> Vec<GateState> {
        self.0.gates()
    }
    fn set_gate(&mut self, gate: Gate) -> anyhow::Result<()> {
        self.0.set_gate(gate)
    }
    fn remove_gate(&mut self, text: &str) -> anyhow::Result<()> {
        self.0.remove_gate(text)
    }
    fn switch_gate(&mut self, text: &str, on: bool) -> anyhow::Result<()> {
        self.0.switch_gate(text, on)
    }
    fn run_to(&mut self, gate: Gate) -> anyhow::Result<()> {
        self.0.run_to(gate)
    }
    fn next_operation(&mut self) -> anyhow::Result<()> {
        self.0.next_operation()
    }
}

#[test]
fn the_end_of_a_live_session_offers_to_save_the_steps() {
    let start = Start::default();
    let live = Live(common::source("point_get", common::point_get(), &start));
    let mut screen = Screen::new(Box::new(live), Options::default());
    while screen.poll() {}
    let key = |screen: &mut Screen, c| screen.on_key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
    assert_eq!((key(&mut screen, 'q'), screen.overlay()), (Effect::None, &Overlay::Leave));
    assert_eq!(
        (key(&mut screen, 'x'), screen.overlay()),
        (Effect::None, &Overlay::None),
        "any other key stays"
    );
    key(&mut screen, 'q');
    assert_eq!(key(&mut screen, 's'), Effect::SaveAndQuit);
    key(&mut screen, 'q');
    assert_eq!(key(&mut screen, 'q'), Effect::Quit);
    screen.note_saved();
    assert_eq!(key(&mut screen, 'q'), Effect::Quit, "all steps are saved");
}

#[test]
fn replicas_have_lanes_and_latches_are_in_the_state() {
    let mut rig = Rig::new(common::prewrite(), Start { run: true, ..Start::default() }, LARGE, true);
    shot!("replicas", rig);
    rig.keys("]");
    rig.screen.act(tikv_tui::input::Action::First);
    rig.keys("nnnn");
    assert_eq!(rig.stage(), "latch_acquired");
    rig.keys("4z");
    shot!("latches", rig);
    rig.keys("zf");
    shot!("flame_replicas", rig);
}

#[test]
fn the_flame_is_zoomed_searched_filtered_coloured_and_turned() {
    for (name, size) in [("small", SMALL), ("large", LARGE)] {
        let mut rig = Rig::new(common::prewrite(), Start { run: true, ..Start::default() }, size, true);
        let shot = |rig: &Rig, what: &str| {
            insta::assert_snapshot!(format!("flame_{what}_{name}"), rig.terminal.backend());
        };
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
    shot!("flame_diff", rig);
    let text = rig.text();
    assert!(text.contains("▲ more ▼ less than put k0 v0") && text.contains("▲raft_send"), "{text}");
    rig.keys("kkkkllljj");
    assert!(rig.text().contains("before "), "{}", rig.text());
}

#[test]
fn tikvs_function_help_palette_flame_and_search() {
    let mut rig = Rig::stepped(SMALL);
    rig.keys("nnnnnnnnnnt");
    shot!("tikv", rig);
    rig.keys("t?");
    shot!("help", rig);
    rig.key(KeyCode::Esc);
    rig.keys(":");
    shot!("palette", rig);
    rig.keys("gate write");
    shot!("palette_filtered", rig);
    rig.key(KeyCode::Esc);
    rig.keys("f");
    shot!("flame", rig);
    rig.key(KeyCode::Esc);
    rig.keys("2/Isolation");
    shot!("search_typed", rig);
    rig.key(KeyCode::Enter);
    shot!("search_found", rig);
}

#[test]
fn help_of_every_pane_fits_and_names_it() {
    let mut rig = Rig::stepped(LARGE);
    for pane in Pane::ALL {
        rig.keys(&(pane as usize + 1).to_string());
        rig.keys("?");
        assert!(rig.text().contains(&format!("Help: {}", pane.name().to_lowercase())), "{}", rig.text());
        rig.keys("q");
    }
}

#[test]
fn without_colours_a_hold_is_still_visible() {
    let mut rig = Rig::new(common::point_get(), Start::default(), LARGE, false);
    for key in "nnnnnnnnb:".chars() {
        rig.key(KeyCode::Char(key));
        let buffer = rig.terminal.backend().buffer();
        assert!(buffer.content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset));
    }
    rig.key(KeyCode::Esc);
    shot!("no_color", rig);
    assert!(rig.text().contains("‖ held at snapshot_ready"));
}

#[test]
fn no_cell_ever_has_a_background() {
    let mut rig = Rig::stepped(LARGE);
    for key in "nnnnnbt?q:".chars() {
        rig.key(KeyCode::Char(key));
        assert!(rig.terminal.backend().buffer().content.iter().all(|c| c.bg == Color::Reset));
    }
}

#[test]
fn a_terminal_that_is_too_small_says_so() {
    let mut rig = Rig::stepped((50, 10));
    shot!("too_small", rig);
    for (w, h) in [(0, 0), (1, 1), (59, 16), (60, 15), (60, 16), (61, 17), (300, 90), (130, 34), (129, 20)] {
        rig.terminal.backend_mut().resize(w, h);
        for key in "nz?q:".chars() {
            rig.key(KeyCode::Char(key));
        }
        rig.key(KeyCode::Esc);
        rig.keys("zfj");
        rig.key(KeyCode::Esc);
    }
}

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
fn the_lists_of_gates_and_holds_at_four_widths() {
    for size in SIZES {
        let mut rig = Rig::stepped(size);
        let width = size.0;
        rig.keys("B");
        insta::assert_snapshot!(format!("overlay_gates_new_{width}"), rig.terminal.backend());
        rig.keys("lock_cf");
        rig.key(KeyCode::Enter);
        insta::assert_snapshot!(format!("overlay_gates_wrong_{width}"), rig.terminal.backend());
        rig.screen.on_key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        rig.keys("any if store == 2 and kind == kv_commit");
        rig.key(KeyCode::Enter);
        for gate in ["raft_propose#2", "key error", "change of commit if store == 2 and new > old"] {
            rig.keys(&format!("a{gate}"));
            rig.key(KeyCode::Enter);
        }
        rig.keys("k ");
        insta::assert_snapshot!(format!("overlay_gates_{width}"), rig.terminal.backend());
        rig.key(KeyCode::Esc);
        rig.keys("e");
        insta::assert_snapshot!(format!("overlay_operation_{width}"), rig.terminal.backend());
        rig.key(KeyCode::Esc);
        for (id, store) in [(71, 2), (72, 3)] {
            let (stage, thread) = ("raft_ready".to_owned(), format!("raftstore-{store}-0"));
            let hold = HeldRequest { id, stage, store, thread, ..HeldRequest::default() };
            rig.screen.apply(SourceEvent::Held(hold));
        }
        rig.keys("Hj");
        insta::assert_snapshot!(format!("overlay_held_{width}"), rig.terminal.backend());
    }
}

/// A source that never answers: a release has no visible effect but the message.
struct Silent(Vec<SourceEvent>);

impl StepSource for Silent {
    fn title(&self) -> String {
        "silent".into()
    }
    fn poll(&mut self) -> Vec<SourceEvent> {
        std::mem::take(&mut self.0)
    }
    fn step(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
    fn to_gate(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
    fn run(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
    fn release(&mut self, _: u64) -> anyhow::Result<()> {
        Ok(())
    }
    fn gates(&self) -> Vec<GateState> {
        Vec::new()
    }
    fn set_gate(&mut self, _: Gate) -> anyhow::Result<()> {
        Ok(())
    }
    fn remove_gate(&mut self, _: &str) -> anyhow::Result<()> {
        Ok(())
    }
    fn switch_gate(&mut self, _: &str, _: bool) -> anyhow::Result<()> {
        Ok(())
    }
    fn run_to(&mut self, _: Gate) -> anyhow::Result<()> {
        Ok(())
    }
    fn next_operation(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

#[test]
fn a_release_without_a_next_step_is_named() {
    let hold = |id, stage: &str, store| {
        SourceEvent::Held(HeldRequest { id, stage: stage.into(), store, ..HeldRequest::default() })
    };
    let step = Step { stage: "raft_commit".into(), store: 1, ..Step::default() };
    let events =
        vec![SourceEvent::Step(Box::new(step)), hold(1, "raft_commit", 1), hold(2, "follower_append", 2)];
    let mut screen = Screen::new(Box::new(Silent(events)), Options::default());
    screen.poll();
    screen.on_key(KeyEvent::new(KeyCode::Char('n'), KeyModifiers::NONE));
    let said = screen.message().unwrap_or_default();
    assert!(said.starts_with("released at raft_commit (store 1)"), "{said}");
    assert!(said.ends_with("n then releases follower_append (store 2)"), "{said}");
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
