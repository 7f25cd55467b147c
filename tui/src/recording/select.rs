//! Converts the filters of the command line to a query.
use anyhow::{Context as _, Result};
use tracepoints::trace_file::{Query, TraceFile};

use super::times;
use crate::{
    arguments::{kind, parse_key, stage},
    cli::FilterArgs,
};

/// Parses the filters. Times of day and `+DURATION` are relative to the start of `file`.
pub fn query(wanted: &FilterArgs, file: &TraceFile) -> Result<Query> {
    let begin = file.span().map_or(0, |(begin, _)| begin);
    let time = |flag: &str, text: &Option<String>| {
        text.as_deref().map(|t| times::when(t, begin).with_context(|| flag.to_owned())).transpose()
    };
    let min_ns = wanted.min_duration.as_deref().map(|t| times::duration(t).context("--min-duration"));
    Ok(Query {
        request: wanted.request,
        kinds: wanted.kinds.iter().map(|k| kind("--kind", k)).collect::<Result<_>>()?,
        region: wanted.region,
        store: wanted.store,
        key: wanted.key.as_deref().map(|k| parse_key("--key", k)).transpose()?,
        key_prefix: wanted
            .prefix
            .as_deref()
            .map(|k| parse_key("--prefix", k))
            .transpose()?
            .unwrap_or_default(),
        stages: wanted.stages.iter().map(|s| Ok(stage("--stage", s)?.id)).collect::<Result<_>>()?,
        min_ns: min_ns.transpose()?.unwrap_or_default(),
        since_ns: time("--since", &wanted.since)?,
        until_ns: time("--until", &wanted.until)?,
    })
}
