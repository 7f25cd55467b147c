//! `bad-ssts` and `dump-snap-meta`.

use std::path::Path;

use keys::{escape, hex_upper};
use kvproto::{metapb::Region, raft_serverpb::SnapshotMeta};
use prost::Message;
use serde_json::json;

use crate::{
    Error, Offline, Result,
    lsm::{SstFile, read_whole},
    output::Output,
    source::Source,
};

/// `dump-snap-meta`: what a snapshot's `.meta` file says of its files.
pub fn snap_meta(path: &Path, out: &mut Output<'_>) -> Result<()> {
    let bytes = read_whole(path)?;
    let meta = SnapshotMeta::decode(bytes.as_slice()).map_err(|e| {
        let what = "expected the SnapshotMeta of a .meta file in snap/, which does not decode";
        Error::other(format!("{}: {what}: {e}", path.display()))
    })?;
    if meta.cf_files.is_empty() {
        return Err(Error::other(format!(
            "{}: expected a snapshot's .meta file, which names its files; this one names none",
            path.display()
        )));
    }
    let rows = meta.cf_files.iter().map(|file| (file.cf.clone(), file.size, file.checksum));
    if out.is_json() {
        let list = rows.map(|(cf, size, checksum)| json!({ "cf": cf, "size": size, "checksum": checksum }));
        return out.json(&list.collect::<Vec<_>>());
    }
    rows.map(|(cf, size, checksum)| format!("cf {cf}, size {size}, checksum: {checksum}"))
        .try_for_each(|line| out.line(line))
}

/// Reads every entry of a file; what is wrong with it.
fn verify(file: &SstFile) -> std::result::Result<(), crate::lsm::Error> {
    let table = file.table()?;
    let index = table.index()?;
    // What could be read around is damage all the same.
    if let Some(e) = table.damages().iter().chain(index.damages()).next() {
        return Err(e.clone());
    }
    table.range_deletions()?;
    let mut iter = table.iter()?;
    while iter.advance()? {}
    Ok(())
}

/// `bad-ssts`: SSTs that do not read, what they held, and what to do.
pub fn bad_ssts(store: &Offline, out: &mut Output<'_>) -> Result<()> {
    let mut regions = Vec::new();
    for id in store.all_regions().map_err(|e| e.of("Debugger::get_all_regions_in_store"))? {
        let info = store.region_info(id).map_err(|e| e.of("Debugger::region_info"))?;
        regions.extend(info.region_local_state.and_then(|state| state.region));
    }
    let (mut bad, mut objects) = (0, Vec::new());
    for family in store.kv().families() {
        for file in family.files() {
            out.tick("SSTs");
            let Err(error) = verify(file) else { continue };
            bad += 1;
            let hit: Vec<&Region> = regions.iter().filter(|region| overlaps(file, region)).collect();
            if out.is_json() {
                objects.push(json!({
                    "file": file.path(), "cf": family.name(), "level": file.level(), "error": error.to_string(),
                    "smallest": hex_upper(file.smallest()), "largest": hex_upper(file.largest()),
                    "regions": hit.iter().map(|region| region.id).collect::<Vec<_>>(),
                }));
                continue;
            }
            print(store, family.name(), file, &error, &hit, out)?;
        }
    }
    if out.is_json() {
        out.json(&objects)?;
    } else {
        out.line("corruption analysis has completed")?;
    }
    match bad {
        0 => Ok(()),
        n => Err(Error::other(format!("{n} SSTs are damaged"))),
    }
}

fn overlaps(file: &SstFile, region: &Region) -> bool {
    let (start, end) = (keys::enc_start_key(region), keys::enc_end_key(region));
    file.overlaps(&start, &end)
}

fn print(
    store: &Offline,
    cf: &str,
    file: &SstFile,
    error: &crate::lsm::Error,
    regions: &[&Region],
    out: &mut Output<'_>,
) -> Result<()> {
    let name = file.path().file_name().unwrap_or_default().to_string_lossy();
    let number = name.trim_end_matches(".sst").trim_start_matches('0');
    out.line("--------------------------------------------------------")?;
    out.line(format!("corruption info:\n{error}\n\nsst meta:"))?;
    out.line(format!(
        "{name}, CF {cf}, level {}, smallest {} ({}), largest {} ({})\n\noverlap region:",
        file.level(),
        escape(file.smallest()),
        hex_upper(file.smallest()),
        escape(file.largest()),
        hex_upper(file.largest())
    ))?;
    for region in regions {
        let (start, end) = (hex_upper(&region.start_key), hex_upper(&region.end_key));
        out.line(format!("region {}, [{start}, {end})", region.id))?;
    }
    let ids: Vec<String> = regions.iter().map(|region| region.id.to_string()).collect();
    let db = store.kv().dir().display();
    out.line(format!("\nrefer operations:\nldb --db={db} unsafe_remove_sst_file {number}"))?;
    if !ids.is_empty() {
        let dir = store.kv().dir().parent().unwrap_or(Path::new("")).display();
        out.line(format!("tikv-ctl --data-dir {dir} tombstone -r {} -p PD_ADDR", ids.join(",")))?;
    }
    Ok(())
}
