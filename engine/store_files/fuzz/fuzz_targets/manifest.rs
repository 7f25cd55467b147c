//! See `store_files_checks::readers`.
#![no_main]
use store_files_checks::{memory, readers};

libfuzzer_sys::fuzz_target!(|data: &[u8]| memory::bounded(data, readers::manifest));
