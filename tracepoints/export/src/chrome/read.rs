//! Reads trace-event JSON as far as it is whole: an object, a bare array (also one that was never closed), or a stream of
//! `data:` lines as TiDB's `/debug/traceevent` sends them.
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{BASE, event::Event, pair::Pairs};
use crate::{ExportError, Imported};

const WANTED: &str = "trace-event JSON: an array of events, or an object with `traceEvents`";

/// Reads all requests of a document.
///
/// # Errors
/// If it is no trace-event JSON, or holds no span.
pub fn read(bytes: &[u8]) -> Result<Imported, ExportError> {
    let mut reader = Reader { text: Text { bytes, at: 0 }, pairs: Pairs::default(), cut: None };
    reader.text.blank();
    match reader.text.peek() {
        None => return Err(ExportError::Empty),
        Some(b'[') => reader.array()?,
        Some(b'{') => reader.object()?,
        _ if bytes[reader.text.at..].starts_with(b"data:") => reader.stream()?,
        Some(_) => return Err(reader.text.error(WANTED)),
    }
    let Reader { pairs, cut, .. } = reader;
    let mut imported = pairs.finish();
    if let Some(offset) = cut {
        imported.notes.push(format!(
            "the file is cut short or damaged at offset {offset}; what stands before was read"
        ));
    }
    if imported.requests.is_empty() {
        return Err(ExportError::NoSpan("events of the phases X, B/E, b/e or i"));
    }
    Ok(imported)
}

struct Reader<'a> {
    text: Text<'a>,
    pairs: Pairs,
    cut: Option<usize>,
}

impl Reader<'_> {
    /// Events up to the closing bracket, or up to where the file ends.
    fn array(&mut self) -> Result<(), ExportError> {
        self.text.at += 1;
        let mut first = true;
        loop {
            self.text.separators();
            match self.text.peek() {
                None => {
                    self.cut = Some(self.text.at);
                    return Ok(());
                }
                Some(b']') => {
                    self.text.at += 1;
                    return Ok(());
                }
                Some(_) => {}
            }
            match self.text.next::<Event>("an event") {
                Ok(event) => self.pairs.push(event),
                Err(e) if first => return Err(e),
                Err(_) => {
                    self.cut = Some(self.text.at);
                    self.text.at = self.text.bytes.len();
                    return Ok(());
                }
            }
            first = false;
        }
    }

    fn object(&mut self) -> Result<(), ExportError> {
        self.text.at += 1;
        let mut met = false;
        loop {
            self.text.separators();
            match self.text.peek() {
                Some(b'"') => {}
                Some(b'}') if met => return Ok(()),
                None if met => {
                    self.cut.get_or_insert(self.text.at);
                    return Ok(());
                }
                _ => return Err(self.text.error(WANTED)),
            }
            let key: String = self.text.next("a name")?;
            self.text.blank();
            if self.text.peek() != Some(b':') {
                return Err(self.text.error("a colon"));
            }
            self.text.at += 1;
            self.text.blank();
            match key.as_str() {
                "traceEvents" if self.text.peek() == Some(b'[') => {
                    self.array()?;
                    met = true;
                }
                "otherData" => {
                    let other: serde_json::Value = self.text.next("a value")?;
                    let base = other.get(BASE).and_then(|b| b.as_str()).and_then(|b| b.parse().ok());
                    self.pairs.base_ns = base.unwrap_or(self.pairs.base_ns);
                }
                // What stands behind the events matters to nobody.
                _ => match self.text.next::<IgnoredAny>("a value") {
                    Err(_) if met => return Ok(()),
                    other => drop(other?),
                },
            }
        }
    }

    /// Server-sent events, each with an array.
    fn stream(&mut self) -> Result<(), ExportError> {
        loop {
            self.text.blank();
            let rest = &self.text.bytes[self.text.at..];
            if rest.is_empty() {
                return Ok(());
            }
            if !rest.starts_with(b"data:") {
                return Err(self.text.error("`data:` before each array of events"));
            }
            self.text.at += b"data:".len();
            self.text.blank();
            if self.text.peek() != Some(b'[') {
                return Err(self.text.error("an array of events"));
            }
            self.array()?;
        }
    }
}

/// JSON values one after the other, so that a broken end does not hide what stands before it.
struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn blank(&mut self) {
        self.skip(|b| b.is_ascii_whitespace());
    }

    fn separators(&mut self) {
        self.skip(|b| b.is_ascii_whitespace() || b == b',');
    }

    fn next<T: DeserializeOwned>(&mut self, expected: &'static str) -> Result<T, ExportError> {
        let mut values = serde_json::Deserializer::from_slice(&self.bytes[self.at..]).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(e)) => Err(ExportError::Syntax { offset: self.at, expected, met: e.to_string() }),
            None => Err(self.error(expected)),
        }
    }

    fn error(&self, expected: &'static str) -> ExportError {
        let shown = &self.bytes[self.at..self.bytes.len().min(self.at + 24)];
        let met = if shown.is_empty() {
            "the end of the file".into()
        } else {
            format!("{:?}", shown.escape_ascii().to_string())
        };
        ExportError::Syntax { offset: self.at, expected, met }
    }
}
