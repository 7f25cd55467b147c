//! The arguments of `sst`.
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{
    Error, Result,
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
    pub(super) fn refuse_others(&self) -> Result<()> {
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
