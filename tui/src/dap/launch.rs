//! The start of a session: which source the arguments of `launch` or `attach` name.
mod leader;
mod operation;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, bail};
use security::TlsArgs;
use serde::Deserialize;
use serde_json::Value;
use tracepoints::Gate;

use crate::{
    arguments::{gate, kind, parse_key},
    recording,
    source::{
        attached::{Attached, RequestFilter},
        recorded::Recorded,
    },
    state::{Start, StepSource},
};

/// Arguments of `launch` and `attach`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// A recipe's name.
    recipe: Option<String>,
    /// The path of a scenario file.
    scenario: Option<String>,
    /// The line of a `step` in the scenario; steps before it run through.
    line: usize,
    /// One operation, such as `get k1`.
    operation: Option<String>,
    /// Directives that run before the operation, such as `put k1 v1`.
    setup: Option<Vec<String>>,
    /// A directory for the cluster's data.
    data_dir: Option<PathBuf>,
    /// A recording, or steps that `--json` saved.
    replay: Option<PathBuf>,
    /// The request of a recording.
    request_id: Option<u64>,
    /// HOST:PORT of a tikv-server.
    address: Option<String>,
    /// HOST:PORT of a PD, to find the server that leads the region.
    pd: Option<String>,
    /// Only requests for this key.
    key: Option<String>,
    /// Only requests in this region.
    region: u64,
    /// Only requests of this kind.
    kind: Option<String>,
    /// PEM files for TLS.
    ca_path: Option<PathBuf>,
    cert_path: Option<PathBuf>,
    key_path: Option<PathBuf>,
    /// Gates, besides the breakpoints.
    gates: Vec<String>,
    /// Stop at the first step.
    pub stop_on_entry: bool,
    /// Capture call stacks.
    stacks: bool,
    /// A checkout of tikv/tikv.
    pub tikv_src: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            recipe: None,
            scenario: None,
            line: 0,
            operation: None,
            setup: None,
            data_dir: None,
            replay: None,
            request_id: None,
            address: None,
            pd: None,
            key: None,
            region: 0,
            kind: None,
            ca_path: None,
            cert_path: None,
            key_path: None,
            gates: Vec::new(),
            stop_on_entry: true,
            stacks: true,
            tikv_src: None,
        }
    }
}

/// The source that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LaunchTarget {
    Recipe(String),
    Operation(String),
    Replay(PathBuf),
    Attach,
}

/// A checked configuration, which starts once the client has set its breakpoints.
#[derive(Clone, Debug)]
pub struct Plan {
    what: LaunchTarget,
    /// The gates of the configuration.
    pub gates: Vec<Gate>,
    /// The configuration.
    pub config: Config,
}

/// The right to start a cluster: engine time and the session of stepped requests are those of the process.
#[derive(Debug)]
pub struct Claim(());

static CLAIMED: AtomicBool = AtomicBool::new(false);

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.store(false, Ordering::SeqCst);
    }
}

/// A started source.
pub struct Started {
    /// The source.
    pub source: Box<dyn StepSource>,
    /// Number of operations that run through before the first stop.
    pub skip: usize,
}

impl Plan {
    /// Reads the arguments of `launch` (`attach` is false) or `attach`.
    ///
    /// # Errors
    /// A sentence about the argument that is missing, unknown or superfluous.
    pub fn parse(arguments: &Value, attach: bool) -> Result<Self> {
        let config: Config = serde_json::from_value(arguments.clone())
            .context("expected the arguments of a configuration of type tikv-step, found others")?;
        let gates = config.gates.iter().map(|text| gate(text)).collect::<Result<_>>()?;
        let named = [
            config.recipe.clone().map(LaunchTarget::Recipe),
            config.scenario.clone().map(LaunchTarget::Recipe),
            config.operation.clone().map(LaunchTarget::Operation),
            config.replay.clone().map(LaunchTarget::Replay),
            config.address.as_ref().or(config.pd.as_ref()).map(|_| LaunchTarget::Attach),
        ];
        let mut named: Vec<LaunchTarget> = named.into_iter().flatten().collect();
        let expected = match attach {
            true => "`address` or `pd`",
            false => "`recipe`, `scenario`, `operation` or `replay`",
        };
        let what = match (named.pop(), named.is_empty()) {
            (Some(what), true) if attach == (what == LaunchTarget::Attach) => what,
            (None, _) => bail!("expected one of {expected}, found none: name what to step"),
            _ => {
                bail!("expected exactly one of {expected}, found more than one or a different one: name one")
            }
        };
        if config.address.is_some() && config.pd.is_some() {
            bail!("expected `address` or `pd`, found both: name one");
        }
        let plan = Self { what, gates, config };
        plan.check()?;
        Ok(plan)
    }

    /// Checks what can be checked before the start, so that the client reports it at once.
    fn check(&self) -> Result<()> {
        match &self.what {
            LaunchTarget::Recipe(name) => operation::check(name, self.config.line),
            LaunchTarget::Operation(text) => operation::check_text(text, self.config.setup.as_deref()),
            LaunchTarget::Replay(path) => std::fs::metadata(path)
                .map(drop)
                .with_context(|| format!("cannot read the trace {}", path.display())),
            LaunchTarget::Attach => self.filter().map(drop),
        }
    }

    /// Takes the right to start a cluster, if the plan starts one.
    ///
    /// # Errors
    /// If another client of this process has it.
    pub fn claim(&self) -> Result<Option<Claim>> {
        if !self.starts_a_cluster() {
            return Ok(None);
        }
        if CLAIMED.swap(true, Ordering::SeqCst) {
            bail!(
                "another client of this adapter steps a cluster already: end that session, or start a second adapter"
            );
        }
        Ok(Some(Claim(())))
    }

    /// Whether a cluster starts first, which takes a while.
    pub fn starts_a_cluster(&self) -> bool {
        matches!(self.what, LaunchTarget::Recipe(_) | LaunchTarget::Operation(_))
    }

    /// Starts the source. `gates` are those of the client's breakpoints.
    ///
    /// # Errors
    /// If the source cannot start.
    pub fn start(&self, gates: Vec<Gate>) -> Result<Started> {
        let entry = self.config.stop_on_entry;
        // Without gates an operation is held at its first stage; the gates are set after the start.
        let gates_at_start = if entry { Vec::new() } else { gates.clone() };
        let start = Start { gates: gates_at_start, run: false, stacks: self.config.stacks };
        let (mut source, skip) = match &self.what {
            LaunchTarget::Recipe(name) => {
                operation::start(name, self.config.line, self.config.data_dir.clone(), start)?
            }
            LaunchTarget::Operation(text) => (
                operation::start_text(
                    text,
                    self.config.setup.as_deref(),
                    self.config.data_dir.clone(),
                    start,
                )?,
                0,
            ),
            LaunchTarget::Replay(path) => (Box::new(self.replay(path, start)?) as Box<dyn StepSource>, 0),
            LaunchTarget::Attach => (Box::new(self.attach(start)?) as Box<dyn StepSource>, 0),
        };
        let known: Vec<String> = source.gates().iter().map(|state| state.gate.text().to_owned()).collect();
        for gate in gates.into_iter().filter(|gate| !known.iter().any(|text| text == gate.text())) {
            source.set_gate(gate)?;
        }
        Ok(Started { source, skip })
    }

    fn replay(&self, path: &Path, start: Start) -> Result<Recorded> {
        if !recording::open::is_recording(path) {
            let record = Recorded::read(path)?;
            let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Recorded::new(&title, record.steps, record.summary, &start));
        }
        let file = recording::open(path)?;
        let Some(id) = self.config.request_id else {
            bail!(
                "expected `requestId`, because {} is a recording of many requests: `tikv-tui trace grep FILE` lists them",
                path.display()
            );
        };
        match recording::import::kept(&file, id, &start) {
            Some(kept) => Ok(kept),
            None => Ok(recording::open::steps(&recording::open::request(&file, id)?, &start)),
        }
    }

    fn attach(&self, start: Start) -> Result<Attached> {
        let filter = self.filter()?;
        let security = self.tls().security()?;
        let address = match (&self.config.address, &self.config.pd) {
            (Some(address), _) => address.clone(),
            (None, Some(pd)) => leader::address(pd, &filter, &security)?,
            (None, None) => bail!("expected `address` or `pd`, found none: name the server"),
        };
        Attached::start(&address, &security, filter, start)
    }

    fn filter(&self) -> Result<RequestFilter> {
        let wanted = self.config.kind.as_deref().map(|k| kind("kind", k)).transpose()?;
        Ok(RequestFilter {
            key: self.config.key.as_deref().map(|k| parse_key("key", k)).transpose()?.unwrap_or_default(),
            region: self.config.region,
            kind: wanted.map(|kind| kind.name()).unwrap_or_default(),
        })
    }

    fn tls(&self) -> TlsArgs {
        let Config { ca_path, cert_path, key_path, .. } = self.config.clone();
        TlsArgs { ca_path, cert_path, key_path }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_names_exactly_one_source() {
        let error = |value: Value, attach| {
            Plan::parse(&value, attach).err().map(|e| format!("{e:#}")).unwrap_or_default()
        };
        assert!(error(json!({}), false).contains("found none"));
        assert!(error(json!({ "address": "a:1" }), false).contains("exactly one of `recipe`"));
        assert!(
            error(json!({ "recipe": "point_get", "operation": "get k1" }), false).contains("exactly one")
        );
        assert!(error(json!({ "recipe": "a", "scenario": "b" }), false).contains("exactly one"));
        assert!(error(json!({ "recipe": "point_get" }), true).contains("exactly one of `address`"));
        assert!(error(json!({ "address": "a:1", "pd": "b:2" }), true).contains("found both"));
        assert!(error(json!({ "recipe": 7 }), false).contains("tikv-step"));
        assert!(error(json!({ "replay": "/no/such" }), false).contains("cannot read the trace /no/such"));
        assert!(error(json!({ "address": "a:1", "kind": "get" }), true).contains("kv_get"));
        assert!(error(json!({ "address": "a:1", "key": "0x6" }), true).contains("even number"));
        assert!(
            error(json!({ "recipe": "point_get", "gates": ["nothing_here"] }), false)
                .contains("expected a stage")
        );
        assert_eq!(error(json!({ "address": "a:1", "key": "k1", "__sessionId": "x" }), true), "");
    }

    #[cfg(feature = "embedded")]
    #[test]
    fn recipes_and_operations_are_checked_before_the_start() {
        let error =
            |value: Value| Plan::parse(&value, false).err().map(|e| format!("{e:#}")).unwrap_or_default();
        assert!(error(json!({ "recipe": "point_gte" })).contains("Did you mean"));
        assert!(error(json!({ "operation": "fetch k1" })).contains("get KEY"));
        assert!(error(json!({ "operation": "get k1", "setup": ["putt k1 v1"] })).contains("such as `put"));
        assert_eq!(error(json!({ "operation": "get k1", "setup": ["put k1 v1"] })), "");
        assert_eq!(error(json!({ "recipe": "point_get" })), "");
    }
}
