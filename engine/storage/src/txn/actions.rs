//! Actions of commands on one key.
pub mod acquire_pessimistic_lock;
pub mod check_data_constraint;
pub mod check_txn_status;
pub mod cleanup;
pub mod commit;
pub mod common;
pub mod gc;
pub mod mvcc;
pub mod prewrite;
