//! Any bytes as a raft-engine file: batches, entries, and what follows damage.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tikv_ctl::raft_engine::BatchIter;

fuzz_target!(|data: &[u8]| {
    let Ok(mut batches) = BatchIter::new(data, 1) else { return };
    loop {
        match batches.next_batch() {
            Ok(None) => break,
            Ok(Some(batch)) => drop(batch.plain()),
            Err(_) => {
                if batches.resync().is_none() {
                    break;
                }
            }
        }
    }
});
