//! Reads OTLP's protobuf: bare, or with a length before each message, as a varint or in four bytes as in the
//! collector's file exporter. An unreadable span loses only that span.
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use tracepoints_profile::json::Lost;

use super::{
    WANTED,
    proto::{Resource, Span},
    traces::Traces,
};
use crate::{ExportError, Imported};

/// Field number of a message's resources, and of a resource's spans by library.
const RESOURCE_SPANS: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPE_SPANS: u32 = 2;
/// Field number of spans by library before version 0.15; the form is unchanged.
const LIBRARY_SPANS: u32 = 1000;
const SPANS: u32 = 2;

/// # Errors
/// If it is not a protobuf of OTLP, or no span is found.
pub fn read_protobuf(bytes: &[u8]) -> Result<Imported, ExportError> {
    let mut reader = Reader { bytes, traces: Traces::default(), lost: Lost::default() };
    let framed = || framed(bytes, fixed_length).or_else(|| framed(bytes, varint_length));
    match framed().filter(|_| !is_bare(bytes)) {
        Some((messages, cut)) => {
            for message in messages {
                if let Err(offset) = reader.message(message) {
                    reader.lost.add(offset);
                }
            }
            reader.lost.cut = cut;
        }
        None => {
            if let Err(offset) = reader.message(bytes) {
                if reader.traces.is_empty() {
                    let found = "other bytes or a truncated message".into();
                    return Err(ExportError::Syntax { offset, expected: WANTED, found });
                }
                reader.lost.cut = Some(offset);
            }
        }
    }
    let notes = reader.lost.notes("messages", &[]);
    reader.traces.finish(notes)
}

/// Whether a message fills the whole file.
fn is_bare(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        if !matches!(field(&mut bytes), Some((RESOURCE_SPANS, Some(_)))) {
            return false;
        }
    }
    true
}

/// Whole messages, and the offset of a last one that is cut short.
type Frames<'a> = (Vec<&'a [u8]>, Option<usize>);

/// Splits messages that are each preceded by a length. The writer of the last one may have been killed.
fn framed<'a>(bytes: &'a [u8], length: impl Fn(&'a [u8]) -> Option<(usize, &'a [u8])>) -> Option<Frames<'a>> {
    let (mut rest, mut out) = (bytes, Vec::new());
    let mut cut = None;
    while !rest.is_empty() {
        let whole = length(rest).and_then(|(len, after)| after.split_at_checked(len));
        let Some((message, next)) = whole else {
            cut = Some(bytes.len() - rest.len());
            break;
        };
        if message.first().is_some_and(|tag| *tag != RESOURCE_TAG) {
            return None;
        }
        out.push(message);
        rest = next;
    }
    out.iter().any(|message| !message.is_empty()).then_some((out, cut))
}

/// Tag of a resource: field 1, with a length.
const RESOURCE_TAG: u8 = 0x0a;

fn fixed_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, after) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*len) as usize, after))
}

fn varint_length(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let len = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
    Some((len, bytes))
}

struct Reader<'a> {
    bytes: &'a [u8],
    traces: Traces,
    lost: Lost,
}

impl<'a> Reader<'a> {
    fn offset(&self, part: &[u8]) -> usize {
        part.as_ptr() as usize - self.bytes.as_ptr() as usize
    }

    /// # Errors
    /// Returns the offset of data that is not a field of the message.
    fn message(&mut self, bytes: &'a [u8]) -> Result<(), usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = self.offset(rest);
            // Only resources are valid at this level: another field means another format.
            match field(&mut rest) {
                Some((RESOURCE_SPANS, Some(resource))) => self.resource(resource),
                _ => return Err(at),
            }
        }
        Ok(())
    }

    fn resource(&mut self, bytes: &'a [u8]) {
        let (mut resource, mut spans) = (Resource::default(), Vec::new());
        self.fields(bytes, |reader, number, part| match number {
            RESOURCE => match Resource::decode(part) {
                Ok(read) => resource = read,
                Err(_) => reader.lose(part),
            },
            SCOPE_SPANS | LIBRARY_SPANS => reader.fields(part, |reader, number, part| {
                if number == SPANS {
                    match Span::decode(part) {
                        Ok(span) => spans.push(span),
                        Err(_) => reader.lose(part),
                    }
                }
            }),
            _ => {}
        });
        self.traces.take(&resource, spans);
    }

    fn lose(&mut self, part: &[u8]) {
        let offset = self.offset(part);
        self.lost.add(offset);
    }

    /// Reads the fields of a message that have a length; fields after a damaged one are lost.
    fn fields(&mut self, bytes: &'a [u8], mut each: impl FnMut(&mut Self, u32, &'a [u8])) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match field(&mut rest) {
                Some((number, Some(part))) => each(self, number, part),
                Some((_, None)) => {}
                None => return self.lose(rest),
            }
        }
    }
}

/// Takes the next field off: its number, and its contents if it has a length.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let mut at = *rest;
    let (number, wire) = decode_key(&mut at).ok()?;
    if wire != WireType::LengthDelimited {
        skip_field(wire, number, &mut at, DecodeContext::default()).ok()?;
        *rest = at;
        return Some((number, None));
    }
    let len = usize::try_from(decode_varint(&mut at).ok()?).ok()?;
    let (part, next) = at.split_at_checked(len)?;
    *rest = next;
    Some((number, Some(part)))
}
