//! Checks histories of transactions for anomalies of isolation.
//!
//! A history has the operations of clients, their results, and the times at which each transaction began and ended. The
//! checker infers in which order the versions of each key were written, draws the dependencies between transactions,
//! and looks for cycles. The kind of a cycle names the anomaly.
//!
//! Sources: A. Adya, *Weak Consistency* (MIT, 1999) for the names G0 to G2; P. Alvaro and K. Kingsbury, *Elle:
//! Inferring Isolation Anomalies from Experimental Observations* (VLDB 2020) for the inference.
//!
//! ```
//! use histories::{History, Isolation, check};
//!
//! // Both transactions read the empty list x and append to it: one of the updates is lost.
//! let history: History = "
//!     p0 0..9 ok list x []; append x 1
//!     p1 1..8 ok list x []; append x 2
//!     p2 10..11 ok list x [1 2]
//! ".parse().unwrap();
//! let found = check(&history);
//! assert_eq!(found[0].kind.name(), "G-single");
//! assert!(Isolation::Snapshot.forbids(found[0].kind));
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]
mod anomaly;
mod bank;
mod check;
mod components;
mod cycle;
mod graph;
mod history;
mod lists;
mod order;
mod parse;
mod registers;
mod writers;

pub use anomaly::{Anomaly, Isolation, Kind};
pub use bank::wrong_totals;
pub use check::{Options, check, check_with};
pub use graph::Dependency;
pub use history::{History, Key, Op, Outcome, Transaction};
pub use order::Order;
pub use parse::ParseError;
