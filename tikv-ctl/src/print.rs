//! Text that the tool prints: the output and its format, lines of entries, and keys.
pub mod entry_lines;
pub(crate) mod key_text;
pub mod line;
pub(crate) mod output;
pub(crate) mod printable;
