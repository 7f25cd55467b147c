//! Opens a file, a pipe or standard input.
use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal, Read, Seek, Write},
    ops::Deref,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use tempfile::NamedTempFile;

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
    /// The system's error.
    pub fn open(path: &Path) -> io::Result<Self> {
        if is_stdin(path) {
            return Self::read(io::stdin().lock());
        }
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        // A pipe, a device and a file of /proc report a length of 0; /dev/stdin may be positioned within a
        // file.
        if is_endless(&file, &about) {
            return Self::read_device(&mut file);
        }
        if !about.is_file() || about.len() == 0 || file.stream_position().unwrap_or(0) != 0 {
            return Self::read(&mut file);
        }
        map(&file).map(Self::Mapped)
    }

    fn read_device(device: &mut File) -> io::Result<Self> {
        let input = Self::read(device.take(MAX_DEVICE + 1))?;
        if input.len() as u64 > MAX_DEVICE {
            let what =
                format!("expected a file or a pipe, found a device with more than {} MiB", MAX_DEVICE >> 20);
            return Err(io::Error::other(what));
        }
        Ok(input)
    }

    fn read(mut from: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        Ok(Self::Read(bytes))
    }
}

/// Maximum number of bytes read from a device: `/dev/zero` has no end.
const MAX_DEVICE: u64 = 64 << 20;

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
    /// The system's error, of the input or of the temporary file; a device without an end.
    pub fn open(path: &Path) -> io::Result<Self> {
        if is_stdin(path) {
            let mut copy = NamedTempFile::new()?;
            io::copy(&mut io::stdin().lock(), &mut copy)?;
            return Ok(Self::Copy(copy));
        }
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_file() {
            return Ok(Self::Own(path.to_owned()));
        }
        let mut copy = NamedTempFile::new()?;
        if is_endless(&file, &about) {
            copy.write_all(&Input::read_device(&mut file)?)?;
        } else {
            io::copy(&mut file, &mut copy)?;
        }
        Ok(Self::Copy(copy))
    }

    /// Returns the path to open.
    pub fn path(&self) -> &Path {
        match self {
            Self::Own(path) => path,
            Self::Copy(copy) => copy.path(),
        }
    }
}
