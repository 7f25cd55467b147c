//! The places of the stages in a binary.
use std::{collections::BTreeSet, fmt};

use tracepoints::{
    catalogue::{STAGES, Stage},
    request::RequestKind,
};

use super::symbols::Symbols;
use crate::{sites, state::tikv};

/// A place where a tool stops or counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The stage.
    pub stage: &'static str,
    /// The function in the source: `PointGetter::load_data`.
    pub function: String,
    /// The symbol that contains the place.
    pub symbol: String,
    /// The distance from the symbol in bytes.
    pub offset: u64,
    /// The address in the file.
    pub address: u64,
    /// File and line of the stamp, if the binary has line tables.
    pub line: Option<(&'static str, u32)>,
}

/// A stage that has no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The stage.
    pub stage: &'static str,
    /// The functions that were searched, and why there is none.
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.why)
    }
}

/// All places, and the stages without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// By stage in the order of the catalogue.
    pub probes: Vec<Probe>,
    /// By stage in the order of the catalogue.
    pub missing: Vec<Missing>,
    /// The binary is of this project.
    pub ours: bool,
}

impl Probes {
    /// Number of stages with a place.
    pub fn stages(&self) -> usize {
        self.probes.iter().map(|p| p.stage).collect::<BTreeSet<_>>().len()
    }
}

/// Finds each stage: at its stamp if it was found by the line tables, else at the entry of its functions.
pub fn find(symbols: &Symbols, stamps: Vec<Probe>) -> Probes {
    let mut out = Probes { ours: symbols.is_ours(), ..Probes::default() };
    for stage in STAGES {
        let of_stage: Vec<Probe> = stamps.iter().filter(|p| p.stage == stage.name).cloned().collect();
        if !of_stage.is_empty() {
            out.probes.extend(of_stage);
            continue;
        }
        let functions = if out.ours { own_functions(stage) } else { tikv_functions(stage) };
        let entries: Vec<Probe> = functions.iter().flat_map(|f| entries(stage, f, symbols)).collect();
        if entries.is_empty() {
            let names: Vec<&str> = functions.iter().map(|f| f.name.as_str()).collect();
            let why = match names.is_empty() {
                true => "its function is in another program".to_owned(),
                false => format!(
                    "no symbol of {}: the compiler inlined it, or the version differs",
                    names.join(", ")
                ),
            };
            out.missing.push(Missing { stage: stage.name, why });
        }
        out.probes.extend(entries);
    }
    out
}

/// A function that stands for a stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    /// With its type.
    name: String,
    /// With its modules.
    path: String,
}

fn entries(stage: &Stage, function: &Function, symbols: &Symbols) -> Vec<Probe> {
    let probe = |symbol: &super::symbols::Symbol| Probe {
        stage: stage.name,
        function: function.name.clone(),
        symbol: symbol.name.clone(),
        offset: 0,
        address: symbol.address,
        line: None,
    };
    let mut found: Vec<Probe> = symbols.of_path(&function.path).into_iter().map(probe).collect();
    // Identical instances are often one function.
    found.dedup_by_key(|p| p.address);
    found
}

fn own_functions(stage: &Stage) -> BTreeSet<Function> {
    let of_stage = sites::sites().filter(|site| site.stage == stage.name);
    of_stage
        .map(|site| Function { name: site.function.clone(), path: path_of(site.file, &site.function) })
        .collect()
}

/// TiKV's functions of a stage, for every kind of request.
fn tikv_functions(stage: &Stage) -> BTreeSet<Function> {
    let kinds = RequestKind::ALL.iter().map(|kind| stage.tikv_for(&kind.name()).into_owned());
    let places = std::iter::once(stage.tikv.to_owned()).chain(kinds).map(|text| tikv::Place::parse(&text));
    places
        .filter_map(|place| {
            let (name, path) = (place.name(), path_of(&place.file, &place.name()));
            match place.repository.as_deref() {
                None => Some(Function { name, path }),
                // A library that is linked into the server.
                Some("tikv/raft-rs") => Some(Function { name, path: path.replacen("tikv::", "raft::", 1) }),
                Some(_) => None,
            }
        })
        .collect()
}

/// The path of a function in the symbols: `src/storage/mvcc/reader/point_getter.rs` and `PointGetter::get` become
/// `tikv::storage::mvcc::reader::point_getter::PointGetter::get`.
fn path_of(file: &str, function: &str) -> String {
    let (folder, below) = match file.strip_prefix("src/") {
        Some(below) => ("tikv", below),
        None => file.split_once("/src/").unwrap_or(("", file)),
    };
    let name = folder.rsplit('/').next().unwrap_or(folder).replace('-', "_");
    let module = below
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .trim_end_matches("lib")
        .trim_end_matches("main");
    let modules = module.split('/').filter(|part| !part.is_empty());
    std::iter::once(name.as_str()).chain(modules).chain([function]).collect::<Vec<_>>().join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_functions_are_those_of_symbols() {
        for (file, function, path) in [
            (
                "src/storage/mvcc/reader/point_getter.rs",
                "PointGetter::get",
                "tikv::storage::mvcc::reader::point_getter::PointGetter::get",
            ),
            (
                "components/raftstore/src/store/peer.rs",
                "Peer::propose",
                "raftstore::store::peer::Peer::propose",
            ),
            ("src/storage/mod.rs", "Storage::get", "tikv::storage::Storage::get"),
            ("engine/keys/src/lib.rs", "f", "keys::f"),
            ("components/batch-system/src/fsm.rs", "f", "batch_system::fsm::f"),
        ] {
            assert_eq!(path_of(file, function), path);
        }
    }

    #[test]
    fn a_stage_of_each_rpc_has_a_function_for_each() {
        let receive = tracepoints::find_stage("grpc_receive").unwrap();
        let names: Vec<String> = tikv_functions(receive).into_iter().map(|f| f.name).collect();
        assert!(
            names.contains(&"Service::kv_get".into()) && names.contains(&"Service::kv_prewrite".into()),
            "{names:?}"
        );
        assert!(tikv_functions(tracepoints::find_stage("client_send").unwrap()).is_empty());
        let quorum: Vec<String> = tikv_functions(tracepoints::find_stage("raft_commit_quorum").unwrap())
            .into_iter()
            .map(|f| f.path)
            .collect();
        assert_eq!(quorum, ["raft::tracker::ProgressTracker::maximal_committed_index"]);
    }
}
