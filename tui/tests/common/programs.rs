//! The programs of other packages, beside `tikv-tui`.
use std::{env, path::PathBuf, process::Command};

/// Returns a program of the workspace, built as `tikv-tui` is.
///
/// Cargo builds the programs of other packages for the tests of the workspace, but not for those of one package.
pub fn beside(name: &str) -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_tikv-tui")).with_file_name(name);
    if !program.exists() {
        build();
    }
    program
}

fn build() {
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--workspace", "--bins"]);
    // Cargo's variables of this package would make build scripts run again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if of_package.iter().any(|prefix| text.starts_with(prefix)) {
            build.env_remove(&name);
        }
    }
    assert!(build.status().unwrap().success(), "cargo build --workspace --bins fails");
}
