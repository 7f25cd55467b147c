//! The options of the search for symbols.
use std::path::PathBuf;

/// Paths of programs and their debug information, besides the system's own directories.
#[derive(Clone, Debug, Default)]
pub struct SymbolOptions {
    /// Programs and libraries, used for the mapped file with the same name or build id.
    pub binaries: Vec<PathBuf>,
    /// Directories with `.build-id/ab/cdef.debug`, or files with the name in the program's debug link.
    pub debug_dirs: Vec<PathBuf>,
    /// Directory of the cache, by build id; `None` disables it.
    pub cache: Option<PathBuf>,
}
