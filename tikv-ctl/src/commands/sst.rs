//! `sst`: inspects an SST file.
mod block;
mod histogram;
mod keys;
mod layout;
mod plain;
mod properties;
mod reblock;
mod recompress;
mod verify;

use std::{path::PathBuf, sync::Arc};

use api_version::KvFormat;
use clap::{Args, ValueEnum};

use super::open::store_config;
use crate::{
    Error, Offline, Result,
    cli::Global,
    encryption::Keyring,
    key::KeyFormat,
    lsm::{Table, ValueType},
    print::output::Output,
    raw_row::{ApiVersionArg, RawFlags},
};

/// An SST file and a view of it.
#[derive(Clone, Debug, Args)]
pub struct SstArgs {
    /// The SST file
    pub path: PathBuf,
    /// The view to print: properties, layout (where the blocks are), keys, block (the entries of one), verify
    /// (read and check everything), recompress (its size with other compressions), histogram (sizes of keys,
    /// values, blocks)
    #[arg(value_enum, default_value_t, hide_possible_values = true)]
    pub what: SstView,
    /// First user key that `keys` prints; see --key-format
    #[arg(short = 'f', long, value_name = "KEY")]
    pub from: Option<String>,
    /// User key at which `keys` ends (exclusive)
    #[arg(short = 't', long, value_name = "KEY")]
    pub to: Option<String>,
    /// Print at most N keys; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub limit: u64,
    /// The data block that `block` prints, by its number in `layout`
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 0)]
    pub number: usize,
    /// Number of threads of `verify`; 0: one for each core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    #[command(flatten)]
    pub raw: RawFlags,
}

impl SstArgs {
    /// Fails if a flag was given that the view does not honour.
    fn refuse_others(&self) -> Result<()> {
        let shows_rows = matches!(self.what, SstView::Keys | SstView::Block);
        if self.raw.api_version != ApiVersionArg::Auto && !shows_rows {
            return Err(Error::other(
                "--api-version is for `sst FILE keys` and `sst FILE block` only: leave it out",
            ));
        }
        let given = [
            ("--from", SstView::Keys, self.from.is_some()),
            ("--to", SstView::Keys, self.to.is_some()),
            ("--limit", SstView::Keys, self.limit > 0),
            ("--number", SstView::Block, self.number > 0),
            ("--threads", SstView::Verify, self.threads > 0),
        ];
        match given.into_iter().find(|(_, view, given)| *given && *view != self.what) {
            Some((flag, view, _)) => {
                let view =
                    view.to_possible_value().map_or_else(String::new, |view| view.get_name().to_owned());
                Err(Error::other(format!("{flag} is for `sst FILE {view}` only: leave it out")))
            }
            None => Ok(()),
        }
    }
}

/// A view of an SST file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SstView {
    /// The table's properties, with TiKV's decoded
    #[default]
    Properties,
    /// Positions and compression of the blocks
    Layout,
    /// Every entry
    Keys,
    /// The entries of one data block
    Block,
    /// Read and check every block
    Verify,
    /// Size of the data blocks with other compressions
    Recompress,
    /// Distribution of sizes
    Histogram,
}

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
        count => Err(damaged(count)),
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

/// Returns a type's name in JSON.
pub(super) fn type_name(kind: ValueType) -> String {
    match kind {
        ValueType::Other(byte) => format!("type {byte}"),
        known => format!("{known:?}"),
    }
}

/// Returns the error of a command that found damage.
fn damaged(count: usize) -> Error {
    Error::Damaged(count)
}
