//! `find`: prints the records that [`crate::find`] found, as text or JSON.
use clap::Args;
use keys::{data_key, escape, hex_upper};
use serde_json::{Value, json};
use txn_types::WriteRef;

use super::open::open_offline;
use crate::{
    Error, Offline, Result,
    cli::Global,
    find::{Event, FindResult, HitPlace, Kind, ReadResult, RecordParts, Target, find, meaning, read_at},
    key::{self, KeyFormat, KeyUse, parse_key},
    print::output::Output,
    source::Source,
    tidb::{TableKey, row},
    timestamp,
};

/// A key, and the time of a read.
#[derive(Clone, Debug, Args)]
pub struct FindArgs {
    /// The key, in any form; see --key-format
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    key: String,
    /// Read at this timestamp; the newest if absent
    #[arg(long, value_name = "TS")]
    ts: Option<u64>,
}

/// Returns the user keys that the text may stand for.
fn targets(text: &str, format: KeyFormat) -> Result<Vec<Target>> {
    let mut user_keys: Vec<Vec<u8>> = match format {
        KeyFormat::Auto => key::readings(text).into_iter().map(|reading| reading.inner.user_key).collect(),
        KeyFormat::Raw => vec![text.as_bytes().to_vec()],
        _ => {
            let parsed = parse_key(text, format, KeyUse::Mvcc)?.key;
            vec![key::inner(&parsed).map_or(parsed, |inner| inner.user_key)]
        }
    };
    // `zraw` is also the RocksDB key of the raw key `raw`.
    let bare: Vec<Vec<u8>> = user_keys
        .iter()
        .filter_map(|key| key.strip_prefix(&[keys::DATA_PREFIX]).filter(|rest| !rest.is_empty()))
        .map(<[u8]>::to_vec)
        .collect();
    if format == KeyFormat::Auto {
        user_keys.extend(bare);
    }
    let mut unique: Vec<Target> = Vec::new();
    for user_key in user_keys {
        if !unique.iter().any(|target| target.user_key == user_key) {
            unique.push(Target::new(&user_key));
        }
    }
    Ok(unique)
}

/// Runs `find`.
pub fn run(args: &FindArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let FindArgs { key: text, ts } = args;
    if global.host.is_some() {
        return Err(Error::other(
            "find reads files: give --data-dir DIR (a server may run on it); use mvcc to ask a server",
        ));
    }
    let targets = targets(text, global.key_format)?;
    let store = open_offline(global, out)?;
    let (mut any, mut damages, mut objects) = (false, Vec::new(), Vec::new());
    for target in &targets {
        out.tick("possible keys");
        let found = find(&store, target)?;
        damages.extend(found.damages.iter().map(ToString::to_string));
        if found.events.is_empty() {
            continue;
        }
        let info = current(&store, target)?;
        let parts = |commit_ts| record_parts(&store, target, commit_ts);
        let read = info.as_ref().map(|info| read_at(info, ts.unwrap_or(u64::MAX), &parts));
        if out.is_json() {
            objects.push(found_json(target, &found, read.as_ref()));
        } else {
            if any {
                out.line("")?;
            }
            print(target, &found, read.as_ref(), &store, out)?;
        }
        any = true;
    }
    // The store's own texts for the same places say more.
    let reported = store.damages();
    damages.retain(|damage| !reported.iter().any(|text| text.contains(damage)));
    damages.extend(reported);
    damages.sort();
    damages.dedup();
    if out.is_json() {
        out.json(&objects)?;
    }
    damages.iter().for_each(|damage| out.note(&format!("warning: {damage}")));
    if !any {
        let forms: Vec<String> =
            targets.iter().map(|target| format!("\"{}\"", escape(&target.user_key))).collect();
        return Err(Error::other(format!(
            "expected records of {}, found none in the Raft log, the WAL or an SST (searched for the user key {}); \
             see --key-format",
            text,
            forms.join(" and ")
        )));
    }
    match damages.len() {
        0 => Ok(()),
        n => Err(Error::other(format!(
            "places that could not be read: {n} (see the warnings); records may be missing"
        ))),
    }
}

/// Returns the records as a read sees them.
fn current(store: &Offline, target: &Target) -> Result<Option<kvproto::kvrpcpb::MvccInfo>> {
    let from = data_key(&target.encoded);
    let mut to = from.clone();
    to.extend_from_slice(&[0xff; 9]);
    let mut found = None;
    let scanned = store.scan_mvcc(&from, &to, 1, &mut |_, info| {
        found = Some(std::mem::take(info));
        Ok(())
    });
    scanned.map_err(|e| e.into_error("Debugger::scan_mvcc"))?;
    Ok(found)
}

/// Reads the write record at `commit_ts`; it has no parts if it is missing or damaged.
fn record_parts(store: &Offline, target: &Target, commit_ts: u64) -> RecordParts {
    let mut key = data_key(&target.encoded);
    keys::codec::encode_u64_desc(&mut key, commit_ts);
    let record = store.kv().get("write", &key).ok().flatten();
    let write = record.as_deref().and_then(|record| WriteRef::parse(record).ok());
    write.map_or_else(RecordParts::default, |write| RecordParts {
        is_short: write.short_value.is_some(),
        gc_fence: write.gc_fence.map_or(0, |fence| fence.into_inner()),
    })
}

fn place_text(place: &HitPlace) -> String {
    let name = |path: &std::path::Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match place {
        HitPlace::RaftLog { region, term, index } => {
            format!("Raft log  region {region}, term {term}, index {index}")
        }
        HitPlace::Wal { path, offset, sequence } => {
            format!("WAL       {} at byte {offset}, sequence {sequence}", name(path))
        }
        HitPlace::Sst { path, level, sequence } => {
            format!("SST       L{level} {}, sequence {sequence}", name(path))
        }
        HitPlace::Blob { path, offset, size } => {
            format!("blob      {} at byte {offset}, {size} bytes", name(path))
        }
    }
}

fn print(
    target: &Target,
    found: &FindResult,
    read: Option<&ReadResult>,
    store: &Offline,
    out: &mut Output<'_>,
) -> Result<()> {
    let table = TableKey::decode(&target.user_key);
    let name = table.as_ref().map_or_else(|| escape(&target.user_key), ToString::to_string);
    out.line(format!("{name}  ({})", hex_upper(&target.user_key)))?;
    for event in &found.events {
        let hit = &event.hit;
        let when = match (hit.time, hit.cf.as_str(), hit.key_ts) {
            (Some(ts), "write", Some(_)) => format!("commit_ts {}", timestamp::text(ts)),
            (Some(ts), _, Some(_)) => format!("start_ts {}", timestamp::text(ts)),
            (Some(ts), "lock", None) if hit.kind == Kind::Put => format!("start_ts {}", timestamp::text(ts)),
            (Some(ts), ..) => format!("after {}", timestamp::text(ts)),
            (None, ..) => "at an unknown time".to_owned(),
        };
        out.line(format!("\n{:<8}{when}\n        {}", hit.cf, meaning(hit)))?;
        for line in value_lines(event, table.as_ref()) {
            out.line(format!("          {line}"))?;
        }
        event.places.iter().try_for_each(|place| out.line(format!("        in {}", place_text(place))))?;
    }
    if let Some(read) = read {
        print_read(read, out)?;
    } else {
        let raw = store.kv().get("default", &data_key(&target.user_key))?;
        let what = raw.map_or("removed".to_owned(), |value| format!("\"{}\"", escape(&value)));
        out.line(format!("\nThe key's value now: {what}"))?;
    }
    Ok(())
}

/// Returns the lines of the value that a record carries, decoded if it is a row.
fn value_lines(event: &Event, table: Option<&TableKey>) -> Vec<String> {
    let hit = &event.hit;
    let write = WriteRef::parse(&hit.value).ok().and_then(|write| write.short_value);
    let value = match (hit.kind, hit.cf.as_str()) {
        (Kind::Put, "default") => Some(hit.value.as_slice()),
        (Kind::Put, "write") => write,
        _ => None,
    };
    let Some(value) = value else { return Vec::new() };
    if let Some(row) = table.filter(|table| table.is_row()).and_then(|_| row::decode(value)) {
        return row.lines();
    }
    const SHOWN: usize = 64;
    let more = if value.len() > SHOWN { format!("... ({} bytes)", value.len()) } else { String::new() };
    vec![format!("\"{}\"{more}", escape(&value[..value.len().min(SHOWN)]))]
}

fn print_read(read: &ReadResult, out: &mut Output<'_>) -> Result<()> {
    let at = if read.ts == u64::MAX { "now".to_owned() } else { format!("at {}", timestamp::text(read.ts)) };
    let what = match (&read.lock, &read.returned) {
        (Some(_), _) => "waits for a lock".to_owned(),
        (None, Some((commit_ts, _))) => format!("returns the version committed at {commit_ts}"),
        (None, None) => "returns nothing".to_owned(),
    };
    out.line(format!("\nA read {at} {what}:"))?;
    if let Some(lock) = &read.lock {
        out.line(format!("  lock    {lock}"))?;
    }
    for version in &read.versions {
        out.line(format!("  {} {:?}: {}", version.commit_ts, version.op, version.why))?;
    }
    Ok(())
}

fn found_json(target: &Target, found: &FindResult, read: Option<&ReadResult>) -> Value {
    let events = found.events.iter().map(|event| {
        let hit = &event.hit;
        let table = TableKey::decode(&target.user_key).filter(TableKey::is_row);
        json!({
            "cf": hit.cf,
            "kind": format!("{:?}", hit.kind),
            "ts": hit.key_ts.map(timestamp::json),
            "time": hit.time.map(timestamp::json),
            "meaning": meaning(hit),
            "value": hex_upper(&hit.value),
            "row": table.filter(|_| hit.cf == "default").and_then(|_| row::decode(&hit.value)).map(|row| row.json()),
            "places": event.places.iter().map(place_json).collect::<Vec<_>>(),
        })
    });
    let read = read.map(|read| {
        json!({
            "ts": read.ts,
            "lock": read.lock,
            "returned_commit_ts": read.returned.as_ref().map(|(ts, _)| ts),
            "returned_value": read.returned.as_ref().and_then(|(_, value)| value.as_deref().map(hex_upper)),
            "versions": read.versions.iter().map(|version| json!({
                "commit_ts": version.commit_ts, "start_ts": version.start_ts,
                "type": format!("{:?}", version.op), "why": version.why,
            })).collect::<Vec<_>>(),
        })
    });
    json!({
        "user_key": escape(&target.user_key),
        "user_key_hex": hex_upper(&target.user_key),
        "tidb": TableKey::decode(&target.user_key).map(|key| key.json()),
        "events": events.collect::<Vec<_>>(),
        "read": read,
        "damages": found.damages.iter().map(crate::offline::damage::json).collect::<Vec<_>>(),
    })
}

fn place_json(place: &HitPlace) -> Value {
    match place {
        HitPlace::RaftLog { region, term, index } => {
            json!({ "in": "raft_log", "region_id": region, "term": term, "index": index })
        }
        HitPlace::Wal { path, offset, sequence } => {
            json!({ "in": "wal", "file": path.display().to_string(), "offset": offset, "sequence": sequence })
        }
        HitPlace::Sst { path, level, sequence } => {
            json!({ "in": "sst", "file": path.display().to_string(), "level": level, "sequence": sequence })
        }
        HitPlace::Blob { path, offset, size } => {
            json!({ "in": "blob", "file": path.display().to_string(), "offset": offset, "size": size })
        }
    }
}
