//! Reads trace-event JSON as far as possible: an object, a bare array (even an unclosed one), one event per
//! line, or a stream of `data:` lines as sent by TiDB's `/debug/traceevent`.
use std::borrow::Cow;

use tracepoints_profile::json::{self, Lost, Members, begin, elements, value_end};

use super::{
    BASE, PRODUCER,
    assemble::{About, assemble},
    event::Event,
    pair::Pairs,
};
use crate::{ExportError, Imported};

const WANTED: &str = "trace-event JSON: an array of events, or an object with `traceEvents`";

/// Reads all requests of a document.
///
/// # Errors
/// If it is not trace-event JSON, or has no span.
pub fn read(bytes: &[u8]) -> Result<Imported, ExportError> {
    let mut reader = Reader { text: bytes, ..Reader::default() };
    reader.all()?;
    let Reader { pairs, about, lost, notes, .. } = reader;
    let mut imported = assemble(pairs, &about);
    imported.notes.extend(notes);
    imported.notes.extend(lost.notes("events", bytes));
    if imported.requests.is_empty() {
        let expected = "events of the phases X, B/E, b/e or i";
        return Err(ExportError::NoSpan { expected, notes: imported.notes });
    }
    Ok(imported)
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a [u8],
    pairs: Pairs,
    about: About,
    lost: Lost,
    notes: Vec<String>,
}

impl Reader<'_> {
    /// Reads documents in sequence; most files have one.
    fn all(&mut self) -> Result<(), ExportError> {
        let mut at = begin(self.text, 0);
        if at == self.text.len() {
            return Err(ExportError::Empty);
        }
        let mut first = true;
        while at < self.text.len() {
            at = match self.text[at] {
                b'[' => self.array(at),
                b'{' => self.object(at, first)?,
                _ if self.text[at..].starts_with(b"data:") => at + b"data:".len(),
                // Other fields of server-sent events, and commas between documents.
                b',' => at + 1,
                _ if first => return Err(self.error(at)),
                _ => {
                    self.lost.cut.get_or_insert(at);
                    return Ok(());
                }
            };
            first = false;
            at = begin(self.text, at);
        }
        Ok(())
    }

    /// Reads events up to the closing bracket or the end of the file; returns the end offset.
    fn array(&mut self, at: usize) -> usize {
        let (text, pairs) = (self.text, &mut self.pairs);
        let read = |one: &[u8]| {
            let event = Event::read(one)?;
            Some(Event { offset: one.as_ptr() as usize - text.as_ptr() as usize, ..event })
        };
        elements(text, at, read, |event| pairs.push(event), &mut self.lost)
    }

    /// Reads an object with `traceEvents`, or a single event.
    fn object(&mut self, at: usize, first: bool) -> Result<usize, ExportError> {
        let mut members = Members::new(self.text, at);
        let (mut events, mut names) = (false, Vec::new());
        while let Some((name, value)) = members.next() {
            match name.as_ref() {
                "traceEvents" if self.text.get(value) == Some(&b'[') => {
                    members.resume(self.array(value));
                    events = true;
                }
                // A bare event; more of them follow without a bracket around them.
                "ph" if !events => return Ok(self.array(at)),
                _ => self.member(&name, value),
            }
            names.push(name);
        }
        if !events {
            // A damaged line among others loses only that line.
            return if first { Err(self.no_events(at, &members, &names)) } else { Ok(self.array(at)) };
        }
        if !members.closed() {
            self.lost.cut.get_or_insert(members.at());
            return Ok(self.text.len());
        }
        Ok(members.at())
    }

    fn member(&mut self, name: &str, at: usize) {
        let text = self.text;
        let value = || json::parse(&text[at..value_end(text, at)?]);
        match name {
            "otherData" => {
                let Some(other) = value() else { return };
                self.about.ours |= other.get("producer").is_some_and(|p| p == PRODUCER);
                let base = other.get(BASE).and_then(|b| b.as_str()).and_then(|b| b.parse().ok());
                self.about.base_ns = base.unwrap_or(self.about.base_ns);
            }
            // Origin of the times of PyTorch's profiler.
            "baseTimeNanoseconds" => {
                let base = value().and_then(|b| b.as_u64());
                self.about.base_ns = base.unwrap_or(self.about.base_ns);
            }
            "stackFrames" => self.about.frames.read(&value().unwrap_or_default()),
            "samples" => {
                let n = value().and_then(|s| s.as_array().map(Vec::len)).unwrap_or(0);
                if n > 0 {
                    self.notes
                        .push(format!("{n} CPU samples (`samples`) were skipped: they belong to no span"));
                }
            }
            "systemTraceEvents"
                if value().is_some_and(|v| v.as_str().is_none_or(|text| !text.is_empty())) =>
            {
                self.notes.push("the system's own trace (`systemTraceEvents`) was skipped".into());
            }
            // Times and threads of the viewer, metadata: they change no span.
            _ => {}
        }
    }

    fn error(&self, at: usize) -> ExportError {
        let shown = &self.text[at..self.text.len().min(at + 24)];
        let found = format!("{:?}", shown.escape_ascii().to_string());
        ExportError::Syntax { offset: at, expected: WANTED, found }
    }

    fn no_events(&self, at: usize, members: &Members<'_>, names: &[Cow<'_, str>]) -> ExportError {
        if !members.closed() {
            return self.error(members.at().min(self.text.len()));
        }
        if names.iter().any(|name| name == "traceEvents") {
            let found = "`traceEvents` that is not a list".into();
            return ExportError::Syntax { offset: at, expected: WANTED, found };
        }
        let names: Vec<_> = names.iter().take(8).map(|name| format!("{name:?}")).collect();
        ExportError::Syntax {
            offset: at,
            expected: WANTED,
            found: format!("an object with {}", names.join(", ")),
        }
    }
}
