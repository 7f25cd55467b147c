//! Every recipe runs, and prints what its file says.
use parking_lot::Mutex;
use recipes::{library, runner::run_all};

/// One session a process: recipes run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn check(name: &str) {
    let _turn = ONE_AT_A_TIME.lock();
    let scenario = library::find(name).unwrap();
    let outputs = run_all(scenario.clone()).unwrap_or_else(|e| panic!("{name}: {e:#}"));
    for (block, output) in scenario.blocks.iter().zip(&outputs) {
        assert_eq!(
            &block.expected, output,
            "{name}.txt:{}: `{}` prints something else; `cargo run -p recipes -- --rewrite` takes what it prints now",
            block.line, block.text
        );
    }
}

macro_rules! recipes {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_recipe_has_its_test() {
            let tested = [$(stringify!($name)),*];
            for (name, _) in library::RECIPES {
                assert!(tested.contains(name), "add {name} to the list in recipes/tests/recipes.rs");
            }
        }
    };
}

recipes!(
    point_get,
    point_get_absent,
    point_get_big_value,
    point_get_locked,
    point_get_old_version,
    point_get_read_index,
    batch_get,
    scan,
    transfer_leader,
    raw_put,
    raw_delete,
    raw_cas,
    raw_batch_scan,
    txn_2pc,
    async_commit,
    one_pc,
    commit_held,
    leader_change_during_commit,
    follower_catches_up,
);
