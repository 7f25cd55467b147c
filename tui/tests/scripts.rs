//! `tikv-tui scripts` on this project's own `tikv-server`: its breakpoints and probes beside the catalogue, without a
//! debugger.
#![cfg(feature = "embedded")]
#[path = "common/programs.rs"]
mod programs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use tikv_tui::sites;
use tracepoints::catalogue::STAGES;

/// The stages of a script.
struct Script {
    text: String,
    errors: String,
    /// The function of each stage that has a place.
    found: BTreeMap<&'static str, String>,
    /// The reason for each stage that has none.
    missing: BTreeMap<&'static str, String>,
}

impl Script {
    fn print(tool: &str, binary: &Path) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tikv-tui"));
        let output = program.args(["scripts", tool, "--binary"]).arg(binary).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{tool}: {errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (mut found, mut missing) = (BTreeMap::new(), BTreeMap::new());
        let mark = if tool == "bpftrace" { "// " } else { "# " };
        for comment in text.lines().filter_map(|line| line.strip_prefix(mark)) {
            let Some((name, rest)) = comment.split_once(": ") else { continue };
            let Some(stage) = STAGES.iter().find(|stage| stage.name == name.trim_start()) else { continue };
            // The missing ones are indented.
            let of_kind = if name.starts_with(' ') { &mut missing } else { &mut found };
            let twice = of_kind.insert(stage.name, rest.to_owned());
            assert!(twice.is_none(), "{tool} names {} twice", stage.name);
        }
        Self { text, errors, found, missing }
    }

    fn stages(&self) -> BTreeSet<&'static str> {
        self.found.keys().chain(self.missing.keys()).copied().collect()
    }
}

/// The functions that stamp a stage, with the files in which they stand.
fn functions(stage: &str) -> Vec<(&'static str, &'static str)> {
    let of_stage = sites::sites().filter(|site| site.stage == stage);
    of_stage.map(|site| (site.file, site.function.as_str())).collect()
}

#[test]
fn each_stage_of_the_own_server_is_found_or_named_missing() {
    let script = Script::print("gdb", &programs::beside("tikv-server"));
    let all: BTreeSet<&str> = STAGES.iter().map(|stage| stage.name).collect();
    assert_eq!(script.stages(), all);
    assert_eq!(script.found.len() + script.missing.len(), all.len(), "no stage is both found and missing");
    for (stage, function) in &script.found {
        let function = function.split(", ").next().unwrap();
        let of_stage = functions(stage);
        assert!(
            of_stage.iter().any(|(_, name)| *name == function),
            "{stage}: {function}, not of {of_stage:?}"
        );
    }
    for (stage, why) in &script.missing {
        let named = functions(stage).iter().all(|(_, name)| why.contains(name));
        assert!(named, "{stage}: {why}");
        let line = format!("{stage}: {why}");
        assert!(script.errors.contains(&line), "standard error names it, too: {}", script.errors);
    }
    let summary = format!("of {} stages; {} stages are missing", script.found.len(), script.missing.len());
    assert!(script.errors.contains(&summary), "{}", script.errors);
}

#[test]
fn only_stages_of_the_client_are_in_another_program() {
    let script = Script::print("gdb", &programs::beside("tikv-server"));
    for stage in STAGES {
        let of_stage = functions(stage.name);
        assert!(!of_stage.is_empty(), "{} has no stamp in the sources", stage.name);
        // The client and its log are in the crate of the recipes, which the server does not have.
        if of_stage.iter().all(|(file, _)| file.starts_with("recipes/")) {
            assert!(script.missing.contains_key(stage.name), "{} is not the server's", stage.name);
        }
    }
    // Stages of several crates, also one inside of another.
    for stage in ["grpc_receive", "read_pool_run", "write_cf_seek", "write_cf_record", "local_read", "pd_tso"]
    {
        let why = script.missing.get(stage);
        assert!(script.found.contains_key(stage), "{stage}: {why:?}");
    }
}

#[test]
fn every_breakpoint_belongs_to_a_found_stage() {
    let script = Script::print("gdb", &programs::beside("tikv-server"));
    let commands = script.text.lines().filter_map(|line| line.strip_prefix("printf \"stage "));
    let printed: Vec<&str> = commands.filter_map(|rest| rest.strip_suffix("\\n\"")).collect();
    let breakpoints = script.text.lines().filter(|line| line.starts_with("break *")).count();
    assert_eq!(printed.len(), breakpoints, "each breakpoint prints its stage");
    let stages: BTreeSet<&str> = printed.into_iter().collect();
    assert_eq!(stages, script.found.keys().copied().collect());
}

#[test]
fn every_tool_gets_the_same_places() {
    let server = programs::beside("tikv-server");
    let gdb = Script::print("gdb", &server);
    for tool in ["lldb", "bpftrace", "perf"] {
        let other = Script::print(tool, &server);
        assert_eq!((other.found, other.missing), (gdb.found.clone(), gdb.missing.clone()), "{tool}");
    }
}
