//! Measures the time in which the screen answers a key on an operation of 100,000 steps, the time that a live step
//! takes to arrive, and the time from the program's start to its first paint.
//!
//! `cargo bench -p tikv-tui --profile dev --bench screen`. The worst time is printed beside the median.
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/pty/mod.rs"]
mod pty;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use pty::OnTerminal;
use ratatui::{Terminal, backend::TestBackend};
use tikv_tui::{
    source::{feed::Feed, recorded::Recorded},
    state::{Screen, Start, screen::Options},
    view,
};
use tracepoints::{
    Req, RequestInfo, RequestKind, Session, SessionConfig, SessionEvent,
    request::{begin, end},
    session::Mode,
    trace::Step,
};

const STEPS: usize = 100_000;
/// Keys pressed for one figure.
const KEYS: usize = 15;
const SIZES: [(u16, u16); 3] = [(80, 24), (160, 50), (200, 60)];

fn main() {
    println!("first paint after the start, in ms: {}", first_paint());
    live();
    let (steps, requests) = operation();
    for size in SIZES {
        keys(&steps, &requests, size);
    }
}

/// One client operation with as many prewrites and gets as have [`STEPS`] steps.
fn operation() -> (Vec<Step>, Vec<RequestInfo>) {
    let parts = [common::prewrite(), common::point_get()];
    let request =
        |id, parent, kind| RequestInfo { id, parent, kind, key: b"k1".to_vec(), region: 2, store: 1 };
    let (mut steps, mut now) = (Vec::<Step>::with_capacity(STEPS), 0);
    let mut requests = vec![request(1, 0, RequestKind::Client)];
    for (round, part) in parts.iter().cycle().enumerate() {
        let id = round as u64 + 2;
        let kind = if round % 2 == 0 { RequestKind::KvPrewrite } else { RequestKind::KvGet };
        requests.push(request(id, 1, kind));
        let length = part.last().map_or(0, Step::end_ns);
        for step in part.iter().filter(|s| s.kind != "client") {
            if steps.len() == STEPS {
                return (steps, requests);
            }
            let at_ns = now + step.at_ns;
            steps.push(Step { step: steps.len(), request: id, at_ns, ..step.clone() });
        }
        now += length;
    }
    unreachable!("the parts are repeated without end")
}

/// Prints the time from a key to the drawn answer.
fn keys(steps: &[Step], requests: &[RequestInfo], size: (u16, u16)) {
    let start = Start { run: true, ..Start::default() };
    let summary = common::summary(steps);
    let source = Recorded::new("long", steps.to_vec(), summary, &start).with("ok", requests.to_vec());
    let mut screen = Screen::new(Box::new(source), Options { color: true, tikv_src: None });
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).expect("a terminal in memory");
    let mut draw = |screen: &mut Screen| {
        let mut drawn = Default::default();
        terminal.draw(|frame| drawn = view::draw(frame, screen)).expect("a drawn screen");
        screen.set_drawn(drawn);
    };
    let from = Instant::now();
    while screen.poll() {}
    draw(&mut screen);
    println!(
        "{}x{}: {} steps read and drawn in {:.0?}",
        size.0,
        size.1,
        screen.timeline().steps().len(),
        from.elapsed()
    );
    for (place, go) in [("first", "gg"), ("last", "G")] {
        for key in go.chars() {
            screen.on_key(press(key));
        }
        draw(&mut screen);
        let key = if place == "first" { 'n' } else { 'p' };
        for key in [key, 'j', 'k'] {
            let mut took: Vec<Duration> = Vec::new();
            for _ in 0..KEYS {
                let from = Instant::now();
                screen.on_key(press(key));
                draw(&mut screen);
                took.push(from.elapsed());
            }
            took.sort();
            println!("  {key} from the {place} step: {:.1?}, worst {:.1?}", took[KEYS / 2], took[KEYS - 1]);
        }
    }
}

fn press(key: char) -> KeyEvent {
    KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)
}

/// Prints the time in which the events of a live session become steps, and that of the last ones.
fn live() {
    let session = Session::start(SessionConfig { mode: Mode::Run, ..SessionConfig::default() })
        .expect("the only session");
    let op = session.begin_op(b"k");
    let mut stamped = 0;
    while stamped < STEPS {
        let req = begin(RequestKind::KvGet, b"k", 1);
        stamped += stamps(req);
        end(req);
    }
    session.end_op(op);
    let events: Vec<SessionEvent> = session.events().try_iter().collect();
    let mut feed = Feed::new(None);
    let (from, mut worst) = (Instant::now(), Duration::ZERO);
    for event in &events {
        let from = Instant::now();
        feed.apply([event]);
        worst = worst.max(from.elapsed());
    }
    println!(
        "{} live steps taken in {:.0?}, the worst in {worst:.1?}",
        feed.trace().steps.len(),
        from.elapsed()
    );
}

/// Stamps a request; returns the number of stamps.
fn stamps(req: Req) -> usize {
    tracepoints::stamp!(GRPC_RECEIVE, req);
    tracepoints::stamp!(GRPC_DECODE, req, region = 1u64);
    tracepoints::stamp!(READ_POOL_QUEUE, req);
    tracepoints::stamp!(READ_POOL_RUN, req);
    tracepoints::stamp!(MVCC_GET, req, ts = 7u64);
    tracepoints::stamp!(LOCK_CF_GET, req, ts = 7u64);
    tracepoints::stamp!(WRITE_CF_SEEK, req, ts = 7u64);
    tracepoints::stamp!(GRPC_REPLY, req);
    8
}

/// Times in ms from the start of `tikv-tui step point_get` to its first paint, of three starts.
fn first_paint() -> String {
    let paint = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikv-tui"));
        command.args(["step", "point_get"]);
        let from = Instant::now();
        let mut program = OnTerminal::run(command, false);
        program.until("point_get");
        let took = from.elapsed();
        program.types(b"qq");
        program.end();
        took.as_millis().to_string()
    };
    [(); 3].map(|()| paint()).join(", ")
}
