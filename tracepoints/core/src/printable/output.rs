//! Prints to standard output and standard error, even if they are closed or full: `println!` would panic.
use std::{
    fmt::Display,
    io::{self, Write as _},
};

use super::printable_lines;

/// Prints the whole text to standard output, unchanged.
///
/// # Errors
/// If the output cannot be written, for example to a full disk. A reader that has exited (`| head`) is no
/// error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_closed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Prints a line for people to standard error, with foreign text made printable; ignores a closed standard
/// error.
pub fn note(text: impl Display) {
    let text = text.to_string();
    // There is no other output to report it to.
    let _ = writeln!(io::stderr().lock(), "{}", printable_lines(&text));
}

/// Treats an output closed by its reader as success.
///
/// # Errors
/// Any other error.
pub fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
