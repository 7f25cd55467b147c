//! Forms of the output: a picture, or a profile for another tool.
use std::borrow::Cow;

use tracepoints_profile::{
    FlameOptions, Profile as Stacks,
    flame::{self, Measure},
    format::{firefox, pprof, speedscope},
};

use super::{input, profile::Profile};
use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    // A picture that zooms and searches in a browser
    Svg,
    // Folded stacks, `frame;frame COUNT`
    Folded,
    // For `go tool pprof`: protobuf in gzip, with labels
    Pprof,
    // For profiler.firefox.com
    Firefox,
    // For speedscope.app
    Speedscope,
}

impl Form {
    /// Renders the profile in this form.
    pub(super) fn render(self, profile: &Profile, value: Option<&str>) -> Result<Vec<u8>> {
        let (stacks, title) = (stacks(profile), &profile.title);
        let value = input::value(&stacks, value)?;
        Ok(match self {
            Self::Svg => {
                let options = FlameOptions {
                    measure: profile.measure,
                    subtitle: Some(profile.subtitle.clone()),
                    in_time: profile.in_time.is_some(),
                    ..FlameOptions::default()
                };
                let svg = match &profile.in_time {
                    Some(lines) => flame::svg(lines, title, &options),
                    None => flame::svg_of(&profile.folded, title, &options),
                };
                svg.map_err(|e| Error::other(format!("flamegraph: {e}")))?.into_bytes()
            }
            Self::Folded => profile.folded.to_string().into_bytes(),
            Self::Pprof => pprof::write_gzip(&stacks),
            Self::Firefox => firefox::write(&stacks, value, title).into_bytes(),
            Self::Speedscope => speedscope::write(&stacks, value, title).into_bytes(),
        })
    }
}

/// Returns the profile's complete stacks; for wall clock, stacks of names and times.
fn stacks(profile: &Profile) -> Cow<'_, Stacks> {
    match &profile.stacks {
        Some(stacks) => Cow::Borrowed(stacks),
        None => {
            let (kind, unit) = match profile.measure {
                Measure::Samples => ("samples", "count"),
                Measure::Bytes => ("space", "bytes"),
                Measure::Nanoseconds => ("wall", "nanoseconds"),
                Measure::CpuTime => ("cpu", "nanoseconds"),
            };
            Cow::Owned(Stacks::from_folded(&profile.folded, kind, unit))
        }
    }
}
