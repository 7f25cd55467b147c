//! File formats of profiles: detection, readers and writers.
mod collapsed;
mod detect;
mod fail;
pub mod firefox;
mod fraction;
pub(crate) mod kind;
mod losses;
mod options;
pub mod perf_data;
mod perf_header;
pub mod perf_script;
pub mod pprof;
pub(crate) mod skipped;
pub mod speedscope;
pub mod v8;

use std::borrow::Cow;

use crate::{
    ProfileError, folded,
    model::{Profile, ValueType},
};

pub use detect::detect;
pub use kind::Format;
pub use options::ReadOptions;

/// Reads a profile of any format, detected by its content, compressed or not. perf.data has addresses only:
/// resolve them afterwards. Skipped data is reported in the profile's comments, with the words `left out`.
///
/// # Errors
/// [`ProfileError::Unknown`] for data that is not a profile; the reader's error if nothing can be read.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<(Format, Profile), ProfileError> {
    let plain = tracepoints_input::plain(bytes)?;
    let bytes = &plain.bytes;
    let format = detect(bytes)?;
    let mut profile = match format {
        Format::Folded => read_folded(bytes)?,
        Format::Pprof => pprof::read(bytes)?,
        Format::Firefox => firefox::read(bytes)?,
        Format::Speedscope => speedscope::read(bytes)?,
        Format::V8 => v8::read(bytes)?,
        Format::PerfScript => perf_script::read(bytes, options)?,
        Format::PerfData => perf_data::read(bytes, options)?,
        Format::Sample | Format::Dtrace | Format::Vtune => collapsed::read(format, bytes)?,
    };
    profile.comments.extend(plain.notes);
    let surplus = surplus(&profile);
    profile.comments.extend(surplus);
    Ok((format, profile))
}

/// Describes the kinds of value whose sum does not fit 63 bits: [`Profile::fold`] ends at that sum.
fn surplus(profile: &Profile) -> Vec<String> {
    let sum = |at: usize| -> i128 {
        let values = profile.samples().filter_map(|sample| sample.values.get(at).copied());
        values.map(|value| i128::from(value.max(0))).sum()
    };
    // The sum of equal samples ends at the maximum.
    let large = |(at, _): &(usize, &ValueType)| sum(*at) >= i128::from(i64::MAX);
    let kinds = profile.value_types().iter().enumerate().filter(large);
    let text = |of: &ValueType| {
        let kind = profile.text(of.kind);
        format!("the counts of {kind} add up to more than 63 bits: the surplus is left out")
    };
    kinds.map(|(_, of)| text(of)).collect()
}

/// Reads folded text with one or more columns.
fn read_folded(bytes: &[u8]) -> Result<Profile, ProfileError> {
    let text = String::from_utf8_lossy(bytes);
    let read = folded::lines(&text);
    if read.stacks.is_empty() {
        let error = read.skipped.error(Format::Folded, "line");
        return Err(error.unwrap_or(ProfileError::Empty("the file has comments only, and no stack")));
    }
    let mut profile = Profile::from_lines(&read);
    if matches!(text, Cow::Owned(_)) {
        profile.comments.push(
            "some names are not UTF-8: their invalid bytes are left out and shown as U+FFFD".to_owned(),
        );
    }
    profile.comments.extend(read.skipped.report("line"));
    if read.columns > 1 {
        let drawn = profile.text(profile.value_types()[profile.default_value].kind).to_owned();
        let what = format!(
            "each line has {} counts: all but {drawn} are left out; choose one with --value",
            read.columns
        );
        profile.comments.push(what);
    }
    Ok(profile)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::same;
