//! `sst`: inspects an SST file.
mod args;
mod block;
mod histogram;
mod keys;
mod layout;
mod plain;
mod properties;
mod reblock;
mod recompress;
mod verify;

use std::sync::Arc;

use api_version::KvFormat;

pub use args::{SstArgs, SstView};

use super::open::store_config;
use crate::{
    Error, Offline, Result, cli::Global, encryption::Keyring, key::KeyFormat, lsm::Table,
    print::output::Output, raw_row::ApiVersionArg,
};

pub(super) use layout::run as layout;
pub(super) use recompress::{Recompress, run as recompress};

/// Runs `sst`.
pub fn run(args: &SstArgs, keyring: &Keyring, global: &Global, out: &mut Output<'_>) -> Result<()> {
    args.refuse_others()?;
    if !args.path.is_file() {
        let found = if args.path.is_dir() { "a directory" } else { "nothing" };
        return Err(Error::other(format!("{}: expected an SST file, found {found}", args.path.display())));
    }
    if plain::is_named_so(&args.path) && plain::run(&args.path, keyring, out)? {
        return Ok(());
    }
    let table = Arc::new(Table::open(&args.path, keyring)?);
    let index = table.index();
    let around = index.as_ref().map_or(&[][..], |index| index.damages());
    let damages: Vec<_> = table.damages().iter().chain(around).collect();
    // `verify` reports the damages itself.
    if args.what != SstView::Verify {
        damages.iter().for_each(|damage| out.note(&damage.to_string()));
    }
    let rows = rows_format(args, global, out);
    show(&table, args, (global.key_format, rows), out)?;
    match damages.len() {
        0 => Ok(()),
        count => Err(Error::Damaged(count)),
    }
}

/// Returns the encoding of raw rows, of the flag or of the store of `--data-dir`.
fn rows_format(args: &SstArgs, global: &Global, out: &mut Output<'_>) -> KvFormat {
    let wanted =
        args.raw.api_version == ApiVersionArg::Auto && matches!(args.what, SstView::Keys | SstView::Block);
    let Some(dir) = global.data_dir.as_ref().filter(|_| wanted) else { return args.raw.format(None, out) };
    match store_config(global).and_then(|config| Offline::open(dir, &config)) {
        Ok(store) => args.raw.format(Some(&store), out),
        Err(e) => {
            out.note(&format!("note: the API version of the store is unknown ({e}): give --api-version"));
            KvFormat::V1
        }
    }
}

fn show(
    table: &Arc<Table>,
    args: &SstArgs,
    (keys, rows): (KeyFormat, KvFormat),
    out: &mut Output<'_>,
) -> Result<()> {
    match args.what {
        SstView::Properties => properties::run(table, out),
        SstView::Layout => layout::run(table, out),
        SstView::Keys => keys::run(table, args, (keys, rows), out),
        SstView::Block => block::run(table, args.number, rows, out),
        SstView::Verify => verify::run(table, args.threads, out),
        SstView::Recompress => recompress::run(table, &Recompress::default(), out),
        SstView::Histogram => histogram::run(table, out),
    }
}
