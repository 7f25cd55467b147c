//! The file below the writer: whole chunks or nothing, and a reserve for the last words on a full disk.
use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write},
};

/// Kept free behind the end, so that a file on a full disk can still be closed with its index.
const RESERVE: u64 = 4 << 20;

/// What a recording is written to: a file, or whatever else takes bytes one behind the other.
pub trait Medium: Write + Send {
    /// Makes room for `len` bytes at an offset, where the medium can: so that what is full says so before a chunk is half-written.
    ///
    /// # Errors
    /// If there is no room.
    fn promise(&mut self, at: u64, len: u64) -> io::Result<()>;

    /// Cuts off what stands at an offset and behind it, gives up what was promised there, and goes on there.
    ///
    /// # Errors
    /// If that cannot be done.
    fn cut(&mut self, end: u64) -> io::Result<()>;

    /// Makes all of it durable.
    ///
    /// # Errors
    /// If that cannot be done.
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
            // A file system that promises nothing.
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINTR) => Ok(()),
            _ => Err(error),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn promise(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, end: u64) -> io::Result<()> {
        self.set_len(end)?;
        self.seek(SeekFrom::Start(end)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

pub(super) struct Disk {
    medium: Box<dyn Medium>,
    /// Where the next chunk goes.
    pub end: u64,
    /// Space that the system has promised, beyond what is written.
    promised: u64,
    /// The size at which the recording ends by itself.
    pub max_bytes: u64,
}

impl Disk {
    pub(super) fn new(medium: Box<dyn Medium>, end: u64) -> Self {
        Self { medium, end, promised: end, max_bytes: u64::MAX }
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
        match self.medium.write_all(bytes) {
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
        // Nothing better can be done: a reader finds the cut.
        let _ = self.medium.cut(self.end);
        self.promised = self.end;
    }

    /// Asks for space in strides, so that a full disk is met before a chunk is half-written.
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
                self.give_back();
                Err(e)
            }
        }
    }

    /// Makes it durable; what was promised and not used goes back.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.give_back();
        self.medium.sync()
    }
}
