//! Heap profiles. The program owns the allocator, so it installs the function that writes them.
use std::{path::Path, sync::OnceLock};

type Dump = fn(&Path) -> Result<(), String>;

static DUMP: OnceLock<Dump> = OnceLock::new();

/// Installs the function that writes a heap profile to a file, for programs with a sampling allocator. Only
/// the first call has an effect.
pub fn install(dump: Dump) {
    let _ = DUMP.set(dump);
}

/// Writes a heap profile to a file.
///
/// # Errors
/// The allocator's error, or that the program has no sampling allocator.
pub fn dump(path: &Path) -> Result<(), String> {
    let Some(dump) = DUMP.get() else {
        return Err(
            "the allocator of this program does not sample; run tikv-server, which has jemalloc".into()
        );
    };
    dump(path)
}
