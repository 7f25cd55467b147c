//! Tests of the screen with control characters in names, at any size, under any input.
use crossterm::event::Event;
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend, layout::Rect};
use tikv_tui::{
    input::decode::Decoder,
    source::recorded::Recorded,
    state::{Screen, Start, screen::Options},
    view,
};
use tracepoints::{
    printable::{needs_escape, width},
    trace::Step,
};

mod common;

/// A name with control sequences that a terminal could obey, and characters of every width.
const NAME: &str =
    "\x1b[31mred\x07\x1b]0;own\x07\u{9b}2J\u{7f}\u{202e}gnp\u{2066} 日本 e\u{301} 👩\u{200d}👩\u{200d}👧";

fn hostile() -> Vec<Step> {
    let mut steps = common::point_get();
    for step in &mut steps {
        for text in [
            &mut step.stage,
            &mut step.layer,
            &mut step.thread,
            &mut step.file,
            &mut step.function,
            &mut step.tikv,
        ] {
            text.push_str(NAME);
        }
        step.fields.insert(NAME.into(), 7);
        for frame in &mut step.stack {
            frame.function.push_str(NAME);
            frame.file.push_str(NAME);
        }
        for raft in &mut step.state.raft {
            raft.role.push_str(NAME);
        }
        if let Some(mvcc) = &mut step.state.mvcc {
            mvcc.key.push_str(NAME);
            mvcc.writes.iter_mut().for_each(|w| w.short_value = Some(NAME.into()));
        }
        step.state.notes.push(NAME.into());
    }
    steps
}

fn screen(steps: Vec<Step>) -> Screen {
    let summary = common::summary(&steps);
    let source = Recorded::new(NAME, steps, summary, &Start { run: true, ..Start::default() });
    let mut screen = Screen::new(Box::new(source.with(NAME, Vec::new())), Options::default());
    while screen.poll() {}
    screen
}

fn draw(screen: &mut Screen, columns: u16, rows: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let mut drawn = Default::default();
    terminal.draw(|f| drawn = view::draw(f, screen)).unwrap();
    screen.set_drawn(drawn);
    terminal
}

/// Asserts that no cell contains a control character, and no row is wider than the screen.
fn assert_harmless(terminal: &Terminal<TestBackend>) {
    let buffer = terminal.backend().buffer();
    let Rect { width: columns, height, .. } = buffer.area;
    for y in 0..height {
        let mut x = 0;
        while x < columns {
            let symbol = buffer[(x, y)].symbol();
            assert!(!symbol.contains(needs_escape), "row {y}: {symbol:?}");
            x += (width(symbol) as u16).max(1);
        }
        assert_eq!(x, columns, "row {y} is wider than the screen");
    }
}

#[test]
fn control_characters_of_names_are_escaped() {
    for keys in ["", "3z", "4z", "5z", "2z", "f", "t2z", "?", ":"] {
        let mut screen = screen(hostile());
        let mut decoder = Decoder::default();
        decoder.feed(format!("nnnnnnnnnnnn{keys}").as_bytes());
        while let Some(Event::Key(key)) = decoder.next_event() {
            screen.on_key(key);
        }
        for (columns, rows) in [(60, 20), (80, 24), (160, 50), (200, 60)] {
            let terminal = draw(&mut screen, columns, rows);
            assert_harmless(&terminal);
            if matches!(keys, "" | "5z" | "4z") && columns == 200 {
                let shown = terminal.backend().to_string();
                assert!(shown.contains(r"\x1b[31mred\x07"), "{keys}: {shown}");
            }
        }
    }
}

/// Passes bytes of a terminal to the screen, as the program does.
fn play(screen: &mut Screen, bytes: &[u8]) {
    let mut decoder = Decoder::default();
    decoder.feed(bytes);
    decoder.pause();
    while let Some(event) = decoder.next_event() {
        match event {
            Event::Key(key) => drop(screen.on_key(key)),
            Event::Mouse(mouse) => screen.on_mouse(mouse),
            Event::Paste(text) => screen.on_paste(&text),
            _ => {}
        }
        while screen.poll() {}
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        "[npcrbtfgGHNzjkhl?/\\]\\[:omis\t\r 1-5\x04\x15]{1,9}".prop_map(String::into_bytes),
        "\x1b\\[<[0-9]{1,3};[0-9]{1,3};[0-9]{1,2}[Mm]".prop_map(String::into_bytes),
        "\x1b(\\[[A-Z]|\\[[1-8]~|O[A-S])".prop_map(String::into_bytes),
        "\x1b\\[200~[^\x1b]{0,9}\x1b\\[201~".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_input_at_any_size_is_drawn(inputs in proptest::collection::vec((bytes(), 0..220u16, 0..80u16), 1..6), put in any::<bool>()) {
        let steps = if put { common::prewrite() } else { hostile() };
        let mut screen = screen(steps);
        for (bytes, columns, rows) in inputs {
            play(&mut screen, &bytes);
            assert_harmless(&draw(&mut screen, columns, rows));
        }
    }
}

#[test]
fn sizes_at_the_edge_are_drawn() {
    let mut screen = screen(hostile());
    for (columns, rows) in
        [(0, 0), (1, 1), (0, 50), (50, 0), (1, 500), (1000, 1), (59, 16), (60, 15), (60, 16), (1000, 500)]
    {
        assert_harmless(&draw(&mut screen, columns, rows));
    }
}
