//! Detects a file's format by its content. Text is never taken for a binary format.
use prost::encoding::decode_varint;

use super::{collapsed, kind::Format, perf_script, v8};
use crate::ProfileError;

/// Number of bytes examined.
const HEAD: usize = 64 << 10;

/// First bytes of other binary formats, which control characters follow, and descriptions of them.
const BINARY: &[(&[u8], &str)] = &[
    (b"\x7fELF", "a program; give it as --binary, together with the profile"),
    (b"MZ\x90", "a Windows program; give the profile that was taken of it"),
    (b"TPTRACE", "a trace file of this toolkit; give it as --trace"),
    (b"MOJ", "Austin's binary form; convert it with mojo2austin"),
    (b"FLR\0", "a recording of Java Flight Recorder; convert it with `jfrconv --collapsed`"),
    (b"Nettrace", "a trace of .NET; convert it with `dotnet-trace convert --format Speedscope`"),
    (b"PERFFILE", "a perf.data file of a perf older than 3.2; print it with `perf script` of that perf"),
    (b"\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00", LEGACY),
];
/// First bytes of other text formats. A name may begin with them, too.
const TEXT: &[(&[u8], &str)] = &[
    (b"<?xml", PICTURE),
    (b"<svg", PICTURE),
    (b"<!DOCTYPE", PICTURE),
    (b"<!doctype", PICTURE),
    (b"<html", PICTURE),
    (b"heap_v2/", "a heap profile of jemalloc; convert it with `jeprof --collapsed PROGRAM FILE`"),
    (b"heap profile:", LEGACY),
    (b"goroutine profile:", LEGACY),
    (b"--- contention", LEGACY),
    (b"--- mutex:", LEGACY),
    (b"--- heapz", LEGACY),
    (b"# callgrind format", CALLGRIND),
    (b"version: 1\ncreator: callgrind", CALLGRIND),
    (b"Attaching ", BPFTRACE),
    (b"@[\n", BPFTRACE),
    (b"# tracer:", "the output of ftrace; record with perf, and give perf.data"),
];
const PICTURE: &str = "a picture or a page; give the profile that it was drawn from";
const CALLGRIND: &str = "a profile of callgrind; convert it with gprof2dot or open it in kcachegrind";
const BPFTRACE: &str = "the output of bpftrace; convert it with stackcollapse-bpftrace.pl";
const LEGACY: &str = "pprof's legacy form; convert it with `go tool pprof -proto PROGRAM FILE`";

/// Detects the format of the content, which is unpacked and, if it is text, UTF-8 (see
/// [`tracepoints_input::plain`]).
///
/// # Errors
/// [`ProfileError::Unknown`], with the actual format if it is known.
pub fn detect(bytes: &[u8]) -> Result<Format, ProfileError> {
    let head = &bytes[..bytes.len().min(HEAD)];
    let begins = head.trim_ascii_start();
    if begins.is_empty() {
        return Err(ProfileError::Empty("the file is empty: check that the profiler has finished"));
    }
    if is_perf_data(begins) {
        return Ok(Format::PerfData);
    }
    if let Some(what) = other(head).or_else(|| other(begins)) {
        return Err(ProfileError::Unknown(what));
    }
    if is_json(begins) {
        match json(bytes, head) {
            Err(_) if is_stack(begins) => {}
            known => return known,
        }
    }
    if has_controls(head) && is_pprof(bytes) {
        return Ok(Format::Pprof);
    }
    if is_binary(head) {
        return Err(ProfileError::Unknown("binary data of an unsupported format"));
    }
    if let Some(format) = collapsed::detect(head) {
        return Ok(format);
    }
    Ok(if perf_script::is_one(head) { Format::PerfScript } else { Format::Folded })
}

/// Whether the bytes begin as perf.data: the magic number, then a header's length, which has zeros.
fn is_perf_data(bytes: &[u8]) -> bool {
    let magic = bytes.starts_with(b"PERFILE2") || bytes.starts_with(b"2ELIFREP");
    magic && bytes.get(8..16).is_none_or(|len| len.contains(&0))
}

/// Returns the description of a known other format.
fn other(head: &[u8]) -> Option<&'static str> {
    let is_binary = |rest: &[u8]| rest.is_empty() || has_controls(&rest[..rest.len().min(8)]);
    let binary = BINARY.iter().find(|(magic, _)| head.strip_prefix(*magic).is_some_and(is_binary));
    let text = || TEXT.iter().find(|(magic, _)| head.starts_with(magic) && !is_stack(head));
    binary.or_else(text).map(|(_, what)| *what)
}

/// Whether the first line is a folded stack of several frames, without an open bracket as JSON has.
fn is_stack(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
    let Some(space) = memchr::memrchr2(b' ', b'\t', line) else { return false };
    let (stack, count) = (&line[..space], &line[space + 1..]);
    let brackets = |wanted: &[u8]| stack.iter().filter(|b| wanted.contains(b)).count();
    let is_count = count.iter().any(u8::is_ascii_digit)
        && count.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b',' | b'-'));
    is_count && stack.contains(&b';') && brackets(b"[{") == brackets(b"]}")
}

/// Whether text is an object, or a list of objects: a stack may begin with `[unknown]` or `{closure}`.
fn is_json(text: &[u8]) -> bool {
    let next = |text: &[u8]| text[1..].trim_ascii_start().first().copied();
    match text.first() {
        Some(b'{') => matches!(next(text), Some(b'"' | b'}') | None),
        Some(b'[') => matches!(next(text), Some(b'{' | b'[' | b']' | b'"') | None),
        _ => false,
    }
}

fn json(bytes: &[u8], head: &[u8]) -> Result<Format, ProfileError> {
    let within = |text: &[u8], what: &str| memchr::memmem::find(text, what.as_bytes()).is_some();
    let has = |what: &str| within(bytes, what);
    if within(head, "speedscope") || (has("\"shared\"") && has("\"profiles\"")) {
        Ok(Format::Speedscope)
    } else if !within(head, "\"traceEvents\"") && has("\"threads\"") && has("\"stackTable\"") {
        Ok(Format::Firefox)
    } else if v8::is_one(bytes) {
        Ok(Format::V8)
    } else if within(head, "\"linux-perf-json-version\"") {
        Err(ProfileError::Unknown("perf.data as JSON; give perf.data itself, or the output of `perf script`"))
    } else {
        Err(ProfileError::Unknown(
            "JSON that is neither a Firefox nor a speedscope profile; if it is a trace, open it with `tikv-tui trace import FILE`",
        ))
    }
}

fn is_control(b: u8) -> bool {
    b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r')
}

fn has_controls(head: &[u8]) -> bool {
    head.iter().any(|b| is_control(*b))
}

/// Whether data is binary. Text may have some controls, as in names and logs, but not one in ten bytes; a
/// tiny file may have two.
fn is_binary(head: &[u8]) -> bool {
    head.iter().filter(|b| is_control(**b)).count() * 10 > head.len() + 16
}

/// Whether the bytes begin with fields of pprof's message `Profile`, up to the end of the file or of the
/// examined part.
fn is_pprof(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut fields = 0;
    while !rest.is_empty() && fields < 64 {
        match top_field(&mut rest) {
            Some(true) => fields += 1,
            // A truncated file ends within a field.
            Some(false) => return fields > 0,
            None => return fields >= 3,
        }
    }
    fields > 0
}

/// Skips one field. `None` if it is not a field of the message, `Some(false)` if it ends after the end of the
/// file.
fn top_field(rest: &mut &[u8]) -> Option<bool> {
    let key = decode_varint(rest).ok()?;
    let (number, wire) = (key >> 3, key & 7);
    match (number, wire) {
        // Times, the period, comments and the default type; comments may be packed.
        (7..=10 | 12 | 13 | 14 | 15, 0) => decode_varint(rest).ok().map(|_| true),
        (1..=6 | 11 | 13, 2) => {
            let len = usize::try_from(decode_varint(rest).ok()?).ok()?;
            let Some((body, after)) = rest.split_at_checked(len) else { return Some(false) };
            *rest = after;
            let ok = match number {
                1 | 11 => is_value_type(body),
                6 => std::str::from_utf8(body).is_ok(),
                _ => true,
            };
            ok.then_some(true)
        }
        _ => None,
    }
}

fn is_value_type(mut body: &[u8]) -> bool {
    while !body.is_empty() {
        let key = decode_varint(&mut body);
        if !matches!(key, Ok(8 | 16)) || decode_varint(&mut body).is_err() {
            return false;
        }
    }
    true
}
