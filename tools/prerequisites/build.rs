//! Checks what the build needs before RocksDB compiles for minutes: see `tools/prerequisites.sh`.
use std::{env, path::Path, process::Command};

fn main() {
    // Read at run time: checkouts in other folders may share the build folder, and so this program.
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let script = Path::new(&manifest).join("../prerequisites.sh");
    println!("cargo::rerun-if-changed={}", script.display());
    for variable in ["LIBCLANG_PATH", "LLVM_CONFIG_PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CXX"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    // A system without a shell has no check; its build reports missing things later.
    let Ok(output) = Command::new("sh").arg(&script).args(["compiler", "libclang"]).output() else { return };
    if !output.status.success() {
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            println!("cargo::error={line}");
        }
    }
}
