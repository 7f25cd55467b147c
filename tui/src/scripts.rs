//! `tikv-tui scripts`: breakpoints and probes of other tools at the stages, from the catalogue and the symbols of a
//! binary: this project's server or TiKV's.
mod lines;
mod places;
mod render;
mod symbols;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tracepoints::printable::{note, print};

pub use places::{Missing, Probe, Probes};
pub use render::text;

use crate::cli::{ScriptTool, ScriptsArgs};

/// Finds the stages of a binary.
///
/// # Errors
/// If the file is not a program, or has no symbols.
pub fn probes(binary: &Path) -> Result<Probes> {
    let bytes =
        tracepoints_input::map_file(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let symbols = symbols::Symbols::read(&bytes).with_context(|| binary.display().to_string())?;
    let stamps = if symbols.is_ours() { lines::stamps(binary, &symbols)? } else { Vec::new() };
    Ok(places::find(&symbols, stamps))
}

/// Prints the script; names the missing stages on standard error, too.
///
/// # Errors
/// If the binary cannot be read, or standard output fails.
pub fn run(args: &ScriptsArgs) -> Result<()> {
    let found = probes(&args.binary)?;
    let binary = std::path::absolute(&args.binary).context("cannot read the working directory")?;
    if !can_be_quoted(&binary) {
        bail!(
            "expected a path without quotes, backslashes and control characters, found {:?}: a script contains it in \
             quotes; link the binary under another name",
            binary
        );
    }
    print(&text(args.tool, &binary, &found, args.trace)).context("cannot write to standard output")?;
    for missing in &found.missing {
        note(format_args!("not in {}: {missing}", args.binary.display()));
    }
    let stages = found.stages();
    note(format_args!(
        "{} places of {stages} stages; {} stages are missing",
        found.probes.len(),
        found.missing.len()
    ));
    Ok(())
}

/// Whether the quotes of each script can contain the path.
fn can_be_quoted(path: &Path) -> bool {
    path.to_str().is_some_and(|text| !text.contains(['\'', '"', '\\']) && !text.contains(char::is_control))
}

impl ScriptTool {
    /// The name of the program that runs the script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gdb => "gdb",
            Self::Lldb => "lldb",
            Self::Bpftrace => "bpftrace",
            Self::Perf => "perf",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_end_the_quotes_of_a_script() {
        assert!(can_be_quoted(Path::new("/opt/my server/tikv-server")));
        for bad in ["/tmp/a'b", "/tmp/a\"b", "/tmp/a\\b", "/tmp/a\nb"] {
            assert!(!can_be_quoted(Path::new(bad)), "{bad:?}");
        }
    }
}
