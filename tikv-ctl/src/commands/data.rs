//! `size`, `scan`, `mvcc`; [`raw`] has `raw-scan` and `print`.
mod key_args;
mod mvcc_filter;
mod mvcc_text;
mod raw;

pub use key_args::key_json;
pub use raw::stored_json;

use clap::{Args, Subcommand};
use keys::{ALL_CFS, DATA_CFS, escape};
use kvproto::kvrpcpb::MvccInfo;
use prost::Message;
use serde_json::{Value, json};

use key_args::{RANGE_END_HINT, RAW_KEY_HINT, read_key};
use mvcc_filter::MvccFilter;
use raw::{PrintArgs, RawScanArgs};

use crate::{
    Error, Result,
    cli::Global,
    key::{KeyFormat, KeyUse},
    print::{key_text::KeyText, line::Line, output::Output},
    source::Source,
    text::message_json,
};

const CFS: &str = "default,write,lock";
/// Buffered text is written out at this size, in bytes.
const FLUSH_AT: usize = 64 << 10;

/// Commands that print data of a store.
#[derive(Clone, Debug, Subcommand)]
pub enum DataCmd {
    /// Print the sizes of regions by column family
    Size(SizeArgs),
    /// Print the MVCC records of a range of keys
    Scan(ScanArgs),
    /// Print the rows of a range as they are in RocksDB
    RawScan(RawScanArgs),
    /// Print the value of one row as it is in RocksDB
    Print(PrintArgs),
    /// Print the MVCC records of a key
    Mvcc(MvccArgs),
}

/// Regions and column families, and how to measure them.
#[derive(Clone, Debug, Args)]
pub struct SizeArgs {
    /// The region; all regions if absent
    #[arg(short = 'r', value_name = "REGION")]
    region: Option<u64>,
    /// Column families, separated with commas
    #[arg(short = 'c', value_name = "CF", value_delimiter = ',', default_value = CFS)]
    cf: Vec<String>,
    /// Estimate from the properties and indexes of the SSTs without reading the data; older versions and
    /// deleted data count, too (not in TiKV)
    #[arg(long)]
    approximate: bool,
}

/// A range of keys, and a filter of their records.
#[derive(Clone, Debug, Args)]
pub struct ScanArgs {
    #[arg(short = 'f', long, value_name = "KEY", help = RAW_KEY_HINT)]
    from: String,
    #[arg(short = 't', long, value_name = "KEY", help = RANGE_END_HINT)]
    to: Option<String>,
    /// Print at most this many keys
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    filter: MvccFilter,
}

/// A key, and a filter of its records.
#[derive(Clone, Debug, Args)]
pub struct MvccArgs {
    #[arg(short = 'k', value_name = "KEY", help = RAW_KEY_HINT)]
    key: String,
    #[command(flatten)]
    filter: MvccFilter,
}

/// Runs `cmd`.
pub fn run(cmd: &DataCmd, global: &Global, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let format = global.key_format;
    match cmd {
        DataCmd::Size(args) => size(args, source, out),
        DataCmd::Scan(args) => scan(args, format, source, out),
        DataCmd::RawScan(args) => raw::scan(args, format, source, out),
        DataCmd::Print(args) => raw::print(args, format, source, out),
        DataCmd::Mvcc(args) => mvcc(args, format, source, out),
    }
}

/// Formats a size as TiKV prints it.
pub fn convert_gbmb(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    if bytes < MIB {
        return format!("{bytes}B");
    }
    let gib = if bytes >= GIB { format!("{}GiB ", bytes / GIB) } else { String::new() };
    let mib = if bytes.is_multiple_of(GIB) {
        String::new()
    } else {
        format!("{:.3}MiB", (bytes % GIB) as f64 / MIB as f64)
    };
    gib + mib.as_str()
}

fn known_cf(cf: &str, known: &[&str]) -> Result<()> {
    if known.contains(&cf) {
        return Ok(());
    }
    Err(Error::TikvStderr(format!("CF {cf:?} doesn't exist. There are {}", known.join(", "))))
}

/// `size`: prints the bytes of keys and values per column family, of one region or of all; estimated or by a
/// scan.
fn size(args: &SizeArgs, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let SizeArgs { region, cf: cfs, approximate } = args;
    cfs.iter().try_for_each(|cf| known_cf(cf, ALL_CFS))?;
    let of = |function| format!("{}::{function}", source.executor());
    let regions = match region {
        Some(region) => vec![*region],
        None => source.all_regions().map_err(|e| e.into_error(&of("get_all_regions_in_store")))?,
    };
    let (mut total, mut objects) = (0, Vec::new());
    for id in &regions {
        let sizes = match *approximate {
            true => source.approximate_region_size(*id, cfs),
            false => source.region_size(*id, cfs),
        };
        let sizes = sizes.map_err(|e| e.into_error(&of("region_size")))?;
        out.tick("regions");
        total += sizes.iter().map(|(_, size)| size).sum::<u64>();
        if out.is_json() {
            let by_cf: serde_json::Map<_, _> =
                sizes.into_iter().map(|(cf, size)| (cf, json!(size))).collect();
            objects.push(json!({ "region_id": id, "cfs": by_cf }));
            continue;
        }
        out.line(format!("region id: {id}"))?;
        for (cf, size) in sizes {
            out.line(format!("cf {cf} region size: {}", convert_gbmb(size)))?;
        }
    }
    if out.is_json() {
        let mut object = json!({ "regions": objects, "total_bytes": total });
        if *approximate {
            object["approximate"] = json!(true);
        }
        return out.json(&object);
    }
    if region.is_none() {
        out.line(format!("total region number: {}", regions.len()))?;
        out.line(format!("total region size: {}", convert_gbmb(total)))?;
    }
    Ok(())
}

/// `mvcc`: prints the records of one key.
fn mvcc(args: &MvccArgs, format: KeyFormat, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let key = read_key(&args.key, format, KeyUse::Mvcc, out)?;
    dump(&key, &[], 0, &args.filter, source, out)
}

/// `scan`: prints the records of keys in a range.
fn scan(args: &ScanArgs, format: KeyFormat, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let from = read_key(&args.from, format, KeyUse::MvccBound, out)?;
    let to = args.to.as_ref().map(|to| read_key(to, format, KeyUse::MvccBound, out));
    let to = to.transpose()?.unwrap_or_default();
    let limit = args.limit.unwrap_or(0);
    if to.is_empty() && limit == 0 {
        return Err(Error::Tikv("please pass \"to\" or \"limit\"".to_owned()));
    }
    dump(&from, &to, limit, &args.filter, source, out)
}

/// Prints MVCC records (TiKV `dump_mvccs_infos`). Without `to` and `limit`, only those of the key `from`.
fn dump(
    from: &[u8],
    to: &[u8],
    limit: u64,
    filter: &MvccFilter,
    source: &dyn Source,
    out: &mut Output<'_>,
) -> Result<()> {
    let has_z = |key: &[u8]| key.first() == Some(&keys::DATA_PREFIX);
    if !has_z(from) || (!to.is_empty() && !has_z(to) && to != keys::DATA_MAX_KEY) {
        return Err(Error::Tikv("from and to should start with \"z\"".to_owned()));
    }
    if !to.is_empty() && to < from {
        return Err(Error::Tikv("\"to\" must be greater than \"from\"".to_owned()));
    }
    filter.show_cf.iter().try_for_each(|cf| known_cf(cf, DATA_CFS))?;
    let point = to.is_empty() && limit == 0;
    let limit = if point { 1 } else { limit };
    let mut found = false;
    let mut list = out.list();
    let (mut text, mut keys) = (Line::default(), KeyText::default());
    let scanned = source.scan_mvcc(from, to, limit, &mut |key, info| {
        if point && key != from {
            return Ok(());
        }
        found = true;
        out.tick("keys");
        if out.is_json() {
            let object = mvcc_json(key, info, filter)?;
            return list.push(out, &object);
        }
        mvcc_text::row(key, info, filter, &mut keys, &mut text);
        if text.len() >= FLUSH_AT {
            out.bytes(text.as_bytes())?;
            text.clear();
        }
        Ok(())
    });
    // Rows found before a failure are printed, too.
    out.bytes(text.as_bytes())?;
    scanned.map_err(|e| match source.executor() {
        // As in TiKV's tool: an error that a server returns while it sends rows is printed without the call's
        // name.
        "DebugClient" => e.into_error_with(|e| e.to_string()),
        executor => e.into_error(&format!("{executor}::scan_mvcc")),
    })?;
    if point && !found {
        raw::note_raw_key(from, source, out);
        return Err(Error::Tikv(format!("no mvcc infos for {}\nno mvcc infos", escape(from))));
    }
    if out.is_json() { list.end(out) } else { Ok(()) }
}

fn mvcc_json(key: &[u8], info: &MvccInfo, filter: &MvccFilter) -> Result<Value> {
    let mut object = key_json(key);
    let info = message_json("kvrpcpb.MvccInfo", &filter.apply(info).encode_to_vec())?;
    if let (Some(object), Value::Object(info)) = (object.as_object_mut(), info) {
        object.extend(info);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_as_in_tikv() {
        for (bytes, text) in [
            (0, "0B"),
            (1_048_575, "1048575B"),
            (1_048_576, "1.000MiB"),
            (838_543_048, "799.697MiB"),
            (1 << 30, "1GiB "),
            ((1 << 30) + (2 << 20), "1GiB 2.000MiB"),
        ] {
            assert_eq!(convert_gbmb(bytes), text);
        }
    }
}
