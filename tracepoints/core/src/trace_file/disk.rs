//! The file under the writer: appends whole chunks or nothing, and keeps a reserve to close the index on a
//! full disk.
use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write},
};

/// Bytes kept free after the end, so that the writer can still close a file with its index on a full disk.
const RESERVE: u64 = 4 << 20;

/// Target of a recording: a file, or another sink for a sequence of bytes.
pub trait Medium: Write + Send {
    /// Reserves `len` bytes at an offset if the medium can, so that a full medium fails before a chunk is
    /// half-written.
    ///
    /// # Errors
    /// If there is no room.
    fn promise(&mut self, at: u64, len: u64) -> io::Result<()>;

    /// Truncates the medium at offset `end`, releases the space reserved beyond it and continues writing
    /// there.
    ///
    /// # Errors
    /// If the medium cannot be truncated.
    fn truncate(&mut self, end: u64) -> io::Result<()>;

    /// Makes all bytes durable.
    ///
    /// # Errors
    /// If the medium cannot be synced.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    #[cfg(target_os = "linux")]
    fn promise(&mut self, at: u64, len: u64) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        // SAFETY: the descriptor is ours and open; the call reads no memory.
        let result =
            unsafe { libc::fallocate(self.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, at as i64, len as i64) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // This file system cannot reserve space.
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINTR) => Ok(()),
            _ => Err(error),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn promise(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, end: u64) -> io::Result<()> {
        self.set_len(end)?;
        self.seek(SeekFrom::Start(end)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

pub(super) struct Disk {
    medium: Box<dyn Medium>,
    /// Offset of the next chunk.
    pub end: u64,
    /// End of the space that the system has reserved, as an offset.
    promised: u64,
    /// Maximum size of the file in bytes; the recording ends when it is reached.
    pub max_bytes: u64,
}

impl Disk {
    pub(super) fn new(medium: Box<dyn Medium>, end: u64) -> Self {
        Self { medium, end, promised: end, max_bytes: u64::MAX }
    }

    /// Appends all bytes or none.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end + bytes.len() as u64;
        if end > self.max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.promise(end)?;
        self.write(bytes)
    }

    /// Appends like [`Disk::append`], but may use the reserve.
    pub(super) fn append_reserved(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.medium.write_all(bytes) {
            Ok(()) => {
                self.end += bytes.len() as u64;
                Ok(())
            }
            Err(e) => {
                self.release_reserve();
                Err(e)
            }
        }
    }

    /// Removes a half-written chunk and returns the reserve to the disk, so that the closing index fits.
    pub(super) fn release_reserve(&mut self) {
        // An error here cannot be handled; a reader detects the truncated chunk.
        let _ = self.medium.truncate(self.end);
        self.promised = self.end;
    }

    /// Reserves space in large steps, so that a full disk is detected before a chunk is half-written.
    fn promise(&mut self, end: u64) -> io::Result<()> {
        if end + RESERVE <= self.promised {
            return Ok(());
        }
        let wanted = end + 2 * RESERVE - self.end;
        match self.medium.promise(self.end, wanted) {
            Ok(()) => {
                self.promised = self.end + wanted;
                Ok(())
            }
            Err(e) => {
                self.release_reserve();
                Err(e)
            }
        }
    }

    /// Makes the file durable and releases unused reserved space.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.release_reserve();
        self.medium.sync()
    }
}
