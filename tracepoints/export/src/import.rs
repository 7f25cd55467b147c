//! Files of other tools: what they are is told by their first bytes.
use crate::{ExportError, Request, chrome, otlp};

/// What was read, and what was passed over.
#[derive(Debug, Default, PartialEq)]
pub struct Imported {
    pub requests: Vec<Request>,
    /// Losses, in words.
    pub notes: Vec<String>,
}

/// Reads Chrome JSON or OTLP, protobuf or JSON.
///
/// # Errors
/// If it is none of them, empty, broken from the start, or holds no span.
pub fn read(bytes: &[u8]) -> Result<Imported, ExportError> {
    let text = bytes.trim_ascii_start();
    if let Some(what) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(ExportError::Foreign(what.1));
    }
    match text.first() {
        None => Err(ExportError::Empty),
        Some(b'{') if otlp::is_json(text) => otlp::read_json(text),
        Some(b'{' | b'[' | b'd') => chrome::read(bytes),
        Some(_) => otlp::read_protobuf(bytes),
    }
}

const FOREIGN: &[(&[u8], &str)] = &[
    (b"TPTRACE\0", "a trace file of this toolkit; open it as it is: `tikv-tui trace info FILE`"),
    (&[0x1f, 0x8b], "compressed by gzip; decompress it first: `gzip -d`"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "compressed by zstd; decompress it first: `zstd -d`"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\x7fELF", "a program"),
];
