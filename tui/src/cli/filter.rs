//! Arguments that select requests of a recording.
use clap::Args;

/// Filters that select requests; a request must match all of them.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct FilterArgs {
    /// Only the request ID
    #[arg(long, value_name = "ID")]
    pub request: Option<u64>,
    /// Only requests of this kind, e.g. kv_get, kv_prewrite, raw_put; may be given several times
    #[arg(long = "kind", visible_alias = "type", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Only requests in this region
    #[arg(long, value_name = "ID")]
    pub region: Option<u64>,
    /// Only requests that this store served
    #[arg(long, value_name = "ID")]
    pub store: Option<u64>,
    /// Only requests for this key: raw text, z-escaped (\ooo, \xhh) or 0x hex
    #[arg(long, value_name = "KEY", conflicts_with = "prefix")]
    pub key: Option<String>,
    /// Only requests for keys with this prefix
    #[arg(long, value_name = "KEY")]
    pub prefix: Option<String>,
    /// Only requests that passed this stage; if given several times: that passed all these stages
    #[arg(long = "stage", value_name = "STAGE")]
    pub stages: Vec<String>,
    /// Only requests that took at least TIME; with --stage, the time of that stage counts
    #[arg(long, value_name = "TIME")]
    pub min_duration: Option<String>,
    /// Only requests that began at or after WHEN
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only requests that began before WHEN
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}
