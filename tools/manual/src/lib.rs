//! The commands `completions` and `man`, and the output of `--help`, which are the same in every program.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Command;
pub use clap_complete::Shell;

/// The commands that write files about the program itself.
#[derive(clap::Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Manual {
    /// Print a shell completion script
    Completions {
        #[allow(missing_docs)] // a doc comment would be help text
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the man pages, one for each command
    Man {
        /// The directory to write to, created if it does not exist
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

impl Manual {
    /// Runs the command for the program that `program` describes: prints the script, or writes the pages.
    ///
    /// # Errors
    /// Standard output or the directory cannot be written. A reader may close standard output early.
    pub fn run(&self, program: Command) -> io::Result<()> {
        match self {
            Manual::Completions { shell } => {
                let mut out = io::stdout().lock();
                let written = out.write_all(&completions(*shell, program)).and_then(|()| out.flush());
                match written {
                    Ok(()) => Ok(()),
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    Err(e) => Err(io::Error::new(e.kind(), format!("cannot write to standard output: {e}"))),
                }
            }
            Manual::Man { dir } => {
                let note = write_pages(dir, program)?;
                // The pages are written; a closed standard error changes nothing.
                let _ = writeln!(io::stderr().lock(), "{note}");
                Ok(())
            }
        }
    }
}

/// Prints the requested help, or the error in the command line, and returns the exit code. `prefix` begins the line of
/// a failure to print. A reader may close standard output early.
pub fn print_help(help: &clap::Error, prefix: &str) -> ExitCode {
    match help.print() {
        Err(e) if !help.use_stderr() && e.kind() != io::ErrorKind::BrokenPipe => {
            // There is no other output to report a closed standard error to.
            let _ = writeln!(io::stderr().lock(), "{prefix}: cannot write to standard output: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(help.exit_code().try_into().unwrap_or(2)),
    }
}

/// Returns the completion script for `shell` of `program`.
#[must_use]
pub fn completions(shell: Shell, mut program: Command) -> Vec<u8> {
    let (name, mut script) = (program.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, &mut program, name, &mut script);
    script
}

/// Writes `PROGRAM.1` and a page for each command into `dir`, created if it does not exist. Returns a line that says
/// how to read the pages.
///
/// # Errors
/// The directory or a page cannot be written. The message names the directory.
pub fn write_pages(dir: &Path, program: Command) -> io::Result<String> {
    let name = program.get_name().to_owned();
    std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(program, dir)).map_err(|e| {
        io::Error::new(e.kind(), format!("cannot write the man pages into {}: {e}", dir.display()))
    })?;
    Ok(format!("{0}: read the pages with man -l {0}/{name}.1", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        Command::new("step").subcommand(Command::new("list").about("Print the recipes"))
    }

    #[test]
    fn the_script_completes_the_commands() {
        let script = String::from_utf8(completions(Shell::Bash, program())).unwrap();
        assert!(script.contains("_step") && script.contains("list"), "{script}");
    }

    #[test]
    fn each_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let pages = dir.path().join("man/man1");
        let note = write_pages(&pages, program()).unwrap();
        assert!(note.ends_with(&format!("man -l {}/step.1", pages.display())), "{note}");
        assert!(std::fs::read_to_string(pages.join("step-list.1")).unwrap().contains("Print the recipes"));
    }

    #[test]
    fn an_error_names_the_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let e = write_pages(&file.path().join("below"), program()).unwrap_err();
        assert!(e.to_string().contains("below"), "{e}");
    }
}
