//! The file below the writer: whole chunks or nothing, and a reserve for the last words on a full disk.
use std::{
    fs::File,
    io::{self, Write as _},
};

/// Kept free behind the end, so that a file on a full disk can still be closed with its index.
const RESERVE: u64 = 4 << 20;

pub(super) struct Disk {
    file: File,
    /// Where the next chunk goes.
    pub end: u64,
    /// Space that the system has promised, beyond what is written.
    promised: u64,
    /// The size at which the recording ends by itself.
    pub max_bytes: u64,
}

impl Disk {
    pub(super) fn new(file: File, end: u64) -> Self {
        Self { file, end, promised: end, max_bytes: u64::MAX }
    }

    /// Appends all of it or nothing.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end + bytes.len() as u64;
        if end > self.max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.promise(end)?;
        self.write(bytes)
    }

    /// As [`Disk::append`], from the reserve.
    pub(super) fn last_words(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.end += bytes.len() as u64;
                Ok(())
            }
            Err(e) => {
                self.give_back();
                Err(e)
            }
        }
    }

    /// Cuts off what is half-written, and gives the reserve back to the disk, for our own last words.
    pub(super) fn give_back(&mut self) {
        use std::io::{Seek as _, SeekFrom};
        // Nothing better can be done: a reader finds the cut.
        let _ = self.file.set_len(self.end);
        let _ = self.file.seek(SeekFrom::Start(self.end));
        self.promised = self.end;
    }

    /// Asks for space in strides, so that a full disk is met before a chunk is half-written.
    #[cfg(target_os = "linux")]
    fn promise(&mut self, end: u64) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        if end + RESERVE <= self.promised {
            return Ok(());
        }
        let wanted = end + 2 * RESERVE - self.end;
        // SAFETY: the descriptor is ours and open; the call reads no memory.
        let result = unsafe {
            libc::fallocate(self.file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, self.end as i64, wanted as i64)
        };
        if result == 0 {
            self.promised = self.end + wanted;
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // A file system that promises nothing.
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINTR) => Ok(()),
            _ => {
                self.give_back();
                Err(error)
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn promise(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    /// Makes it durable; what was promised and not used goes back.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.give_back();
        self.file.sync_all()
    }
}
