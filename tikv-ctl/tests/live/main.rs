//! Runs the tool against this project's PD and stores, in this process.
mod cluster;
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod flashback;
mod killed;
mod raw;
mod refusals;
mod tls;
