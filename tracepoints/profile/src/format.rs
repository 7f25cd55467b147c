//! The forms in which profiles are kept: which one a file has, readers and writers for each.
pub mod firefox;
mod losses;
pub mod perf_data;
mod perf_header;
pub mod perf_script;
pub mod pprof;
pub mod speedscope;
pub mod v8;

use std::{borrow::Cow, fmt};

use crate::{Folded, ProfileError, model::Profile};

/// A form of profile that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Gzip,
    Folded,
    Pprof,
    Firefox,
    Speedscope,
    V8,
    PerfScript,
    PerfData,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip file",
            Self::Folded => "folded stacks",
            Self::Pprof => "pprof profile",
            Self::Firefox => "Firefox profile",
            Self::Speedscope => "speedscope profile",
            Self::V8 => "profile of V8 (Chrome, Node)",
            Self::PerfScript => "output of perf script",
            Self::PerfData => "perf.data file",
        })
    }
}

/// How to read what may be read in more than one way.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// perf: which event, if there are several; the first one that is met if None.
    pub event: Option<String>,
    /// perf: every sample for itself with its time, so that a timeline can be drawn; takes more memory.
    pub times: bool,
}

/// Reads a profile of any form, told by its content. perf.data has addresses only: resolve them afterwards.
///
/// # Errors
/// What the reader of its form says; [`ProfileError::Unknown`] for what is no profile.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<(Format, Profile), ProfileError> {
    let mut bytes = Cow::Borrowed(bytes);
    if bytes.starts_with(b"\x1f\x8b") {
        bytes = Cow::Owned(pprof::unzip(&bytes)?);
    }
    let format = detect(&bytes)?;
    let profile = match format {
        Format::Gzip => return Err(ProfileError::Unknown("a gzip file in a gzip file; unpack it first")),
        Format::Folded => Profile::from_folded(&Folded::parse(&text(&bytes)?)?, "samples", "count"),
        Format::Pprof => pprof::read(&bytes)?,
        Format::Firefox => firefox::read(&bytes)?,
        Format::Speedscope => speedscope::read(&bytes)?,
        Format::V8 => v8::read(&bytes)?,
        Format::PerfScript => perf_script::read(&bytes, options)?,
        Format::PerfData => perf_data::read(&bytes, options)?,
    };
    Ok((format, profile))
}

/// Tells the form by the content.
///
/// # Errors
/// [`ProfileError::Unknown`], which says what it is instead where that is known.
pub fn detect(bytes: &[u8]) -> Result<Format, ProfileError> {
    let head = &bytes[..bytes.len().min(64 << 10)];
    let begins = head.trim_ascii_start();
    let has = |what: &str| memchr::memmem::find(head, what.as_bytes()).is_some();
    if begins.is_empty() {
        return Err(ProfileError::Empty("the file is empty; was it written to its end?"));
    }
    if begins.starts_with(b"\x1f\x8b") {
        return Ok(Format::Gzip);
    }
    if begins.starts_with(b"PERFILE2") || begins.starts_with(b"2ELIFREP") {
        return Ok(Format::PerfData);
    }
    if begins.starts_with(b"<") {
        return Err(ProfileError::Unknown(
            "a picture or a page; a profile is wanted, not what was drawn of it",
        ));
    }
    if begins.starts_with(b"\x7fELF") {
        return Err(ProfileError::Unknown("a program; give it as --binary, beside the profile"));
    }
    if begins.starts_with(b"{") || begins.starts_with(b"[") {
        return json(bytes, has("speedscope"), has("\"traceEvents\""));
    }
    if is_text(head) {
        return Ok(if perf_script::is_one(head) { Format::PerfScript } else { Format::Folded });
    }
    Ok(Format::Pprof)
}

fn json(bytes: &[u8], speedscope: bool, chrome: bool) -> Result<Format, ProfileError> {
    let has = |what: &str| memchr::memmem::find(bytes, what.as_bytes()).is_some();
    if speedscope || (has("\"shared\"") && has("\"profiles\"")) {
        Ok(Format::Speedscope)
    } else if !chrome && has("\"threads\"") && has("\"stackTable\"") {
        Ok(Format::Firefox)
    } else if v8::is_one(bytes) {
        Ok(Format::V8)
    } else {
        Err(ProfileError::Unknown("JSON, but neither a Firefox nor a speedscope profile; is it a trace?"))
    }
}

/// No control characters that text does not have; a sequence cut at the end counts as text.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none(),
    };
    // A symbol may hold any byte, so perf's text is told by its lines alone.
    let controls = head.iter().filter(|b| **b < b' ' && !matches!(b, b'\n' | b'\r' | b'\t')).count();
    controls == 0 && (valid || perf_script::is_one(head))
}

/// The text of a file that must be one.
pub(crate) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, ProfileError> {
    std::str::from_utf8(bytes)
        .map(Cow::Borrowed)
        .map_err(|e| fail(Format::Folded, format!("byte {}", e.valid_up_to()), "it is not UTF-8 text"))
}

pub(crate) fn fail(format: Format, at: impl Into<String>, what: impl ToString) -> ProfileError {
    ProfileError::Format { format, at: at.into(), what: what.to_string() }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::same;
