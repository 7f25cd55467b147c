//! Where results go: text or JSON on standard output, notes on standard error.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::Result;

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// TiKV's text.
    #[default]
    Text,
    /// JSON.
    Json,
}

/// Takes what a command prints.
pub struct Output<'a> {
    format: Format,
    out: BufWriter<&'a mut dyn Write>,
    notes: &'a mut dyn Write,
}

impl<'a> Output<'a> {
    /// Prints to `out`, and notes to `notes`.
    pub fn new(format: Format, out: &'a mut dyn Write, notes: &'a mut dyn Write) -> Output<'a> {
        Output { format, out: BufWriter::with_capacity(64 * 1024, out), notes }
    }

    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a line of text.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        self.out.write_all(text.as_ref().as_bytes())?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// Prints bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Prints a JSON value, over several lines.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value).map_err(io::Error::from)?;
        self.line("")
    }

    /// Prints `text()` or `json()`, whichever is wanted.
    pub fn either<T: Serialize>(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> T,
    ) -> Result<()> {
        if self.is_json() { self.json(&json()) } else { self.line(text()) }
    }

    /// Begins a JSON array whose elements come one by one.
    pub fn list(&mut self) -> JsonList {
        JsonList { empty: true }
    }

    /// Tells something that is no result. A closed standard error is no reason to stop.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.notes, "{text}");
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// A JSON array printed while its elements are found, so that a long scan does not fill the memory.
#[derive(Debug)]
pub struct JsonList {
    empty: bool,
}

impl JsonList {
    /// Prints an element.
    pub fn push(&mut self, out: &mut Output<'_>, value: &impl Serialize) -> Result<()> {
        out.bytes(if self.empty { b"[\n  " } else { b",\n  " })?;
        self.empty = false;
        Ok(serde_json::to_writer(&mut out.out, value).map_err(io::Error::from)?)
    }

    /// Ends the array.
    pub fn end(self, out: &mut Output<'_>) -> Result<()> {
        out.line(if self.empty { "[]" } else { "\n]" })
    }
}
