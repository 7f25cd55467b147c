//! Any bytes as a MANIFEST, as one version edit, and as an OPTIONS file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tikv_ctl::lsm::{manifest, options};

fuzz_target!(|data: &[u8]| {
    let _ = manifest::replay("MANIFEST-000001".into(), data);
    let _ = manifest::parse(data);
    let _ = options::parse(&String::from_utf8_lossy(data));
});
