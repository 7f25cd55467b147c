//! `diff`: compares one region in two stores.
use std::{cmp::Ordering, path::PathBuf};

use clap::Args;
use keys::escape;
use kvproto::kvrpcpb::MvccInfo;
use prost::Message;
use serde_json::{Value, json};

use super::open::{open_source, report_damages};
use crate::{
    Error, Result,
    cli::Global,
    print::output::Output,
    source::{RegionInfo, Source},
    text::message_text,
};

/// Number of rows of each store that one call reads.
const PAGE: u64 = 256;

/// A region, and the other store.
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The target region id
    #[arg(short = 'r', value_name = "REGION")]
    region: u64,
    /// Data directory of the other store
    #[arg(long, value_name = "DIR", required_unless_present = "to_host")]
    to_data_dir: Option<PathBuf>,
    /// Config file of the other store
    #[arg(long, value_name = "FILE")]
    to_config: Option<PathBuf>,
    /// gRPC address of the other store
    #[arg(long, value_name = "ADDR", conflicts_with = "to_data_dir")]
    to_host: Option<String>,
}

/// Runs `diff`.
pub fn run(args: &DiffArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (data_dir, config) = (args.to_data_dir.clone(), args.to_config.clone());
    let other = Global { data_dir, config, host: args.to_host.clone(), ..global.clone() };
    let (Some(ours), Some(theirs)) = (open_source(global, out)?, open_source(&other, out)?) else {
        return Err(Error::other("[host|data-dir] is not specified: give --data-dir DIR or --host ADDR"));
    };
    let done = compare(args.region, &*ours, &*theirs, out);
    let done = report_damages(&*ours, done, out);
    report_damages(&*theirs, done, out)
}

/// Walks a store's MVCC records page by page.
struct Rows<'a> {
    source: &'a dyn Source,
    next: Option<Vec<u8>>,
    to: Vec<u8>,
    page: std::collections::VecDeque<(Vec<u8>, MvccInfo)>,
    count: u64,
}

impl<'a> Rows<'a> {
    fn new(source: &'a dyn Source, (from, to): (&[u8], &[u8])) -> Rows<'a> {
        Rows { source, next: Some(from.to_vec()), to: to.to_vec(), page: Default::default(), count: 0 }
    }

    /// Returns the next row of database `number`.
    fn peek(&mut self, number: u32, region: u64) -> Result<Option<&(Vec<u8>, MvccInfo)>> {
        if let (true, Some(from)) = (self.page.is_empty(), self.next.take()) {
            let page = &mut self.page;
            let scanned = self.source.scan_mvcc(&from, &self.to, PAGE, &mut |key, info| {
                page.push_back((key.to_vec(), std::mem::take(info)));
                Ok(())
            });
            scanned.map_err(|e| {
                e.into_error_with(|e| format!("db{number} scan data in region {region} fail: {e}"))
            })?;
            if self.page.len() as u64 == PAGE {
                self.next = self.page.back().map(|(key, _)| keys::next_key(key));
            }
        }
        Ok(self.page.front())
    }

    fn take(&mut self) {
        self.count += 1;
        self.page.pop_front();
    }
}

/// Formats the states of a region as Rust shows an optional message.
fn state_texts(info: &RegionInfo) -> Result<[String; 2]> {
    let text = |name, bytes: Option<Vec<u8>>| match bytes {
        Some(bytes) => message_text(name, &bytes).map(|text| format!("Some({text})")),
        None => Ok("None".to_owned()),
    };
    let region = info.region_local_state.as_ref().map(Message::encode_to_vec);
    let apply = info.raft_apply_state.as_ref().map(Message::encode_to_vec);
    Ok([text("raft_serverpb.RegionLocalState", region)?, text("raft_serverpb.RaftApplyState", apply)?])
}

/// Prints the differences of the region. As with TiKV's tool, the exit code is 0 even if there are some.
fn compare(region: u64, ours: &dyn Source, theirs: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let info = |source: &dyn Source| {
        source.region_info(region).map_err(|e| e.into_error(&format!("{}::region_info", source.executor())))
    };
    let (one, two) = (info(ours)?, info(theirs)?);
    let mut report = Report::new(region, out);
    let (texts_one, texts_two) = (state_texts(&one)?, state_texts(&two)?);
    report.line(|| format!("region id: {region}"))?;
    for (what, at) in [("region", 0), ("apply", 1)] {
        report.line(|| format!("db1 {what} state: {}", texts_one[at]))?;
        report.line(|| format!("db2 {what} state: {}", texts_two[at]))?;
    }
    let (a, b) = match (one.region_local_state, two.region_local_state) {
        (Some(a), Some(b)) => (a.region.unwrap_or_default(), b.region.unwrap_or_default()),
        (None, None) => return report.end(None),
        _ => {
            report.line(|| "db1 and db2 don't have same region local_state".to_owned())?;
            return report.end(None);
        }
    };
    if a != b {
        report.line(|| "db1 and db2 have different region:".to_owned())?;
        for (db, region) in [("db1", &a), ("db2", &b)] {
            let text = message_text("metapb.Region", &region.encode_to_vec())?;
            report.line(|| format!("{db} region: {text}"))?;
        }
        return report.end(None);
    }
    let range = (keys::enc_start_key(&a), keys::enc_end_key(&a));
    let mut rows = (Rows::new(ours, (&range.0, &range.1)), Rows::new(theirs, (&range.0, &range.1)));
    while report.compare(&mut rows)? {}
    report.end(Some((rows.0.count, rows.1.count)))
}

/// Prints each difference at once, or all of them as JSON at the end.
struct Report<'a, 'b> {
    region: u64,
    out: &'a mut Output<'b>,
    found: Vec<Value>,
    any: bool,
}

impl<'a, 'b> Report<'a, 'b> {
    fn new(region: u64, out: &'a mut Output<'b>) -> Self {
        Report { region, out, found: Vec::new(), any: false }
    }

    fn line(&mut self, text: impl FnOnce() -> String) -> Result<()> {
        if self.out.is_json() { Ok(()) } else { self.out.line(text()) }
    }

    fn differs(&mut self, what: &str, text: &str, key: &[u8]) -> Result<()> {
        self.any = true;
        if self.out.is_json() {
            self.found.push(json!({ "difference": what, "key": escape(key) }));
            return Ok(());
        }
        self.out.line(format!("{text}: {}", escape(key)))
    }

    /// Compares the next rows; returns `false` at the end of both stores.
    fn compare(&mut self, (one, two): &mut (Rows<'_>, Rows<'_>)) -> Result<bool> {
        self.out.tick("keys");
        let (a, b) = (one.peek(1, self.region)?, two.peek(2, self.region)?);
        let order = match (a, b) {
            (None, None) => return Ok(false),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.0.cmp(&b.0),
        };
        match (order, a, b) {
            (Ordering::Less, Some(a), _) => self.differs("only_db1", "only db1 has", &a.0)?,
            (Ordering::Greater, _, Some(b)) => self.differs("only_db2", "only db2 has", &b.0)?,
            (_, Some(a), Some(b)) if a.1 != b.1 => self.differs("mvcc", "diff mvcc on key", &a.0)?,
            _ => {}
        }
        if order.is_le() {
            one.take();
        }
        if order.is_ge() {
            two.take();
        }
        Ok(true)
    }

    fn end(self, counts: Option<(u64, u64)>) -> Result<()> {
        if self.out.is_json() {
            return self.out.json(&json!({
                "region_id": self.region, "comparable": counts.is_some(), "differences": self.found,
                "db1_keys": counts.map(|c| c.0), "db2_keys": counts.map(|c| c.1),
            }));
        }
        let Some((one, two)) = counts else { return Ok(()) };
        if !self.any {
            self.out.line(format!("db1 and db2 have same data in region: {}", self.region))?;
        }
        self.out.line(format!("db1 has {one} keys, db2 has {two} keys"))
    }
}
