//! Reading of files: at offsets, decrypted, with errors that name the file and the offset.
mod cursor;
mod damage;
mod error;
mod file;
mod owner;

pub use cursor::Cursor;
pub use damage::{Damage, KeyRange};
pub use error::{Context, FileError, Result};
pub use file::{RandomFile, read_whole};
pub use owner::own_as;

/// Whether two checksums match. All match when fuzzing, so that the fuzzer reaches the code after the check.
pub fn checksum_matches(computed: u32, stored: u32) -> bool {
    computed == stored || cfg!(fuzzing)
}
