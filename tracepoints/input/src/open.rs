//! Opens a file, a pipe or standard input.
use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal, Read, Seek, Write},
    ops::Deref,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use tempfile::NamedTempFile;

use crate::MAX_UNPACKED;

/// All bytes of a file. A regular file is mapped; a pipe is read to its end.
#[derive(Debug)]
pub enum Input {
    /// A mapped file.
    Mapped(Mmap),
    /// The bytes of a pipe.
    Read(Vec<u8>),
}

/// Whether a path means standard input.
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Input {
    /// Opens `path`; `-` is standard input.
    ///
    /// # Errors
    /// The system's error; a device or a pipe without an end.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = open_file(path)?;
        let about = file.metadata()?;
        // A pipe, a device and a file of /proc report a length of 0; standard input may be positioned within
        // a file.
        if !about.is_file() || about.len() == 0 || file.stream_position().unwrap_or(0) != 0 {
            let mut bytes = Vec::new();
            copy(&file, &about, &mut bytes)?;
            return Ok(Self::Read(bytes));
        }
        map(&file).map(Self::Mapped)
    }
}

/// Opens a file; `-` is another handle of standard input, so that its kind is known.
fn open_file(path: &Path) -> io::Result<File> {
    if is_stdin(path) { stdin() } else { File::open(path) }
}

#[cfg(unix)]
fn stdin() -> io::Result<File> {
    std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
fn stdin() -> io::Result<File> {
    Err(io::Error::other("expected a file, found `-`: give the path of a file on this system"))
}

/// Copies all bytes of a file, a pipe or a device. Only a regular file on disk is copied without a bound.
fn copy(file: &File, about: &Metadata, to: &mut impl Write) -> io::Result<()> {
    if about.is_file() && about.len() > 0 {
        let mut from = file;
        return io::copy(&mut from, to).map(drop);
    }
    let (what, max) = if is_endless(file, about) { ("device", MAX_DEVICE) } else { ("pipe", MAX_PIPE) };
    copy_up_to(max, what, file, to)
}

fn copy_up_to(max: u64, what: &str, from: impl Read, to: &mut impl Write) -> io::Result<()> {
    if io::copy(&mut from.take(max + 1), to)? <= max {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "expected at most {} MiB from a {what}, found more: give the path of a file",
        max >> 20
    )))
}

/// Maximum number of bytes read from a device: `/dev/zero` has no end.
const MAX_DEVICE: u64 = 64 << 20;

/// Maximum number of bytes read from a pipe: `yes` has no end.
const MAX_PIPE: u64 = MAX_UNPACKED;

/// Whether a file may be a device without an end; a terminal is read up to the end that its user gives.
fn is_endless(file: &File, about: &Metadata) -> bool {
    #[cfg(unix)]
    let device = std::os::unix::fs::FileTypeExt::is_char_device(&about.file_type());
    #[cfg(not(unix))]
    let device = false;
    device && !file.is_terminal()
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}

/// Reads a whole text in UTF-8, such as a configuration. Bounded as [`Input::open`] is.
///
/// # Errors
/// As [`Input::open`]; a text that is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = Input::open(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(text.to_owned())
}

/// Maps a file, of which the caller reads parts.
///
/// # Errors
/// The system's error.
pub fn map_file(path: &Path) -> io::Result<Mmap> {
    map(&File::open(path)?)
}

#[allow(unsafe_code, reason = "the only place that maps files of other programs")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is only read; a file that changes during that time may be misread, but any bytes are
    // valid.
    unsafe { Mmap::map(file) }
}

/// A file for readers that seek: the path itself, or a temporary copy of a pipe or standard input, deleted
/// with this value.
#[derive(Debug)]
pub enum OnDisk {
    /// The path itself.
    Own(PathBuf),
    /// A copy, deleted with this value.
    Copy(NamedTempFile),
}

impl OnDisk {
    /// # Errors
    /// The system's error, of the input or of the temporary file; a device or a pipe without an end.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open_file(path)?;
        let about = file.metadata()?;
        if about.is_file() && !is_stdin(path) {
            return Ok(Self::Own(path.to_owned()));
        }
        let mut onto = NamedTempFile::new()?;
        copy(&file, &about, &mut onto)?;
        Ok(Self::Copy(onto))
    }

    /// Returns the path to open.
    pub fn path(&self) -> &Path {
        match self {
            Self::Own(path) => path,
            Self::Copy(copy) => copy.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_an_end_is_refused() {
        let mut bytes = Vec::new();
        let error = copy_up_to(2 << 20, "pipe", io::repeat(b'y'), &mut bytes).unwrap_err().to_string();
        assert!(error.starts_with("expected at most 2 MiB from a pipe"), "{error}");
        copy_up_to(3, "pipe", &b"abc"[..], &mut bytes).unwrap();
        assert!(copy_up_to(2, "pipe", &b"abc"[..], &mut bytes).is_err());
    }
}
