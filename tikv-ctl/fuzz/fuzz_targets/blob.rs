//! See `readers.rs`.
#![no_main]

#[path = "../memory.rs"]
mod memory;
#[allow(dead_code)] // each target uses one of them
#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| memory::bounded(data, readers::blob));
