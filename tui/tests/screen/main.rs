//! Tests of the drawn screen at several sizes.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend, style::Color};
use tikv_tui::{
    state::{
        Effect, HeldRequest, Pane, Phase, Screen, SourceEvent, Start, compare::Run, overlay::Overlay,
        screen::Options,
    },
    view,
};
use tracepoints::trace::Step;

#[path = "../common/mod.rs"]
mod common;
mod flame;
mod gates;
mod keys;
mod sources;

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

/// Compares the drawn screen with the snapshot `name`.
fn assert_drawn(name: &str, rig: &Rig) {
    insta::assert_snapshot!(name, rig.terminal.backend());
}

#[test]
fn the_held_request_on_a_small_and_a_large_terminal() {
    for (name, size) in [("small", SMALL), ("medium", (120, 30)), ("large", LARGE)] {
        let mut rig = Rig::stepped(size);
        rig.keys("nnnnnnnnnnn");
        assert_eq!((rig.stage(), rig.screen.phase()), ("write_cf_seek", Phase::Held));
        assert_drawn(&format!("held_{name}"), &rig);
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
        assert_drawn(&format!("ended_{name}"), &rig);
    }
}

/// Sizes of the snapshots of each pane and overlay.
const SIZES: [(u16, u16); 4] = [(60, 24), (80, 24), (120, 40), (160, 50)];

#[test]
fn every_pane_at_four_widths() {
    for size in SIZES {
        let mut rig = Rig::new(common::point_get(), Start::default(), size, true);
        rig.keys("nnnnnnnnnnnn");
        for pane in Pane::ALL {
            rig.keys(&(pane as usize + 1).to_string());
            let name = format!("{}_{}", pane.name().to_lowercase(), size.0);
            assert_drawn(&format!("pane_{name}"), &rig);
            rig.keys("z");
            assert_drawn(&format!("zoom_{name}"), &rig);
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
            assert_drawn(&format!("overlay_{name}_{}", size.0), &rig);
            while *rig.screen.overlay() != Overlay::None {
                rig.key(KeyCode::Esc);
            }
        }
    }
}

#[test]
fn the_comparison_at_four_widths() {
    let mut steps = common::point_get();
    steps.retain(|step| step.stage != "read_pool_queue");
    for step in &mut steps {
        match step.stage.as_str() {
            "lock_cf_get" => step.dur_ns = 1_890_000,
            "write_cf_found" => _ = step.fields.insert("write_type".into(), u64::from(b'D')),
            _ => {}
        }
    }
    steps.iter_mut().enumerate().for_each(|(i, step)| step.step = i);
    for size in SIZES {
        let mut rig = Rig::new(common::point_get(), Start { run: true, ..Start::default() }, size, true);
        let (title, outcome) = ("get k1, earlier".to_owned(), "(none)".to_owned());
        rig.screen.compare_with_run(Run { title, steps: steps.clone(), outcome });
        rig.keys("d]");
        assert_eq!(rig.screen.pairs().iter().filter(|pair| pair.differs()).count(), 3, "{}", rig.text());
        assert_drawn(&format!("overlay_compare_{}", size.0), &rig);
    }
}

#[test]
fn replicas_have_lanes_and_latches_are_in_the_state() {
    let mut rig = Rig::new(common::prewrite(), Start { run: true, ..Start::default() }, LARGE, true);
    assert_drawn("replicas", &rig);
    rig.keys("]");
    rig.screen.act(tikv_tui::input::Action::First);
    rig.keys("nnnn");
    assert_eq!(rig.stage(), "latch_acquired");
    rig.keys("4z");
    assert_drawn("latches", &rig);
    rig.keys("zf");
    assert_drawn("flame_replicas", &rig);
}

#[test]
fn tikvs_function_help_palette_flame_and_search() {
    let mut rig = Rig::stepped(SMALL);
    rig.keys("nnnnnnnnnnt");
    assert_drawn("tikv", &rig);
    rig.keys("t?");
    assert_drawn("help", &rig);
    rig.key(KeyCode::Esc);
    rig.keys(":");
    assert_drawn("palette", &rig);
    rig.keys("gate write");
    assert_drawn("palette_filtered", &rig);
    rig.key(KeyCode::Esc);
    rig.keys("f");
    assert_drawn("flame", &rig);
    rig.key(KeyCode::Esc);
    rig.keys("2/Isolation");
    assert_drawn("search_typed", &rig);
    rig.key(KeyCode::Enter);
    assert_drawn("search_found", &rig);
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
    assert_drawn("no_color", &rig);
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
    assert_drawn("too_small", &rig);
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
