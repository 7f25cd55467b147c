//! Any bytes as a log, with what follows damage, and as one write batch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tikv_ctl::lsm::{LogReader, Record, wal::read_batch};

fuzz_target!(|data: &[u8]| {
    let mut reader = LogReader::new(data, 1);
    loop {
        match reader.next_record() {
            Record::End => break,
            Record::Data { data, .. } => drop(read_batch(&data, |_| {})),
            Record::Corrupt { .. } => {
                if !reader.resync() {
                    break;
                }
            }
        }
    }
    let _ = read_batch(data, |_| {});
});
