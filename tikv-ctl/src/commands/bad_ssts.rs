//! `bad-ssts`: finds damaged SSTs.
use std::path::{Path, PathBuf};

use clap::Args;
use keys::hex_upper;
use kvproto::metapb::Region;
use prost::Message;
use serde_json::json;

use super::open::{open_offline, report_damages};
use crate::{
    Error, Offline, Result,
    cli::Global,
    lsm::{ColumnFamily, Db, InternalKey, SstFile},
    print::output::Output,
    source::Source,
    text::message_text,
};

const RULE: &str = "--------------------------------------------------------";

/// The MANIFEST to use.
#[derive(Clone, Debug, Args)]
pub struct BadSstsArgs {
    /// Take levels and bounds of the SSTs from this MANIFEST; the directory's own if absent
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// Runs `bad-ssts`.
pub fn run(args: &BadSstsArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let store = open_offline(global, out)?;
    let done = bad_ssts(&store, args.manifest.as_deref(), global, out);
    report_damages(&store, done, out)
}

/// Reads every entry of a file; returns the first damaged part as an error.
fn verify(file: &SstFile) -> store_files::io::Result<()> {
    let table = file.table()?;
    let index = table.index()?;
    // Damage that the reader skipped is still damage.
    if let Some(e) = table.damages().iter().chain(index.damages()).next() {
        return Err(e.clone().into());
    }
    table.range_deletions()?;
    let mut iter = table.iter()?;
    while iter.advance()? {}
    Ok(())
}

/// Prints SSTs that cannot be read, the data they contained and the repair commands. Levels and
/// bounds come from `manifest`, or from the directory's own MANIFEST.
fn bad_ssts(store: &Offline, manifest: Option<&Path>, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let data_dir = global.data_dir.as_deref().unwrap_or(Path::new(""));
    let named = match manifest {
        Some(_) if store.has_tablets() => {
            return Err(Error::other(
                "--manifest belongs to one RocksDB, and this store has one for each region: omit it",
            ));
        }
        Some(manifest) => Some(Db::open_by(store.kv().dir(), manifest, store.keyring())?),
        None => None,
    };
    let kv = named.as_ref().unwrap_or(store.kv());
    let mut regions = Vec::new();
    for id in store.all_regions().map_err(|e| e.into_error("Debugger::get_all_regions_in_store"))? {
        let info = store.region_info(id).map_err(|e| e.into_error("Debugger::region_info"))?;
        regions.extend(info.region_local_state.and_then(|state| state.region));
    }
    let db = std::fs::canonicalize(store.kv().dir()).unwrap_or_else(|_| store.kv().dir().to_owned());
    if !out.is_json() {
        let (data_dir, db) = (data_dir.display(), db.display());
        out.line(format!("\nstart to print bad ssts; data_dir:{data_dir}; db:{db}"))?;
    }
    let (mut bad, mut objects) = (0, Vec::new());
    for family in kv.families() {
        for file in family.files() {
            out.tick("SSTs");
            let Err(error) = verify(file) else { continue };
            bad += 1;
            let hit: Vec<&Region> = regions.iter().filter(|region| overlaps(file, region)).collect();
            if out.is_json() {
                objects.push(json!({
                    "file": file.path().display().to_string(), "cf": family.name(), "level": file.level(),
                    "error": error.to_string(),
                    "smallest": hex_upper(file.smallest()), "largest": hex_upper(file.largest()),
                    "regions": hit.iter().map(|region| region.id).collect::<Vec<_>>(),
                }));
                continue;
            }
            out.line(RULE)?;
            out.line(format!("corruption info:\n{error}\n\nsst meta:"))?;
            out.line(sst_meta(family, file))?;
            let hints = hints(file, &hit, (data_dir, &db), global.pd.as_deref());
            hints.into_iter().try_for_each(|line| out.line(line))?;
        }
    }
    if out.is_json() {
        out.json(&objects)?;
    } else {
        out.line(RULE)?;
        out.line("corruption analysis has completed")?;
    }
    match bad {
        0 => Ok(()),
        n => Err(Error::other(format!(
            "damaged SSTs: {n}; restore them from a copy, or run the commands that the text output gives"
        ))),
    }
}

fn overlaps(file: &SstFile, region: &Region) -> bool {
    let (start, end) = (keys::enc_start_key(region), keys::enc_end_key(region));
    file.overlaps(&start, &end)
}

/// Formats the file's entry in the MANIFEST as `ldb manifest_dump` does.
fn sst_meta(family: &ColumnFamily, file: &SstFile) -> String {
    let meta = file.meta();
    let bound = |key: &[u8]| {
        let key = InternalKey::decode(key);
        key.map_or_else(String::new, |key| {
            format!("'{}' seq:{}, type:{}", hex_upper(key.user_key), key.sequence(), key.packed & 0xff)
        })
    };
    format!(
        "{}:{}[{} .. {}][{} .. {}] at level {} for Column family {:?}  (ID {})\nstart key:{:?}; end key:{:?}",
        meta.number,
        meta.size,
        meta.smallest_seqno,
        meta.largest_seqno,
        bound(&meta.smallest),
        bound(&meta.largest),
        meta.level,
        family.name(),
        family.id(),
        file.smallest(),
        file.largest()
    )
}

/// Quotes `text` so that a shell reads it as one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Returns the regions that overlap the file, and the commands to continue without the file.
fn hints(
    file: &SstFile,
    regions: &[&Region],
    (data_dir, db): (&Path, &Path),
    pd: Option<&str>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let is_data = |key: &[u8]| key.first() == Some(&keys::DATA_PREFIX);
    if !is_data(file.smallest()) {
        let start = hex_upper(file.smallest());
        lines.push(format!("it isn't easy to handle local data, start key:{start}"));
        if !is_data(file.largest()) {
            return lines;
        }
        lines.push("WARNING: the range includes both meta and user data.".to_owned());
    }
    lines.push("\noverlap region:".to_owned());
    lines.extend(regions.iter().filter_map(|r| message_text("metapb.Region", &r.encode_to_vec()).ok()));
    let name = file.path().file_stem().unwrap_or_default().to_string_lossy();
    lines.push("\nrefer operations:".to_owned());
    // TiKV's words; they can be pasted into a shell, except for an unknown address of PD.
    let (db, data_dir) = (quoted(&db.display().to_string()), quoted(&data_dir.display().to_string()));
    lines.push(format!("tikv-ctl ldb --db={db} unsafe_remove_sst_file {name}"));
    let pd = pd.unwrap_or("<endpoint>");
    let tombstone =
        |region: &&Region| format!("tikv-ctl --data-dir={data_dir} tombstone -r {} -p {pd}", region.id);
    lines.extend(regions.iter().map(tombstone));
    lines
}
