//! `sst`: what is in an SST file.

mod block;
mod histogram;
mod keys;
mod layout;
mod plain;
mod properties;
mod recompress;
mod verify;

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};

use crate::{
    Error, Result,
    key::KeyFormat,
    lsm::{Table, ValueType},
    output::Output,
};

/// An SST file, and what of it.
#[derive(Clone, Debug, Args)]
pub struct SstArgs {
    /// The file
    pub path: PathBuf,
    /// What to print: properties, layout (where the blocks are), keys, block (the entries of one), verify (read and
    /// check everything), recompress (its size with other compressions), histogram (sizes of keys, values, blocks)
    #[arg(value_enum, default_value_t, hide_possible_values = true)]
    pub what: SstView,
    /// First user key of `keys`; see --key-format
    #[arg(short = 'f', long, value_name = "KEY")]
    pub from: Option<String>,
    /// Where `keys` ends (exclusive)
    #[arg(short = 't', long, value_name = "KEY")]
    pub to: Option<String>,
    /// Print at most so many keys; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub limit: u64,
    /// The data block that `block` prints, by its number in `layout`
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 0)]
    pub number: usize,
    /// Threads of `verify`; 0: one for each core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

impl SstArgs {
    /// Fails where a flag was given that the view does not honour.
    fn refuse_others(&self) -> Result<()> {
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
    /// The table's properties, TiKV's decoded
    #[default]
    Properties,
    /// The blocks: where they are, how they are compressed
    Layout,
    /// Every entry
    Keys,
    /// The entries of one data block
    Block,
    /// Read every block and check it
    Verify,
    /// The size of the data blocks with other compressions
    Recompress,
    /// How sizes are distributed
    Histogram,
}

pub(super) use layout::run as layout;
pub(super) use recompress::run as recompress;

/// Runs `sst`.
pub fn run(args: &SstArgs, format: KeyFormat, out: &mut Output<'_>) -> Result<()> {
    args.refuse_others()?;
    if !args.path.is_file() {
        let met = if args.path.is_dir() { "a directory" } else { "nothing" };
        return Err(Error::other(format!("{}: expected an SST file, met {met}", args.path.display())));
    }
    if plain::is_named_so(&args.path) && plain::run(&args.path, out)? {
        return Ok(());
    }
    let table = Arc::new(Table::open(&args.path)?);
    let index = table.index();
    let around = index.as_ref().map_or(&[][..], |index| index.damages());
    let damages: Vec<_> = table.damages().iter().chain(around).collect();
    // `verify` tells them itself.
    if args.what != SstView::Verify {
        damages.iter().for_each(|damage| out.note(&damage.to_string()));
    }
    show(&table, args, format, out)?;
    match damages.len() {
        0 => Ok(()),
        count => Err(damaged(count)),
    }
}

fn show(table: &Arc<Table>, args: &SstArgs, format: KeyFormat, out: &mut Output<'_>) -> Result<()> {
    match args.what {
        SstView::Properties => properties::run(table, out),
        SstView::Layout => layout::run(table, out),
        SstView::Keys => keys::run(table, args, format, out),
        SstView::Block => block::run(table, args.number, out),
        SstView::Verify => verify::run(table, args.threads, out),
        SstView::Recompress => recompress::run(table, out),
        SstView::Histogram => histogram::run(table, out),
    }
}

/// A type's name in JSON.
pub(super) fn type_name(kind: ValueType) -> String {
    match kind {
        ValueType::Other(byte) => format!("type {byte}"),
        known => format!("{known:?}"),
    }
}

/// The end of a command that met damage.
fn damaged(count: usize) -> Error {
    Error::Damaged(count)
}
