//! Options of every command, with TiKV's names. Help texts mark additions with "(not in TiKV)".
use std::path::{Path, PathBuf};

use clap::Args;
use security::{SecurityManager, TlsArgs};
use tracepoints_input::is_stdin;

use crate::{
    Error, Result,
    key::KeyFormat,
    print::output::{Format, OutputFile},
};

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The address of PD, such as 127.0.0.1:2379
    #[arg(long, global = true, value_name = "ADDR")]
    pub pd: Option<String>,
    /// The gRPC address of one server (its --addr)
    #[arg(long, global = true, value_name = "ADDR")]
    pub host: Option<String>,
    /// The data directory of a TiKV; not with --host
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// TiKV's configuration file, which has the locations of files and the master key
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
    /// Write the output to FILE instead of standard output; `-`: standard output (not in TiKV)
    #[arg(short = 'o', long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Global {
    /// Returns the settings for connections to servers: TLS if its three flags are given.
    pub fn security(&self) -> Result<SecurityManager> {
        self.tls.security().map_err(|e| Error::other(e.to_string()))
    }

    /// Returns the file of `--output`; none for `-`, which is standard output.
    pub fn output_file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| !is_stdin(path))
    }

    /// Opens the file of `--output`; fails if it would be inside the data directory.
    pub fn open_output(&self) -> Result<Option<OutputFile>> {
        let Some(path) = self.output_file() else { return Ok(None) };
        let fail = |what: String| Error::other(format!("--output {}: {what}", path.display()));
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = std::fs::canonicalize(parent.unwrap_or(Path::new(".")));
        let data_dir = self.data_dir.as_ref().and_then(|dir| std::fs::canonicalize(dir).ok());
        let parent = parent.map_err(|e| fail(format!("cannot find its directory: {e}")))?;
        if data_dir.is_some_and(|dir| parent.starts_with(dir)) {
            return Err(fail(
                "expected a file outside of the data directory, found one in it, where tikv-ctl writes nothing: \
                 name another"
                    .to_owned(),
            ));
        }
        if path.is_dir() {
            return Err(fail("expected a file, found a directory: name a file in it".to_owned()));
        }
        Ok(Some(OutputFile::new(path)))
    }
}
