//! The commands `completions` and `man` of the server programs, as in `tikv-ctl`.
use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Command;
use clap_complete::Shell;

/// The generated files of a program.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Manual {
    /// Print the completions of a shell
    Completions {
        #[allow(missing_docs)] // a doc comment would be help text
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the man page
    Man {
        /// Output directory, created if missing
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

impl Manual {
    /// Writes the file of the program that `command` describes.
    ///
    /// # Errors
    /// If the directory or standard output cannot be written; a reader
    /// that closed standard output is no error.
    pub fn write(&self, mut command: Command) -> io::Result<()> {
        match self {
            Manual::Completions { shell } => {
                let (name, mut text) = (command.get_name().to_owned(), Vec::new());
                clap_complete::generate(*shell, &mut command, name, &mut text);
                match io::stdout().lock().write_all(&text) {
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    written => written,
                }
            }
            Manual::Man { dir } => {
                let at = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", dir.display()));
                std::fs::create_dir_all(dir).map_err(at)?;
                clap_mangen::generate_to(command, dir).map_err(at)
            }
        }
    }
}
