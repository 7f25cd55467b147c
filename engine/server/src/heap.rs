//! Heap profiles: the allocator belongs to the program, so the program says how it is asked.
use std::{path::Path, sync::OnceLock};

type Dump = fn(&Path) -> Result<(), String>;

static DUMP: OnceLock<Dump> = OnceLock::new();

/// Tells how a heap profile is written to a file, for programs whose allocator samples. The first one stands.
pub fn install(dump: Dump) {
    let _ = DUMP.set(dump);
}

/// Writes a heap profile.
///
/// # Errors
/// What the allocator says; there is none that samples.
pub fn dump(path: &Path) -> Result<(), String> {
    let Some(dump) = DUMP.get() else {
        return Err(
            "the allocator of this program does not sample; run tikv-server, which has jemalloc".into()
        );
    };
    dump(path)
}
