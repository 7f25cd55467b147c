//! All flags of tikv-ctl, with TiKV's names. Help texts mark additions with "(not in TiKV)".

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand};

use security::{SecurityConfig, SecurityManager};

use crate::{
    Error, Result,
    commands::{AdminCmd, FilesCmd, SstArgs, WriteCmd},
    flamegraph::FlamegraphArgs,
    key::KeyFormat,
    output::{Format, OutputFile},
};

const RAW_KEY_HINT: &str = "Raw key (generally starts with \"z\") in escaped form; see --key-format";
const CFS: &str = "default,write,lock";

/// Inspects TiKV data directories and live servers. Only the commands that say so change anything.
#[derive(Debug, Parser)]
#[command(
    name = "tikv-ctl",
    version,
    after_help = "Exit codes: 0 done, 1 failed (message on standard error), 2 wrong flags, 255 failed as TiKV's \
                  tikv-ctl fails (message where that has it, mostly on standard output)."
)]
pub struct Opt {
    #[command(flatten)]
    pub global: Global,
    #[command(flatten)]
    pub convert: Convert,
    #[command(subcommand)]
    pub cmd: Option<Cmd>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The address of PD, such as 127.0.0.1:2379
    #[arg(long, global = true, value_name = "ADDR")]
    pub pd: Option<String>,
    /// The address of one server: its gRPC address (--addr); its status address (--status-addr) for flamegraph
    #[arg(long, global = true, value_name = "ADDR")]
    pub host: Option<String>,
    /// The data directory of a TiKV; not with --host
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// PEM file of the authority that servers' certificates must be signed by: TLS, with --cert-path and --key-path
    #[arg(long, global = true, value_name = "FILE", requires_all = ["cert_path", "key_path"])]
    pub ca_path: Option<PathBuf>,
    /// PEM file of the certificate to show to servers
    #[arg(long, global = true, value_name = "FILE", requires_all = ["ca_path", "key_path"])]
    pub cert_path: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, global = true, value_name = "FILE", requires_all = ["ca_path", "cert_path"])]
    pub key_path: Option<PathBuf>,
    /// TiKV config path: the locations of files and the master key are read from it
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Accepted for compatibility: nothing is logged, at any level
    #[arg(long, global = true, hide = true,
          value_parser = ["critical", "fatal", "error", "warn", "warning", "info", "debug", "trace"])]
    pub log_level: Option<String>,
    /// Accepted for compatibility: nothing is logged
    #[arg(long, global = true, hide = true, value_parser = ["text", "json"])]
    pub log_format: Option<String>,
    /// Accepted for compatibility: a damaged directory is always read as far as possible
    #[arg(long, global = true, hide = true)]
    pub skip_paranoid_checks: bool,
    /// Output format: text (as in TiKV), json, or jsonl with one list element per line (not in TiKV)
    #[arg(long, global = true, value_enum, default_value_t, hide_possible_values = true)]
    pub format: Format,
    /// Format of keys on the command line: auto (TiKV's escaped form with z, 0x and hex, TiDB's t100_r5, and
    /// hex or base64 if it is unambiguous), raw (the user key), hex, escaped, base64, tidb (not in TiKV)
    #[arg(long, global = true, value_enum, default_value_t, hide_possible_values = true)]
    pub key_format: KeyFormat,
    /// Write the output to FILE instead of standard output (not in TiKV)
    #[arg(short = 'o', long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Global {
    /// Returns the settings for connections to servers: TLS if its three flags are given.
    pub fn security(&self) -> Result<SecurityManager> {
        let (ca, cert, key) = (self.ca_path.as_deref(), self.cert_path.as_deref(), self.key_path.as_deref());
        let config = SecurityConfig::from_paths(ca, cert, key);
        SecurityManager::new(config).map_err(|e| Error::other(e.to_string()))
    }

    /// Opens the file of `--output`; fails if it would be inside the data directory.
    pub fn open_output(&self) -> Result<Option<OutputFile>> {
        let Some(path) = &self.output else { return Ok(None) };
        let fail = |what: String| Error::other(format!("--output {}: {what}", path.display()));
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = std::fs::canonicalize(parent.unwrap_or(Path::new(".")));
        let data_dir = self.data_dir.as_ref().and_then(|dir| std::fs::canonicalize(dir).ok());
        let parent = parent.map_err(|e| fail(format!("its directory: {e}")))?;
        if data_dir.is_some_and(|dir| parent.starts_with(dir)) {
            return Err(fail(
                "expected a file outside of the data directory, where nothing is written: name another"
                    .to_owned(),
            ));
        }
        if path.is_dir() {
            return Err(fail("expected a file, found a directory".to_owned()));
        }
        Ok(Some(OutputFile::new(path)))
    }
}

impl Convert {
    /// Whether a conversion was requested.
    pub fn is_some(&self) -> bool {
        [&self.hex_to_escaped, &self.escaped_to_hex, &self.decode, &self.encode]
            .into_iter()
            .any(Option::is_some)
    }
}

/// Conversions of keys, which need neither a directory nor a server.
#[derive(Clone, Debug, Default, Args)]
#[command(group = ArgGroup::new("conversion").multiple(false), next_help_heading = "Conversions of keys")]
pub struct Convert {
    /// Convert a hex key to escaped key
    #[arg(long = "to-escaped", value_name = "HEX", group = "conversion")]
    pub hex_to_escaped: Option<String>,
    /// Convert an escaped key to hex key
    #[arg(long = "to-hex", value_name = "ESCAPED", group = "conversion")]
    pub escaped_to_hex: Option<String>,
    /// Decode a key in escaped format
    #[arg(long, value_name = "ESCAPED", group = "conversion")]
    pub decode: Option<String>,
    /// Encode a key in escaped format
    #[arg(long, value_name = "ESCAPED", group = "conversion")]
    pub encode: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Cmd {
    /// Print a raft log entry
    Raft {
        #[command(subcommand)]
        cmd: RaftCmd,
    },
    /// Print region info (the same as `raft region`)
    Region(RegionArgs),
    /// Print region size
    Size {
        /// Set the region id, if not specified, print all regions
        #[arg(short = 'r', value_name = "REGION")]
        region: Option<u64>,
        /// Set the cf name, if not specified, print all cf
        #[arg(short = 'c', value_name = "CF", value_delimiter = ',', default_value = CFS)]
        cf: Vec<String>,
        /// Estimate from the properties and indexes of the SSTs without reading the data; older versions and
        /// deleted data count, too (not in TiKV)
        #[arg(long)]
        approximate: bool,
    },
    /// Print the range db range
    Scan {
        #[arg(short = 'f', long, value_name = "KEY", help = RAW_KEY_HINT)]
        from: String,
        #[arg(short = 't', long, value_name = "KEY", help = RAW_KEY_HINT)]
        to: Option<String>,
        /// Set the scan limit
        #[arg(long)]
        limit: Option<u64>,
        #[command(flatten)]
        filter: MvccFilter,
    },
    /// Print all raw keys in the range
    RawScan {
        #[arg(short = 'f', long, value_name = "KEY", default_value = "", hide_default_value = true, help = RAW_KEY_HINT)]
        from: String,
        #[arg(short = 't', long, value_name = "KEY", default_value = "", hide_default_value = true, help = RAW_KEY_HINT)]
        to: String,
        /// Limit the number of keys to scan
        #[arg(long, default_value_t = 30)]
        limit: usize,
        /// The column family name
        #[arg(long, default_value = "default", value_parser = ["default", "lock", "write", "raft"])]
        cf: String,
    },
    /// Print the raw value
    Print {
        /// The column family name
        #[arg(short = 'c', value_name = "CF", default_value = "default", value_parser = ["default", "lock", "write", "raft"])]
        cf: String,
        #[arg(short = 'k', value_name = "KEY", help = RAW_KEY_HINT)]
        key: String,
    },
    /// Print the mvcc value
    Mvcc {
        #[arg(short = 'k', value_name = "KEY", help = RAW_KEY_HINT)]
        key: String,
        #[command(flatten)]
        filter: MvccFilter,
    },
    /// Get all regions with corrupt raft
    BadRegions {},
    /// Show region properties
    RegionProperties {
        /// The target region id
        #[arg(short = 'r', value_name = "REGION")]
        region: u64,
    },
    /// Show range properties
    RangeProperties {
        /// Hex start key, not starting with "z"
        #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
        start: String,
        /// Hex end key, not starting with "z"
        #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
        end: String,
    },
    /// Print the store id and api version
    Store {},
    /// Print the cluster id
    Cluster {},
    /// Show the cluster id
    ShowClusterId {},
    /// Print the metrics of a server
    Metrics {
        /// The metrics to print
        #[arg(short = 't', long, value_delimiter = ',', default_value = "prometheus",
              value_parser = ["prometheus", "jemalloc", "rocksdb_raft", "rocksdb_kv"])]
        tag: Vec<String>,
    },
    /// Force a consistency-check for a specified region on a server
    ConsistencyCheck {
        /// The target region
        #[arg(short = 'r', value_name = "REGION")]
        region: u64,
    },
    /// Get the state of a region's read progress from a server
    GetRegionReadProgress {
        /// The target region id
        #[arg(short = 'r', long, value_name = "REGION")]
        region: u64,
        /// When specified, prints the locks associated with the transaction that has the smallest start_ts
        #[arg(long)]
        log: bool,
        /// The smallest start_ts of the target transaction
        #[arg(long, default_value_t = 0)]
        min_start_ts: u64,
    },
    /// Control for Raft Engine: `-- dump|check|try-purge --path PATH`, `-- repair --path PATH --queue QUEUE --script FILE`
    RaftEngineCtl {
        /// Arguments, after `--`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Print encryption metadata
    EncryptionMeta {
        #[command(subcommand)]
        cmd: EncryptionMetaCmd,
    },
    /// Decrypt an encrypted file (needs --data-dir)
    DecryptFile {
        /// The file, in the data directory
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// The file to write the decrypted bytes to
        #[arg(long, value_name = "FILE")]
        out_file: PathBuf,
        /// Skip the confirmation prompt (not in TiKV)
        #[arg(long, short = 'y')]
        yes: bool,
    },
    #[command(flatten)]
    Admin(AdminCmd),
    #[command(flatten)]
    Write(WriteCmd),
    /// Compare the data of a region with another store's
    Diff {
        /// The target region id
        #[arg(short = 'r', value_name = "REGION")]
        region: u64,
        /// Data directory of the other store
        #[arg(long, value_name = "DIR", required_unless_present = "to_host")]
        to_data_dir: Option<PathBuf>,
        /// Config file of the other store
        #[arg(long, value_name = "FILE")]
        to_config: Option<PathBuf>,
        /// gRPC address of the other store
        #[arg(long, value_name = "ADDR", conflicts_with = "to_data_dir")]
        to_host: Option<String>,
    },
    /// Dump the meta file of a snapshot
    DumpSnapMeta {
        /// The .meta file
        #[arg(short = 'f', long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Run RocksDB's ldb: scan, dump, get, multi_get, list_column_families, manifest_dump, checkconsistency,
    /// unsafe_remove_sst_file
    #[command(disable_help_flag = true)]
    Ldb {
        /// Arguments of ldb, such as --db=DIR --column_family=write --hex scan
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run RocksDB's sst_dump: --command=check, scan, raw, verify, recompress, identify, none
    #[command(name = "sst_dump", alias = "sst-dump", disable_help_flag = true)]
    SstDump {
        /// Arguments of sst_dump, such as --file=FILE --command=scan --output_hex
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Find damaged SSTs, the data they contained and the repair commands; regions are those of the directory
    BadSsts {
        /// Take levels and bounds of the SSTs from this MANIFEST; the directory's own if absent
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
    },
    /// Inspect an SST file: properties, blocks, keys, checksums (not in TiKV)
    Sst(SstArgs),
    /// Find every place that stores a version of a key, and explain what a read returns (not in TiKV)
    #[command(
        after_help = "Searches the Raft log, the WAL, SSTs and blob files. A record that is in several places is one \
                            entry of the list. The list is in order of time."
    )]
    Find {
        /// The key, in any form; see --key-format
        #[arg(value_name = "KEY", allow_hyphen_values = true)]
        key: String,
        /// Read at this timestamp; the newest if absent
        #[arg(long, value_name = "TS")]
        ts: Option<u64>,
    },
    /// Explain a key: its forms, its table, its column values, its timestamp, its region (not in TiKV)
    Key {
        /// The key, in any form; see --key-format
        #[arg(value_name = "KEY", allow_hyphen_values = true)]
        key: String,
        /// Also decode this value, given as hex: a TiDB row, a write or a lock record
        #[arg(long, value_name = "HEX")]
        value: Option<String>,
    },
    /// Not implemented: use TiKV's own tool
    #[command(hide = true)]
    ReuseReadonlyRemains {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Not implemented: use TiKV's own tool
    #[command(hide = true)]
    CompactLogBackup {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Print a shell completion script (not in TiKV)
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the man pages, one for each command (not in TiKV)
    Man {
        /// The directory to write to, created if it does not exist
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    #[command(flatten)]
    Files(FilesCmd),
    /// Print the requests that a server is processing (not in TiKV)
    Inflight(InflightArgs),
    /// Make a server keep the next requests that match (not in TiKV)
    Keep(KeepArgs),
    /// Fetch the requests that a server has kept, as a trace file (not in TiKV)
    Kept(KeptArgs),
    /// Draw a flame graph: CPU of a server, or wall clock of a trace (not in TiKV)
    Flamegraph(Box<FlamegraphArgs>),
}

/// Selection of in-flight requests, and the refresh interval.
#[derive(Clone, Debug, Args)]
pub struct InflightArgs {
    /// Refresh every SECONDS seconds until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
    pub watch: Option<f64>,
    /// Print at most this many requests, the oldest ones
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// Include the requests of all stores that run in the server's process
    #[arg(long)]
    pub all_stores: bool,
}

/// Parses an interval of 0.05 to 3600 seconds.
fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("expected seconds: {e}"))?;
    let fits = (0.05..=3600.0).contains(&seconds);
    fits.then_some(seconds).ok_or_else(|| format!("expected 0.05 to 3600 seconds, found {text}"))
}

/// Filter of the requests to keep. An absent criterion matches every request.
#[derive(Clone, Debug, Args)]
pub struct KeepArgs {
    /// Kind of the request, e.g. kv_get or raw_put
    #[arg(long, visible_alias = "type", value_name = "KIND")]
    pub kind: Option<String>,
    /// Prefix of its first key, in escaped form; the first 16 bytes are compared
    #[arg(short = 'k', long)]
    pub key: Option<String>,
    /// Region of the request
    #[arg(short = 'r', long, default_value_t = 0, hide_default_value = true)]
    pub region: u64,
    /// Number of requests to keep
    #[arg(short = 'n', long, default_value_t = 10)]
    pub count: u64,
}

/// Filter of the kept requests to fetch.
#[derive(Clone, Debug, Args)]
pub struct KeptArgs {
    /// Reasons for keeping a request: asked, slow, failed, sampled; all if absent
    #[arg(long, value_delimiter = ',', value_parser = ["asked", "slow", "failed", "sampled"])]
    pub why: Vec<String>,
}

/// `encryption-meta dump-key` and `dump-file`.
#[derive(Debug, Subcommand)]
pub enum EncryptionMetaCmd {
    /// Dump data keys, which are exposed as plaintext: asks for consent
    DumpKey {
        /// Key ids, separated with commas; all if absent
        #[arg(long, value_delimiter = ',')]
        ids: Vec<u64>,
    },
    /// Dump file encryption info
    DumpFile {
        /// Path to the file; all if absent
        #[arg(long)]
        path: Option<PathBuf>,
    },
}

/// `raft log` and `raft region`.
#[derive(Debug, Subcommand)]
pub enum RaftCmd {
    /// Print the raft log entry info
    #[command(group = ArgGroup::new("entry").args(["key", "region"]).required(true))]
    Log {
        /// Set the region id
        #[arg(short = 'r', value_name = "REGION", requires = "index", conflicts_with = "key")]
        region: Option<u64>,
        /// Set the raft log index
        #[arg(short = 'i', value_name = "INDEX", requires = "region", conflicts_with = "key")]
        index: Option<u64>,
        #[arg(
            short = 'k',
            value_name = "KEY",
            help = "Raft log key (01 02 region 01 index) in escaped form or 0x hex"
        )]
        key: Option<String>,
        /// Print the entry's data as hexadecimal
        #[arg(short = 'b')]
        binary: bool,
    },
    /// Print region info
    #[command(alias = "info")]
    Region(RegionArgs),
}

/// Selection of regions.
#[derive(Clone, Debug, Args)]
pub struct RegionArgs {
    /// Set the region ids, separated with commas if multiple
    #[arg(
        short = 'r',
        alias = "region",
        value_name = "REGION",
        value_delimiter = ',',
        conflicts_with = "all_regions"
    )]
    pub regions: Option<Vec<u64>>,
    /// Print info for all regions
    #[arg(long)]
    pub all_regions: bool,
    /// Hex start key
    #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
    pub start: String,
    /// Hex end key
    #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
    pub end: String,
    /// Limit the number of keys to scan; 0: no limit
    #[arg(long, default_value_t = 16)]
    pub limit: usize,
    /// Skip tombstone regions
    #[arg(long)]
    pub skip_tombstone: bool,
}

/// Filter of MVCC records.
#[derive(Clone, Debug, Args)]
pub struct MvccFilter {
    /// Set start_ts as filter
    #[arg(long)]
    pub start_ts: Option<u64>,
    /// Set commit_ts as filter
    #[arg(long)]
    pub commit_ts: Option<u64>,
    /// Column family names, combined from default/lock/write
    #[arg(long, value_name = "CF", value_delimiter = ',', default_value = "default")]
    pub show_cf: Vec<String>,
}
