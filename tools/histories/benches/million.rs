//! Time to check a million transactions on one core: `cargo bench -p histories`.
use std::time::Instant;

use histories::{History, Isolation, Op, Options, Order, Outcome, Transaction, check_with};

const TRANSACTIONS: u64 = 1_000_000;
/// A list gets this many values before its key is no longer used, as in the workloads.
const LENGTH: u64 = 32;

fn main() {
    let mut history = History::default();
    let mut lists: Vec<Vec<u64>> = Vec::new();
    for at in 0..TRANSACTIONS {
        let (read, written) = ((at / LENGTH) as usize, (at * 7 / 8 / LENGTH) as usize);
        for number in [read, written] {
            while lists.len() <= number {
                history.key(&lists.len().to_string());
                lists.push(Vec::new());
            }
        }
        let ops = vec![Op::List(read as u32, lists[read].clone()), Op::Append(written as u32, at)];
        lists[written].push(at);
        let (process, invoked) = (at as u32 % 16, at * 2);
        history.transactions.push(Transaction {
            process,
            invoked,
            completed: invoked + 20,
            outcome: Outcome::Ok,
            ops,
        });
    }
    let began = Instant::now();
    let found = check_with(&history, Options { order: Order::RealTime, isolation: Isolation::Snapshot });
    println!(
        "{TRANSACTIONS} transactions in {:.1} s, {} anomalies",
        began.elapsed().as_secs_f64(),
        found.len()
    );
    if let Some(first) = found.first() {
        println!("first: {first}");
    }
}
