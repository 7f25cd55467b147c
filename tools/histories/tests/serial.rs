//! Histories of a serial store are right, and a change of one read is found.
use std::collections::HashMap;

use histories::{History, Isolation, Op, Options, Order, Outcome, Transaction, check_with};
use proptest::prelude::*;

/// Runs `choices` one after another on lists, each with an operation for a key.
fn serial(choices: &[Vec<(u8, bool)>]) -> History {
    let mut history = History::default();
    let mut lists: HashMap<u32, Vec<u64>> = HashMap::new();
    let mut next = 0;
    for (at, choice) in choices.iter().enumerate() {
        let ops = choice.iter().map(|(name, is_append)| {
            let key = history.key(&name.to_string());
            let list = lists.entry(key).or_default();
            if *is_append {
                next += 1;
                list.push(next);
                Op::Append(key, next)
            } else {
                Op::List(key, list.clone())
            }
        });
        let ops = ops.collect();
        let at = at as u64;
        let (process, invoked, completed) = (at as u32 % 3, 2 * at, 2 * at + 1);
        history.transactions.push(Transaction { process, invoked, completed, outcome: Outcome::Ok, ops });
    }
    history
}

proptest! {
    #[test]
    fn a_serial_history_is_strictly_serializable(
        choices in prop::collection::vec(prop::collection::vec((0u8..4, any::<bool>()), 1..5), 0..40),
    ) {
        let options = Options { order: Order::RealTime, isolation: Isolation::Serializable };
        prop_assert_eq!(check_with(&serial(&choices), options), []);
    }

    #[test]
    fn a_value_taken_from_a_read_is_found(
        choices in prop::collection::vec(prop::collection::vec((0u8..2, any::<bool>()), 1..4), 1..30),
        pick in any::<prop::sample::Index>(),
    ) {
        let mut history = serial(&choices);
        let last = history.key("0");
        let all = history.transactions.iter().flat_map(|t| &t.ops).filter_map(|op| match op {
            Op::Append(key, value) if *key == last => Some(*value),
            _ => None,
        });
        let list: Vec<u64> = all.collect();
        prop_assume!(!list.is_empty());
        // A later transaction reads a shorter list than an earlier one had.
        let shorter = list[..pick.index(list.len())].to_vec();
        for (at, list) in [list, shorter].into_iter().enumerate() {
            let invoked = 1_000 + 2 * at as u64;
            let ops = vec![Op::List(last, list)];
            let transaction = Transaction { process: 9, invoked, completed: invoked + 1, outcome: Outcome::Ok, ops };
            history.transactions.push(transaction);
        }
        let options = Options { order: Order::RealTime, isolation: Isolation::Snapshot };
        prop_assert!(!check_with(&history, options).is_empty());
    }
}
