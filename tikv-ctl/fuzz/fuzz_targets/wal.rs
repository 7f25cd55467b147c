//! See `readers.rs`.
#![no_main]

#[allow(dead_code)] // each target uses one of them
#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::wal(data));
