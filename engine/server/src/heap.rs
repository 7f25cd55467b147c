//! Heap profiles and the allocator's statistics. The program owns the allocator, so it installs the functions.
use std::{path::Path, sync::OnceLock};

type Dump = fn(&Path) -> Result<(), String>;

type Stats = fn() -> String;

static FUNCTIONS: OnceLock<(Dump, Stats)> = OnceLock::new();

/// Installs the function that writes a heap profile to a file, and the one that returns the allocator's statistics, for
/// programs with a sampling allocator. Only the first call has an effect.
pub fn install(dump: Dump, stats: Stats) {
    let _ = FUNCTIONS.set((dump, stats));
}

/// Returns the allocator's statistics as text; empty if the program has no such allocator, as in TiKV.
pub fn stats() -> String {
    FUNCTIONS.get().map(|(_, stats)| stats()).unwrap_or_default()
}

/// Writes a heap profile to a file.
///
/// # Errors
/// The allocator's error, or that the program has no sampling allocator.
pub fn dump(path: &Path) -> Result<(), String> {
    let Some((dump, _)) = FUNCTIONS.get() else {
        return Err(
            "the allocator of this program does not sample; run tikv-server, which has jemalloc".into()
        );
    };
    dump(path)
}
