//! Destinations of results (text or JSON on standard output) and of notes (standard error).
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use super::printable::printable;
use crate::{Error, Result};

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// TiKV's text.
    #[default]
    Text,
    /// JSON: one value for a command, lists and objects over several lines.
    Json,
    /// JSON: each element of a list on a line of its own.
    Jsonl,
}

/// Interval at which a time bar moves.
const BAR_STEP: Duration = Duration::from_millis(100);

/// A file that the first written byte creates or truncates: a command that fails earlier leaves it unchanged.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: Option<File>,
}

impl OutputFile {
    /// Names the file at `path` without opening it.
    pub fn new(path: &Path) -> OutputFile {
        OutputFile { path: path.to_owned(), file: None }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", self.path.display()));
        if self.file.is_none() {
            self.file = Some(File::create(&self.path).map_err(named)?);
        }
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes).map_err(named))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Receives the output of a command.
pub struct Output<'a> {
    format: Format,
    out: BufWriter<&'a mut dyn Write>,
    notes: &'a mut dyn Write,
    progress: Option<ProgressBar>,
    written: bool,
    /// The output goes to a terminal.
    terminal: bool,
}

impl<'a> Output<'a> {
    /// Prints results to `out` and notes to `notes`.
    pub fn new(format: Format, out: &'a mut dyn Write, notes: &'a mut dyn Write) -> Output<'a> {
        Output {
            format,
            out: BufWriter::with_capacity(64 * 1024, out),
            notes,
            progress: None,
            written: false,
            terminal: false,
        }
    }

    /// Marks the output as a terminal: control characters are escaped everywhere.
    pub fn on_terminal(mut self) -> Output<'a> {
        self.terminal = true;
        self
    }

    /// Shows the progress of long work on standard error if it is a terminal.
    pub fn with_progress(mut self) -> Output<'a> {
        let style = ProgressStyle::with_template("{spinner} {elapsed} {pos} {msg} ({per_sec})");
        self.progress = style.ok().map(|style| ProgressBar::new_spinner().with_style(style));
        self
    }

    /// Counts one more finished item; `what` is its plural.
    pub fn tick(&mut self, what: &'static str) {
        if let Some(bar) = &self.progress {
            if bar.position() == 0 {
                bar.set_message(what);
            }
            bar.inc(1);
        }
    }

    /// Runs `work`, which takes about `wait`, and shows a time bar if progress is shown.
    pub fn while_waiting<T: Send>(&mut self, wait: Duration, work: impl FnOnce() -> T + Send) -> T {
        let Some(style) = ProgressStyle::with_template("{bar:40} {elapsed} of {msg}")
            .ok()
            .filter(|_| self.progress.is_some())
        else {
            return work();
        };
        let total = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let bar = ProgressBar::new(total).with_style(style).with_message(format!("{} s", wait.as_secs()));
        let from = Instant::now();
        let done = thread::scope(|scope| {
            let working = scope.spawn(work);
            while !working.is_finished() {
                let passed = u64::try_from(from.elapsed().as_millis()).unwrap_or(u64::MAX);
                bar.set_position(passed.min(total));
                thread::sleep(BAR_STEP);
            }
            working.join()
        });
        bar.finish_and_clear();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Removes the progress of [`Output::tick`].
    pub fn done(&mut self) {
        if let Some(bar) = self.progress.take() {
            bar.finish_and_clear();
        }
    }

    /// Whether anything was printed.
    pub fn has_written(&self) -> bool {
        self.written
    }

    /// Whether the output is JSON.
    pub fn is_json(&self) -> bool {
        self.format != Format::Text
    }

    /// Prints a line of text.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        self.bytes(text.as_ref().as_bytes())?;
        self.raw(b"\n")
    }

    /// Prints text with terminal control characters escaped.
    pub fn bytes(&mut self, text: &[u8]) -> Result<()> {
        self.raw(&printable(text))
    }

    /// Prints bytes of a store that the user requested verbatim: escaped only on a terminal.
    pub fn foreign(&mut self, bytes: &[u8]) -> Result<()> {
        if self.terminal { self.bytes(bytes) } else { self.raw(bytes) }
    }

    /// Prints bytes verbatim: a file, or the tool's own terminal sequences.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.written |= !bytes.is_empty();
        self.out.write_all(bytes).map_err(Error::Output)
    }

    /// Prints a JSON value: over several lines, or one line per element.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        if self.format == Format::Jsonl {
            let value = serde_json::to_value(value).map_err(not_written)?;
            return match value {
                Value::Array(list) => list.iter().try_for_each(|element| self.json_line(element)),
                value => self.json_line(&value),
            };
        }
        serde_json::to_writer_pretty(&mut self.out, value).map_err(not_written)?;
        self.line("")
    }

    fn json_line(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, value).map_err(not_written)?;
        self.line("")
    }

    /// Prints `text()` or `json()`, depending on the format.
    pub fn either<T: Serialize>(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> T,
    ) -> Result<()> {
        if self.is_json() { self.json(&json()) } else { self.line(text()) }
    }

    /// Starts a JSON array whose elements follow one by one.
    pub fn list(&mut self) -> JsonList {
        JsonList { empty: true }
    }

    /// Prints a note that is not part of the result. Ignores a closed standard error.
    pub fn note(&mut self, text: &str) {
        if let Some(bar) = &self.progress {
            return bar.suspend(|| note(self.notes, text));
        }
        note(self.notes, text);
    }

    /// Writes out buffered output.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(Error::Output)
    }
}

fn not_written(e: serde_json::Error) -> Error {
    Error::Output(e.into())
}

fn note(notes: &mut dyn Write, text: &str) {
    let _ = notes.write_all(&[&printable(text.as_bytes())[..], b"\n"].concat());
}

/// A JSON array that is printed while its elements are found, so that a long scan needs little memory.
#[derive(Debug)]
pub struct JsonList {
    empty: bool,
}

impl JsonList {
    /// Prints an element.
    pub fn push(&mut self, out: &mut Output<'_>, value: &impl Serialize) -> Result<()> {
        if out.format == Format::Jsonl {
            self.empty = false;
            return out.json_line(value);
        }
        out.bytes(if self.empty { b"[\n  " } else { b",\n  " })?;
        self.empty = false;
        serde_json::to_writer(&mut out.out, value).map_err(not_written)
    }

    /// Ends the array.
    pub fn end(self, out: &mut Output<'_>) -> Result<()> {
        match out.format {
            Format::Jsonl => Ok(()),
            _ => out.line(if self.empty { "[]" } else { "\n]" }),
        }
    }
}
