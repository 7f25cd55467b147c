//! `diff`: one region in two stores.

use keys::escape;
use kvproto::kvrpcpb::MvccInfo;
use prost::Message;
use serde_json::json;

use crate::{
    Error, Result,
    output::Output,
    source::{RegionInfo, Source},
    text::message_text,
};

/// Rows of both stores are compared this many at a time.
const PAGE: u64 = 256;

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

    fn peek(&mut self) -> Result<Option<&(Vec<u8>, MvccInfo)>> {
        if let (true, Some(from)) = (self.page.is_empty(), self.next.take()) {
            let page = &mut self.page;
            let scanned = self.source.scan_mvcc(&from, &self.to, PAGE, &mut |key, info| {
                page.push_back((key.to_vec(), std::mem::take(info)));
                Ok(())
            });
            scanned.map_err(|e| e.of(&format!("{}::scan_mvcc", self.source.executor())))?;
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

fn state_text(info: &RegionInfo) -> Result<(String, String)> {
    let region = info.region_local_state.as_ref();
    let region = region.map(|s| message_text("raft_serverpb.RegionLocalState", &s.encode_to_vec()));
    let apply = info.raft_apply_state.as_ref();
    let apply = apply.map(|s| message_text("raft_serverpb.RaftApplyState", &s.encode_to_vec()));
    Ok((region.transpose()?.unwrap_or("None".to_owned()), apply.transpose()?.unwrap_or("None".to_owned())))
}

/// Prints where the region differs. The exit code tells nothing of it, as with TiKV's tool.
pub fn run(region: u64, ours: &dyn Source, theirs: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let info = |source: &dyn Source| {
        source.region_info(region).map_err(|e| e.of(&format!("{}::region_info", source.executor())))
    };
    let (one, two) = (info(ours)?, info(theirs)?);
    let (texts_one, texts_two) = (state_text(&one)?, state_text(&two)?);
    let mut lines = vec![
        format!("region id: {region}"),
        format!("db1 region state: {}", texts_one.0),
        format!("db2 region state: {}", texts_two.0),
        format!("db1 apply state: {}", texts_one.1),
        format!("db2 apply state: {}", texts_two.1),
    ];
    let of = |info: &RegionInfo| info.region_local_state.as_ref().and_then(|state| state.region.clone());
    let (Some(a), Some(b)) = (of(&one), of(&two)) else {
        return Err(Error::Tikv(lines.join("\n") + "\nthe region is not on both stores"));
    };
    let range = (keys::enc_start_key(&a), keys::enc_end_key(&a));
    if (a.start_key != b.start_key) || (a.end_key != b.end_key) || a.region_epoch != b.region_epoch {
        lines.push(format!("db1 region: {}", message_text("metapb.Region", &a.encode_to_vec())?));
        lines.push(format!("db2 region: {}", message_text("metapb.Region", &b.encode_to_vec())?));
        return finish(region, lines, &[], None, out);
    }
    let mut rows = (Rows::new(ours, (&range.0, &range.1)), Rows::new(theirs, (&range.0, &range.1)));
    let mut differences = Vec::new();
    loop {
        out.tick("keys");
        let order = match (rows.0.peek()?, rows.1.peek()?) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.0.cmp(&b.0),
        };
        let key = |row: Option<&(Vec<u8>, MvccInfo)>| row.map(|(key, _)| escape(key)).unwrap_or_default();
        match order {
            std::cmp::Ordering::Less => {
                differences.push(("only_db1", key(rows.0.peek()?)));
                rows.0.take();
            }
            std::cmp::Ordering::Greater => {
                differences.push(("only_db2", key(rows.1.peek()?)));
                rows.1.take();
            }
            std::cmp::Ordering::Equal => {
                if rows.0.peek()?.map(|row| row.1.clone()) != rows.1.peek()?.map(|row| row.1.clone()) {
                    differences.push(("mvcc", key(rows.0.peek()?)));
                }
                rows.0.take();
                rows.1.take();
            }
        }
    }
    finish(region, lines, &differences, Some((rows.0.count, rows.1.count)), out)
}

fn finish(
    region: u64,
    mut lines: Vec<String>,
    differences: &[(&str, String)],
    counts: Option<(u64, u64)>,
    out: &mut Output<'_>,
) -> Result<()> {
    if out.is_json() {
        let list = differences.iter().map(|(what, key)| json!({ "difference": what, "key": key }));
        return out.json(&json!({
            "region_id": region, "comparable": counts.is_some(), "differences": list.collect::<Vec<_>>(),
            "db1_keys": counts.map(|c| c.0), "db2_keys": counts.map(|c| c.1),
        }));
    }
    lines.extend(differences.iter().map(|(what, key)| match *what {
        "only_db1" => format!("only db1 has: {key}"),
        "only_db2" => format!("only db2 has: {key}"),
        _ => format!("diff mvcc on key: {key}"),
    }));
    if let Some((one, two)) = counts {
        if differences.is_empty() {
            lines.push(format!("db1 and db2 have same data in region: {region}"));
        }
        lines.push(format!("db1 has {one} keys, db2 has {two} keys"));
    }
    lines.iter().try_for_each(|line| out.line(line))
}
