//! Standard output and standard error of a program, closed or full ones as well: `println!` panics there.
use std::{
    fmt::Display,
    io::{self, Write as _},
};

use super::printable_lines;

/// Prints text to standard output, whole, as it is.
///
/// # Errors
/// If it cannot be written, as to a full disk. A reader that has gone (`| head`) has seen enough: that is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_closed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Prints a line for people to standard error, foreign text in it made printable. Nobody may be there to read it.
pub fn note(text: impl Display) {
    let text = text.to_string();
    // There is no other place to report it.
    let _ = writeln!(io::stderr().lock(), "{}", printable_lines(&text));
}

/// Takes it for success that the reader has gone.
///
/// # Errors
/// Any other error.
pub fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
