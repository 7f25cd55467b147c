//! Any bytes as an SST: opened, verified, walked, searched, filtered.
#![no_main]

use std::{path::Path, sync::Arc};

use libfuzzer_sys::fuzz_target;
use tikv_ctl::lsm::{RandomFile, Table, verify};

fuzz_target!(|data: &[u8]| {
    let file = RandomFile::from_bytes(Path::new("fuzz.sst"), data.to_vec());
    let Ok(table) = Table::from_file(file, Some(7)) else { return };
    let table = Arc::new(table);
    let _ = verify(&table, 1);
    let _ = (table.range_deletions(), table.filter_text(), table.may_hold(Some(b"key"), b"row"));
    if let Ok(mut iter) = table.iter() {
        // Each error leaves a block behind, so that the walk ends.
        while !matches!(iter.advance(), Ok(false)) {}
    }
    if let Ok(mut iter) = table.iter_from(data.get(..9).unwrap_or(data)) {
        let _ = iter.advance();
    }
    for name in ["tikv.range_index", "tikv.rows_index"] {
        let _ = table.properties().range_index(name);
    }
});
