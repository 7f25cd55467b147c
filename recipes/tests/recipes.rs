//! Runs every recipe and compares its outputs with its file.
use parking_lot::Mutex;
use recipes::{library, runner::run_all};

/// A process has one session, so recipes run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn check(name: &str) {
    let _turn = ONE_AT_A_TIME.lock();
    let scenario = library::find(name).unwrap();
    let outputs = run_all(scenario.clone()).unwrap_or_else(|e| panic!("{name}: {e:#}"));
    for (block, output) in scenario.blocks.iter().zip(&outputs) {
        assert_eq!(
            &block.expected, output,
            "{name}.txt:{}: `{}` prints another output; `cargo run -p recipes -- --rewrite` updates the file",
            block.line, block.text
        );
    }
}

// One test for each file in `scenarios`; the build script generates them.
include!(concat!(env!("OUT_DIR"), "/recipe_tests.rs"));
