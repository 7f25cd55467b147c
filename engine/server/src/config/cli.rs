//! The flags of `tikv-server`, named as TiKV's (`cmd/tikv-server/src/main.rs`). A flag overrides the file.
use std::{collections::BTreeSet, path::PathBuf};

use super::{ConfigError, ReadableDuration, TikvConfig};
use crate::bridge::BridgeSink;

/// Address of the embedded PD.
pub const DEFAULT_PD_ADDR: &str = "127.0.0.1:2379";

/// One store of a TiKV-like cluster whose requests can be stepped.
#[derive(clap::Parser, Clone, Debug, Default)]
#[command(name = "tikv-server", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Configuration file, TiKV's tikv.toml
    #[arg(short = 'C', long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration file and exit; unknown keys are errors then
    #[arg(long, requires = "config")]
    pub config_check: bool,
    /// Print the configuration in effect as JSON and exit
    #[arg(long)]
    pub config_info: bool,
    /// Address that gRPC listens on [default: 127.0.0.1:20160]
    #[arg(short = 'A', long, value_name = "IP:PORT")]
    pub addr: Option<String>,
    /// Address that other stores and clients connect to [default: that of --addr]
    #[arg(long, value_name = "IP:PORT")]
    pub advertise_addr: Option<String>,
    /// Address of the HTTP status server; empty for none [default: 127.0.0.1:20180]
    #[arg(long, value_name = "IP:PORT")]
    pub status_addr: Option<String>,
    /// Status address announced to PD [default: that of --status-addr]
    #[arg(long, value_name = "IP:PORT")]
    pub advertise_status_addr: Option<String>,
    /// Directory of this store's data
    #[arg(short = 's', long, value_name = "PATH", visible_alias = "store")]
    pub data_dir: Option<PathBuf>,
    /// PD addresses, comma separated [default: 127.0.0.1:2379]
    #[arg(long, value_name = "ADDR,..", visible_alias = "pd", value_delimiter = ',')]
    pub pd_endpoints: Vec<String>,
    /// Labels announced to PD, e.g. zone=z1,host=h1
    #[arg(long, value_name = "KEY=VALUE,..", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Lowest level that is logged: trace, debug, info, warn, error or fatal [default: info]
    #[arg(short = 'L', long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// File for slow requests with all their stages [default: where the log goes]
    #[arg(long, value_name = "FILE")]
    pub slow_log_file: Option<PathBuf>,
    /// Duration from which a request is slow, e.g. 200ms [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub slow_log_threshold: Option<ReadableDuration>,
    /// Keep one in N finished requests; 0 keeps none [default: 1000]
    #[arg(long, value_name = "N")]
    pub trace_sample_one_in: Option<u64>,
    /// Export each finished request: fmt (lines to standard error), chrome=FILE, otlp=grpc://HOST:PORT or
    /// otlp=http://HOST:PORT
    #[arg(long, value_name = "SINK,..", value_delimiter = ',')]
    pub bridge: Vec<BridgeSink>,
    /// Run PD in this process, listening here; its data is in pd/ of the data directory
    #[arg(long, value_name = "IP:PORT", num_args = 0..=1, default_missing_value = DEFAULT_PD_ADDR)]
    pub embedded_pd: Option<String>,
    #[allow(missing_docs)] // a doc comment would be help text
    #[command(subcommand)]
    pub command: Option<manual::Manual>,
}

impl Cli {
    /// Merges file and flags and validates the result. Also returns the file's unknown keys.
    pub fn resolve(&self) -> Result<(TikvConfig, Vec<String>), ConfigError> {
        let (mut config, unknown) = match &self.config {
            Some(path) => TikvConfig::from_file(path)?,
            None => (TikvConfig::default(), Vec::new()),
        };
        if let (true, Some(path), false) = (self.config_check, &self.config, unknown.is_empty()) {
            return Err(ConfigError::Unknown(path.clone(), unknown.join(", ")));
        }
        self.overwrite(&mut config)?;
        config.validate()?;
        Ok((config, unknown))
    }

    fn overwrite(&self, config: &mut TikvConfig) -> Result<(), ConfigError> {
        let server = &mut config.server;
        for (flag, key) in [
            (&self.addr, &mut server.addr),
            (&self.advertise_addr, &mut server.advertise_addr),
            (&self.status_addr, &mut server.status_addr),
            (&self.advertise_status_addr, &mut server.advertise_status_addr),
            (&self.log_level, &mut config.log.level),
        ] {
            if let Some(value) = flag {
                key.clone_from(value);
            }
        }
        let mut keys = BTreeSet::new();
        for label in &self.labels {
            let Some((key, value)) = label.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Err(ConfigError::Invalid(format!("--labels: expected KEY=VALUE, found {label:?}")));
            };
            if !keys.insert(key) {
                return Err(ConfigError::Invalid(format!(
                    "--labels: expected each key once, found {key} twice"
                )));
            }
            server.labels.insert(key.into(), value.into());
        }
        if let Some(dir) = &self.data_dir {
            config.storage.data_dir.clone_from(dir);
        }
        if let Some(file) = &self.slow_log_file {
            config.slow_log_file = file.to_string_lossy().into_owned();
        }
        config.slow_log_threshold = self.slow_log_threshold.unwrap_or(config.slow_log_threshold);
        config.trace.sample_one_in = self.trace_sample_one_in.unwrap_or(config.trace.sample_one_in);
        match (&self.embedded_pd, self.pd_endpoints.is_empty()) {
            (Some(addr), true) => config.pd.endpoints = vec![addr.clone()],
            (_, false) => config.pd.endpoints.clone_from(&self.pd_endpoints),
            (None, true) => {}
        }
        crate::logger::parse_level(&config.log.level).map_err(ConfigError::Invalid)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn resolve(args: &[&str]) -> Result<TikvConfig, String> {
        let all = std::iter::once("tikv-server").chain(args.iter().copied());
        let cli = Cli::try_parse_from(all).map_err(|e| e.to_string())?;
        cli.resolve().map(|(config, _)| config).map_err(|e| e.to_string())
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tikv.toml");
        std::fs::write(&file, "[server]\naddr = \"127.0.0.1:1\"\nstatus-addr = \"127.0.0.1:2\"\n").unwrap();
        let file = file.to_str().unwrap();
        let config =
            resolve(&["-C", file, "--addr", "127.0.0.1:3", "--pd", "a:1,b:2", "--labels", "zone=z1"])
                .unwrap();
        assert_eq!(
            (config.server.addr.as_str(), config.server.status_addr.as_str()),
            ("127.0.0.1:3", "127.0.0.1:2")
        );
        assert_eq!(config.pd.endpoints, ["a:1", "b:2"]);
        assert_eq!(config.server.labels["zone"], "z1");
    }

    #[test]
    fn errors_say_what_was_expected() {
        assert!(resolve(&["--adr", "x"]).unwrap_err().contains("--addr"));
        assert!(resolve(&["--labels", "zone"]).unwrap_err().contains("KEY=VALUE"));
        assert!(resolve(&["--labels", "=z1"]).unwrap_err().contains("KEY=VALUE"));
        assert!(resolve(&["--labels", "a=1,a=2"]).unwrap_err().contains("a twice"));
        assert!(resolve(&["--config", "/dev/zero"]).unwrap_err().contains("16 MiB"));
        assert!(resolve(&["--log-level", "loud"]).unwrap_err().contains("trace, debug"));
        assert!(resolve(&["--config", "/does/not/exist.toml"]).unwrap_err().contains("check the path"));
        assert!(resolve(&["--pd-endpoints", "nowhere"]).unwrap_err().contains("HOST:PORT"));
    }

    #[test]
    fn a_part_of_the_tls_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tikv.toml");
        std::fs::write(&file, "[security]\nca-path = \"ca.pem\"\n").unwrap();
        let error = resolve(&["-C", file.to_str().unwrap()]).unwrap_err();
        assert!(error.contains("[security]") && error.contains("cert-path"), "{error}");
    }

    #[test]
    fn config_check_refuses_unknown_keys() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tikv.toml");
        std::fs::write(&file, "[server]\nadr = \"127.0.0.1:1\"\n").unwrap();
        let file = file.to_str().unwrap();
        assert!(resolve(&["-C", file]).is_ok(), "unknown keys only cause a warning");
        assert!(resolve(&["-C", file, "--config-check"]).unwrap_err().contains("server.adr"));
    }

    #[test]
    fn the_embedded_pd_is_the_default_endpoint() {
        assert_eq!(resolve(&["--embedded-pd"]).unwrap().pd.endpoints, [DEFAULT_PD_ADDR]);
        assert_eq!(resolve(&["--embedded-pd", "127.0.0.1:9"]).unwrap().pd.endpoints, ["127.0.0.1:9"]);
    }
}
