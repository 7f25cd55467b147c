//! Tests of the code on the screen: the statement of a stage, definitions, callers, the stack, and going back.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};
use tikv_tui::{
    state::{Pane, Screen, Start, overlay::Overlay, screen::Options},
    view,
};

mod common;
use common::{GETTER, line_of};

struct Rig {
    screen: Screen,
    terminal: Terminal<TestBackend>,
}

impl Rig {
    /// A screen of the point get, at the stage.
    fn at(stage: &str, size: (u16, u16)) -> Self {
        let start = Start { run: true, ..Start::default() };
        let source = common::source("point_get", common::point_get_in_sources(), &start);
        let screen = Screen::new(Box::new(source), Options { color: false, tikv_src: None });
        let terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        let mut rig = Self { screen, terminal };
        rig.settle();
        rig.keys("0");
        while rig.screen.step().unwrap().stage != stage {
            rig.keys("n");
        }
        rig
    }

    fn settle(&mut self) {
        while self.screen.poll() {}
        let mut drawn = Default::default();
        self.terminal.draw(|f| drawn = view::draw(f, &self.screen)).unwrap();
        self.screen.set_drawn(drawn);
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.screen.on_key(KeyEvent::new(code, modifiers));
        self.settle();
    }

    fn keys(&mut self, keys: &str) {
        keys.chars().for_each(|c| self.press(KeyCode::Char(c), KeyModifiers::NONE));
    }

    fn enter(&mut self) {
        self.press(KeyCode::Enter, KeyModifiers::NONE);
    }

    fn back(&mut self) {
        self.press(KeyCode::Char('o'), KeyModifiers::CONTROL);
    }

    fn text(&self) -> String {
        self.terminal.backend().to_string()
    }

    /// File and line of the source pane.
    fn place(&self) -> String {
        let document = self.screen.document();
        let (file, line) = document.place.clone().unwrap_or_default();
        format!("{file}:{line}")
    }

    fn line(text: &str) -> String {
        format!("{GETTER}:{}", line_of(GETTER, text))
    }
}

const WIDE: (u16, u16) = (120, 40);

#[test]
fn the_source_shows_the_statement_of_the_stage() {
    let rig = Rig::at("lock_cf_get", WIDE);
    assert_eq!(rig.place(), Rig::line("get_cf(CF_LOCK, user_key)"));
    let marked = rig.text().lines().find(|l| l.contains('▶') && l.contains("CF_LOCK")).map(str::to_owned);
    assert!(marked.is_some(), "{}", rig.text());
    let stamps = &rig.screen.document().stamps;
    let stamp = line_of(GETTER, "step_thread!(LOCK_CF_GET") as usize - 1;
    assert!(stamps.iter().any(|s| s.0 == stamp), "the stamp is dimmed");
}

#[test]
fn a_function_that_only_stamps_shows_its_call() {
    let rig = Rig::at("write_cf_found", WIDE);
    assert_eq!(rig.place(), Rig::line("self.publish_version(user_key"));
    let info = &rig.screen.document().info;
    assert!(info[0].1.contains("stamped in PointGetter::publish_version"), "{info:?}");
}

#[test]
fn g_goes_to_a_definition_and_ctrl_o_back() {
    let mut rig = Rig::at("write_cf_found", WIDE);
    rig.keys("2kg");
    assert_eq!(rig.place(), Rig::line("fn load_data("), "the call above: {}", rig.text());
    let signature = line_of(GETTER, "fn load_data(") as usize - 1;
    assert_eq!(rig.screen.document().current, Some(signature));
    rig.back();
    assert_eq!(rig.place(), Rig::line("self.publish_version(user_key"));
    assert_eq!(
        rig.screen.code_cursor().map(|c| c.line),
        Some(line_of(GETTER, "self.load_data(user_key)?") as usize - 1)
    );
    rig.back();
    assert_eq!(rig.screen.message(), Some("no place to go back to"));
}

#[test]
fn a_line_without_a_name_is_said_to_have_none() {
    let mut rig = Rig::at("write_cf_seek", WIDE);
    let comment = line_of(GETTER, "/// Returns the PUT or DELETE") as usize - 1;
    rig.keys("2");
    while rig.screen.code_cursor().is_some_and(|c| c.line > comment) {
        rig.keys("k");
    }
    assert_eq!(rig.screen.code_cursor().map(|c| c.line), Some(comment));
    let before = rig.place();
    rig.keys("g");
    assert!(rig.screen.message().is_some_and(|m| m.starts_with("no name with a definition")));
    assert_eq!(rig.place(), before);
    rig.keys("j".repeat(2_000).as_str());
    let last = rig.screen.document().lines.len() - 1;
    assert_eq!(rig.screen.code_cursor().map(|c| c.line), Some(last), "the cursor stops at the last line");
}

#[test]
fn callers_are_listed_from_the_path_and_the_index() {
    let mut rig = Rig::at("write_cf_seek", WIDE);
    rig.keys("G");
    let Overlay::Places(places) = rig.screen.overlay().clone() else { panic!("a list: {}", rig.text()) };
    assert_eq!(places.title, "Callers of PointGetter::load_data");
    let first = &places.entries[0];
    assert_eq!((first.name.as_str(), first.note.as_str()), ("PointGetter::get_entry", "step 12"));
    assert_eq!(first.spot.line, line_of(GETTER, "self.load_data(user_key)?"));
    let drawn = rig.text();
    let row =
        |text: &str| drawn.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{drawn}"));
    assert!(row("Callers of PointGetter::load_data ─").contains('┌'), "{drawn}");
    for place in &places.entries {
        let spot = format!("{}:{} ", place.spot.file, place.spot.line);
        assert!(row(&spot).contains(&place.name) && row(&spot).contains(&place.note), "{drawn}");
    }
    assert!(row("PointGetter::get_entry  ").contains("▶ PointGetter::get_entry     step 12 "), "{drawn}");
    rig.enter();
    assert_eq!(rig.place(), Rig::line("self.load_data(user_key)?"));
    assert_eq!(rig.screen.panes().focus(), Pane::Source);
    rig.back();
    assert_eq!(rig.place(), Rig::line("if self.with.isolation_level == IsolationLevel::RcCheckTs"));
}

#[test]
fn enter_on_a_frame_opens_it_and_on_outer_work_goes_to_its_step() {
    let mut rig = Rig::at("write_cf_seek", WIDE);
    rig.keys("3j");
    rig.enter();
    assert_eq!(
        (rig.place(), rig.screen.panes().focus()),
        (Rig::line("self.load_data(user_key)?"), Pane::Source)
    );
    rig.back();
    rig.keys("3kkkk");
    rig.enter();
    assert_eq!(rig.screen.step().map(|s| s.stage.as_str()), Some("grpc_receive"), "{}", rig.text());
    rig.back();
    assert_eq!(rig.screen.step().map(|s| s.stage.as_str()), Some("write_cf_seek"));
}

#[test]
fn runtimes_are_folded_and_a_key_unfolds_them() {
    let mut rig = Rig::at("lock_cf_get", WIDE);
    rig.keys("3");
    assert!(rig.text().contains("+3 tokio, std Harness::poll"), "{}", rig.text());
    assert!(rig.text().contains("PointGetter::load_and_check_lock"), "a closure has its function's name");
    rig.keys("u");
    assert!(
        rig.text().contains("thread_start")
            || rig.screen.lines(Pane::Stack).join("\n").contains("thread_start")
    );
    rig.keys("u");
    assert!(!rig.screen.lines(Pane::Stack).join("\n").contains("thread_start"));
}

#[test]
fn source_and_stack_are_both_seen_from_110_columns_on() {
    for size in [(110, 24), (120, 40), (140, 40), (160, 50), (200, 60)] {
        let rig = Rig::at("write_cf_seek", size);
        let text = rig.text();
        assert!(text.contains("step_thread!(WRITE_CF_SEEK"), "{size:?}: {text}");
        assert!(
            text.contains("PointGetter::load_data") && text.contains("Logical stack"),
            "{size:?}: {text}"
        );
    }
}

#[test]
fn names_of_frames_are_whole_at_140_columns() {
    let rig = Rig::at("lock_cf_get", (140, 40));
    for name in ["PointGetter::load_and_check_lock", "PointGetter::get_entry", "RPC kv_get on store 1"] {
        assert!(rig.text().contains(name), "{name}: {}", rig.text());
    }
}
