//! Transactions whose requests the runner makes, by their names in a scenario.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// The transactions that one directive begins.
#[derive(Debug)]
pub struct Named<T> {
    /// The directive.
    begin: &'static str,
    txns: BTreeMap<String, T>,
}

impl<T> Named<T> {
    /// Makes an empty set; `begin`: the directive that begins its transactions.
    pub fn new(begin: &'static str) -> Self {
        Self { begin, txns: BTreeMap::new() }
    }

    /// Gives a transaction its name.
    pub fn begin(&mut self, name: &str, txn: T) {
        self.txns.insert(name.to_owned(), txn);
    }

    /// Finds a transaction.
    ///
    /// # Errors
    /// If the transaction was not begun.
    pub fn get(&mut self, name: &str) -> Result<&mut T> {
        self.txns.get_mut(name).with_context(|| not_begun(self.begin, name))
    }

    /// Ends a transaction; returns it.
    ///
    /// # Errors
    /// If the transaction was not begun.
    pub fn end(&mut self, name: &str) -> Result<T> {
        self.txns.remove(name).with_context(|| not_begun(self.begin, name))
    }
}

fn not_begun(begin: &str, name: &str) -> String {
    format!("no transaction is named {name}; write `{begin} {name}` before this directive")
}
