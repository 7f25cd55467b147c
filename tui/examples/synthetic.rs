//! The screen on a made-up operation, to look at it without a cluster: `cargo run -p tikv-tui --example synthetic [put]`.
use tikv_tui::{
    run,
    state::{Screen, Start, screen::Options},
    view::theme::Theme,
};

#[path = "../tests/common/mod.rs"]
mod common;

fn main() -> anyhow::Result<()> {
    let start = Start { stacks: true, ..Start::default() };
    let source = match std::env::args().nth(1).as_deref() {
        Some("put") => common::source("txn_2pc", common::prewrite(), &start),
        _ => common::source("point_get", common::point_get(), &start),
    };
    let options = Options { color: Theme::wanted(), ..Options::default() };
    run::run(Screen::new(Box::new(source), options)).map(drop)
}
