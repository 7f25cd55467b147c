//! Reads files of other tools; detects the format from the content.
mod kind;

use crate::{ExportError, Request, chrome, otlp};
use kind::Kind;
use tracepoints_input::Plain;

const FTRACE: &str = "the output of ftrace; open it in ui.perfetto.dev";
const PAGE: &str = "a page; save the trace itself as JSON, or open the page in a browser";

/// The imported requests, and the losses.
#[derive(Debug, Default, PartialEq)]
pub struct Imported {
    /// The requests, by their start.
    pub requests: Vec<Request>,
    /// Descriptions of the losses.
    pub notes: Vec<String>,
}

/// Reads Chrome JSON or OTLP (protobuf or JSON), compressed or not, with text in any Unicode encoding.
///
/// # Errors
/// If the file has none of these formats, is empty, broken from the start, or has no span.
pub fn read(bytes: &[u8]) -> Result<Imported, ExportError> {
    if let Some(what) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(ExportError::Foreign(what.1));
    }
    let Plain { bytes: text, notes } = tracepoints_input::plain(bytes)?;
    let mut imported = match kind::detect(&text) {
        Kind::Empty => Err(ExportError::Empty),
        Kind::Chrome => chrome::read(&text),
        Kind::OtlpJson => otlp::read_json(&text),
        Kind::Binary => otlp::read_protobuf(&text),
        Kind::Text => Err(no_json(&text)),
        Kind::Other(what) => Err(ExportError::Foreign(what)),
    }?;
    imported.notes.splice(0..0, notes);
    Ok(imported)
}

fn no_json(text: &[u8]) -> ExportError {
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let found = format!("text that begins with {:?}", String::from_utf8_lossy(&line[..line.len().min(40)]));
    ExportError::Syntax { offset: 0, expected: "Chrome JSON or OTLP (protobuf or JSON)", found }
}

const FOREIGN: &[(&[u8], &str)] = &[
    (b"# tracer:", FTRACE),
    (b"<!DOCTYPE", PAGE),
    (b"<html", PAGE),
    (b"TPTRACE\0", "a trace file of this toolkit; open it directly: `tikv-tui trace info FILE`"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\x7fELF", "a program"),
];
