//! `ldb unsafe_remove_sst_file`: removes a damaged SST from the MANIFEST, as `bad-ssts` advises. The file
//! itself stays.
use std::path::{Path, PathBuf};

use store_files::io::read_whole;

use super::{manifest_dump, options::ParsedArgs};
use crate::{
    Error, Result,
    cli::Global,
    commands::apply::{WriteOptions, show_or_apply},
    lsm::{append_edit, manifest},
    print::output::Output,
    write::{Change, plan::Plan},
};

/// Removes the SST `number` from the MANIFEST of the database `dir`.
pub fn run(
    dir: &Path,
    number: &str,
    given: &ParsedArgs,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<()> {
    let number = number.trim_end_matches(".sst");
    let number: u64 =
        number.parse().map_err(|e| given.fail(format!("{number}: expected an SST's number: {e}")))?;
    let (keyring, state) = manifest_dump::read(dir, global, out)?;
    let path = state.path.display();
    let refuse = |what: String| Err(Error::other(format!("{what}; nothing was changed")));
    if let Some(at) = state.torn_at {
        return refuse(format!(
            "{path} at byte {at}: the last version edit is incomplete: nothing can be appended"
        ));
    }
    let Some((id, family, file)) = manifest_dump::find(&state, number) else {
        return refuse(format!("{path}: failed to unsafely remove SST file: no SST {number} is live"));
    };
    let old = read_whole(&state.path, &keyring)?;
    let new = append_edit(&old, id, file.level, number);
    // Replays the new bytes as RocksDB would.
    let after = manifest::replay(state.path.clone(), &new)?;
    if manifest_dump::find(&after, number).is_some() {
        return refuse(format!(
            "{path}: RocksDB would not read an appended edit, because other bytes follow the last edit"
        ));
    }
    let why = format!(
        "{number:06}.sst ({} bytes, level {} of column family {}) is no longer live: data that only it contains is \
         lost",
        file.size, file.level, family.name
    );
    let name = PathBuf::from(state.path.file_name().unwrap_or_default());
    let mut plan = Plan::whole();
    plan.changes.push(Change::file(&name, &old, &new, why));
    let how = WriteOptions {
        dry_run: given.has("dry_run"),
        yes: given.has("yes"),
        undo_file: given.get("undo_file").map(PathBuf::from),
    };
    let global = Global { data_dir: Some(dir.to_owned()), ..global.clone() };
    show_or_apply("unsafe_remove_sst_file", &how, &plan, "unsafely removed SST file", &global, out)
}
