//! `lsm`: prints the levels of each column family: files, bounds, overlaps, region borders.
use std::path::Path;

use kvproto::{metapb::Region, raft_serverpb::RegionLocalState};
use prost::Message;
use serde_json::{Value, json};

use super::{
    lsm_levels::{Family, Row, bounds, readable},
    lsm_svg,
    paths::{check_exists, part_of, wal_dir},
};
use crate::{
    Error, Result,
    cli::Global,
    commands::data::{convert_gbmb, key_json},
    encryption::Keyring,
    lsm::{ColumnFamily, Db, SstFile, options},
    offline::damage::texts,
    print::output::Output,
};

pub fn run(
    path: &Path,
    svg: Option<&Path>,
    keyring: &Keyring,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<()> {
    check_exists(path, "a RocksDB directory or a data directory")?;
    let db = open_db(&part_of(path, "db"), false, keyring, global, out)?;
    let regions = regions(&db);
    let families: Vec<Family<'_>> = db.families().map(|family| rows(&db, family, &regions)).collect();
    if let Some(path) = svg {
        let drawn = lsm_svg::draw(&families, &regions);
        std::fs::write(path, drawn).map_err(|e| Error::other(format!("--svg {}: {e}", path.display())))?;
        out.note(&format!("wrote the picture to {}", path.display()));
    }
    if out.is_json() {
        out.json(&as_json(&families, &regions))?;
    } else {
        families.iter().try_for_each(|family| print(family, out))?;
        print_regions(&regions, out)?;
    }
    report_damages(&db, out)
}

/// Opens a RocksDB directory. Its logs are where the configuration or, with `by_options`, the OPTIONS file
/// puts them. Reports problems that are no damage.
pub(in crate::commands) fn open_db(
    dir: &Path,
    by_options: bool,
    keyring: &Keyring,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<Db> {
    let mut wal_dir = wal_dir(dir, global)?;
    if by_options && wal_dir.is_none() {
        wal_dir = options::wal_dir(dir, keyring);
        if let Some(missing) = wal_dir.take_if(|named| !named.is_dir()) {
            out.note(&format!(
                "warning: {}, the wal_dir of the OPTIONS file, does not exist: reading logs from {}",
                missing.display(),
                dir.display()
            ));
        }
    }
    let db = Db::open(dir, wal_dir.as_deref(), keyring)?;
    db.warnings().iter().for_each(|warning| out.note(&format!("warning: {warning}")));
    Ok(db)
}

/// Reports data of `db` that could not be read; fails if there was any.
pub(in crate::commands) fn report_damages(db: &Db, out: &mut Output<'_>) -> Result<()> {
    let found = db.damages();
    if found.is_empty() {
        return Ok(());
    }
    let texts = texts(&found, &regions(db));
    texts.iter().for_each(|damage| out.note(damage));
    Err(Error::Damaged(texts.len()))
}

/// Returns the regions of the store by start key; none if the database is a tablet.
fn regions(db: &Db) -> Vec<Region> {
    let mut regions = Vec::new();
    let Ok(mut iter) = db.scan("raft", keys::REGION_META_MIN_KEY, keys::REGION_META_MAX_KEY) else {
        return regions;
    };
    while let Ok(true) = iter.advance() {
        let state = RegionLocalState::decode(iter.value()).ok().filter(|state| {
            keys::decode_region_meta_key(iter.key()).is_ok()
                && state.state() != kvproto::raft_serverpb::PeerState::Tombstone
        });
        regions.extend(state.and_then(|state| state.region));
    }
    regions.sort_by(|a, b| a.start_key.cmp(&b.start_key));
    regions
}

fn shares(a: &SstFile, b: &SstFile) -> bool {
    a.smallest() <= b.largest() && b.smallest() <= a.largest()
}

fn rows<'a>(db: &Db, family: &'a ColumnFamily, regions: &[Region]) -> Family<'a> {
    let files = family.files();
    let on = |level: u32| files.iter().filter(move |file| file.level() == level);
    let next = |level: u32| files.iter().map(|file| file.level()).filter(|other| *other > level).min();
    let row = |file: &'a SstFile| Row {
        file,
        entries: db.table(family.name(), file).map_or(0, |table| table.properties().num_entries()),
        same_level: on(file.level()).filter(|other| shares(file, other)).count().saturating_sub(1),
        below: next(file.level()).map_or(0, |level| on(level).filter(|other| shares(file, other)).count()),
        regions: regions
            .iter()
            .filter(|region| {
                let (start, end) = bounds(region);
                file.largest() >= start.as_slice() && file.smallest() < end.as_slice()
            })
            .map(|region| region.id)
            .collect(),
    };
    Family {
        name: family.name(),
        unflushed: family.unflushed().count(),
        rows: files.iter().map(|file| row(file)).collect(),
    }
}

fn levels<'a, 'b>(family: &'b Family<'a>) -> impl Iterator<Item = (u32, Vec<&'b Row<'a>>)> {
    let mut levels: Vec<(u32, Vec<&Row<'_>>)> = Vec::new();
    for row in &family.rows {
        match levels.last_mut() {
            Some((level, rows)) if *level == row.file.level() => rows.push(row),
            _ => levels.push((row.file.level(), vec![row])),
        }
    }
    levels.into_iter()
}

fn size(row: &Row<'_>) -> u64 {
    // Without a MANIFEST, the size is that of the file.
    row.file.meta().size
}

fn print(family: &Family<'_>, out: &mut Output<'_>) -> Result<()> {
    let bytes: u64 = family.rows.iter().map(size).sum();
    out.line(format!(
        "CF {}: {} files, {}, {} entries only in the WAL",
        family.name,
        family.rows.len(),
        convert_gbmb(bytes),
        family.unflushed
    ))?;
    for (level, rows) in levels(family) {
        let bytes: u64 = rows.iter().map(|row| size(row)).sum();
        out.line(format!("  level {level}: {} files, {}", rows.len(), convert_gbmb(bytes)))?;
        for row in rows {
            let name = row.file.path().file_name().unwrap_or_default().display();
            let regions: Vec<String> = row.regions.iter().take(8).map(u64::to_string).collect();
            let more = if row.regions.len() > 8 { ".." } else { "" };
            let same_level = if row.same_level > 0 {
                format!(", overlaps {} on this level", row.same_level)
            } else {
                String::new()
            };
            let below = if row.below > 0 { format!(", {} below", row.below) } else { String::new() };
            let of = if regions.is_empty() {
                String::new()
            } else {
                format!(", regions {}{more}", regions.join(","))
            };
            out.line(format!(
                "    {name} {} {} entries, {} .. {}{of}{same_level}{below}",
                convert_gbmb(size(row)),
                row.entries,
                readable(row.file.smallest()),
                readable(row.file.largest())
            ))?;
        }
    }
    Ok(())
}

fn print_regions(regions: &[Region], out: &mut Output<'_>) -> Result<()> {
    for region in regions {
        let (start, end) = bounds(region);
        out.line(format!("region {}: {} .. {}", region.id, readable(&start), readable(&end)))?;
    }
    Ok(())
}

fn as_json(families: &[Family<'_>], regions: &[Region]) -> Value {
    let of_row = |row: &Row<'_>| {
        json!({
            "file": row.file.path().display().to_string(), "level": row.file.level(), "size": size(row),
            "entries": row.entries, "smallest": key_json(row.file.smallest()), "largest": key_json(row.file.largest()),
            "regions": row.regions, "overlaps_beside": row.same_level, "overlaps_below": row.below,
        })
    };
    let families: Vec<Value> = families
        .iter()
        .map(|family| {
            let rows: Vec<Value> = family.rows.iter().map(of_row).collect();
            json!({ "cf": family.name, "unflushed_entries": family.unflushed, "files": rows })
        })
        .collect();
    let regions: Vec<Value> = regions
        .iter()
        .map(|region| {
            let (start, end) = bounds(region);
            json!({ "region": region.id, "start": key_json(&start), "end": key_json(&end) })
        })
        .collect();
    json!({ "cfs": families, "regions": regions })
}
