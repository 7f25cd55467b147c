//! Totals of a bank: transfers between accounts keep the sum.
use crate::{Anomaly, History, Key, Kind, Op, Outcome};

/// Returns the committed transactions that read all `accounts` and found another sum than `total`.
///
/// An account that was read as nil counts 0. Operations on other keys are not looked at.
pub fn wrong_totals(history: &History, accounts: &[Key], total: u64) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (at, transaction) in history.transactions.iter().enumerate() {
        if transaction.outcome != Outcome::Ok {
            continue;
        }
        let read = |account: &Key| {
            transaction.ops.iter().find_map(|op| match op {
                Op::Read(key, value) if key == account => Some(value.unwrap_or(0)),
                _ => None,
            })
        };
        let balances: Option<Vec<u64>> = accounts.iter().map(read).collect();
        let Some(balances) = balances else { continue };
        let sum: u128 = balances.into_iter().map(u128::from).sum();
        if sum != u128::from(total) {
            let text = format!("T{at} reads all accounts: expected a sum of {total}, found {sum}");
            found.push(Anomaly { kind: Kind::WrongTotal, transactions: vec![at], text });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_in_the_middle_of_a_transfer_has_a_wrong_sum() {
        let text = "p0 0..1 ok read a 60; read b 40\np1 0..1 ok read a 50; read b 40\np2 0..1 fail read a 0; read b 0\n\
                    p3 0..1 ok read a 50";
        let mut history: History = text.parse().unwrap();
        let accounts = [history.key("a"), history.key("b")];
        let found = wrong_totals(&history, &accounts, 100);
        assert_eq!(found.iter().map(|a| a.transactions[0]).collect::<Vec<_>>(), [1]);
        assert_eq!(
            found[0].to_string(),
            "wrong total: T1 reads all accounts: expected a sum of 100, found 90"
        );
    }
}
