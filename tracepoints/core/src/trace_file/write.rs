//! Writes a trace file. Every chunk goes to the system as soon as it is whole, so a killed program loses at most the last.
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{
    TraceFileError,
    chunk::{self, Kind, Row, Site, Thread},
    header,
    read::TraceFile,
};
use crate::{clock, recorder::Stamp, site::StampSite, thread, trace::TraceRecord};

/// Stamps of one chunk at the most: a damaged chunk costs no more than these.
const STAMPS_PER_CHUNK: usize = 8192;

pub struct TraceFileWriter {
    file: File,
    path: PathBuf,
    /// Sites by address, and threads by id, to their numbers in the file.
    sites: HashMap<usize, u32>,
    threads: HashMap<u16, u16>,
    next_site: u32,
    next_thread: u16,
    written: u64,
}

impl TraceFileWriter {
    /// Makes a new file.
    ///
    /// # Errors
    /// If it exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self, TraceFileError> {
        let file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => TraceFileError::Exists(path.into()),
                _ => TraceFileError::Io { path: path.into(), source: e },
            })?;
        let mut writer = Self::over(file, path, (0, 0));
        writer.raw(&header())?;
        Ok(writer)
    }

    /// Goes on with a file; what a killed program left half-written at its end is cut off.
    ///
    /// # Errors
    /// If it is not a trace file, or cannot be written.
    pub fn append(path: &Path) -> Result<Self, TraceFileError> {
        let (tables, end) = {
            let before = TraceFile::open(path)?;
            (before.table_sizes(), before.end())
        };
        let io = |source| TraceFileError::Io { path: path.into(), source };
        OpenOptions::new().write(true).open(path).and_then(|f| f.set_len(end)).map_err(io)?;
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        Ok(Self::over(file, path, tables))
    }

    fn over(file: File, path: &Path, (next_site, next_thread): (u32, u16)) -> Self {
        let (sites, threads) = (HashMap::new(), HashMap::new());
        Self { file, path: path.into(), sites, threads, next_site, next_thread, written: 0 }
    }

    /// Appends a finished trace, as one chunk.
    ///
    /// # Errors
    /// If it cannot be written or is too large.
    pub fn trace(&mut self, trace: &TraceRecord) -> Result<(), TraceFileError> {
        let json = serde_json::to_vec(trace).map_err(TraceFileError::Encode)?;
        self.chunk(Kind::Trace, &json)
    }

    /// Appends stamps whose `at` is in ns since the process first read its clock.
    pub(crate) fn stamps(&mut self, stamps: &[Stamp]) -> Result<(), TraceFileError> {
        for some in stamps.chunks(STAMPS_PER_CHUNK) {
            self.tables(some)?;
            let mut content = Vec::with_capacity(some.len() * chunk::STAMP);
            for stamp in some {
                let site = stamp.site.and_then(|s| self.sites.get(&address(s)));
                if let (Some(site), Some(thread)) = (site, self.threads.get(&stamp.thread)) {
                    Row::new(stamp, clock::unix_base_ns() + stamp.at, *site, *thread).put(&mut content);
                }
            }
            self.chunk(Kind::Stamps, &content)?;
            self.written += (content.len() / chunk::STAMP) as u64;
        }
        Ok(())
    }

    /// Numbers the sites and threads that are new, ahead of the stamps that name them.
    fn tables(&mut self, stamps: &[Stamp]) -> Result<(), TraceFileError> {
        let (mut sites, mut threads) = (Vec::new(), Vec::new());
        for stamp in stamps {
            if let Some(site) = stamp.site
                && !self.sites.contains_key(&address(site))
            {
                self.sites.insert(address(site), self.next_site);
                self.next_site += 1;
                sites.push(describe(site));
            }
            if !self.threads.contains_key(&stamp.thread) {
                let info = thread::info(stamp.thread);
                self.threads.insert(stamp.thread, self.next_thread);
                self.next_thread = self.next_thread.saturating_add(1);
                threads.push(Thread { name: info.name, store: info.store });
            }
        }
        self.table(Kind::Sites, &sites)?;
        self.table(Kind::Threads, &threads)
    }

    fn table<T: serde::Serialize>(&mut self, kind: Kind, rows: &[T]) -> Result<(), TraceFileError> {
        if rows.is_empty() {
            return Ok(());
        }
        let json = serde_json::to_vec(rows).map_err(TraceFileError::Encode)?;
        self.chunk(kind, &json)
    }

    fn chunk(&mut self, kind: Kind, content: &[u8]) -> Result<(), TraceFileError> {
        if content.len() > chunk::MAX {
            return Err(TraceFileError::TooLarge { len: content.len() });
        }
        let mut whole = Vec::with_capacity(chunk::HEADER + content.len());
        whole.extend_from_slice(&chunk::head(kind, content));
        whole.extend_from_slice(content);
        self.raw(&whole)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), TraceFileError> {
        self.file.write_all(bytes).map_err(|e| self.error(e))
    }

    fn error(&self, source: io::Error) -> TraceFileError {
        TraceFileError::Io { path: self.path.clone(), source }
    }

    /// Makes the file durable; returns how many stamps were written.
    ///
    /// # Errors
    /// If the system could not write it to the disk.
    pub fn finish(self) -> Result<u64, TraceFileError> {
        self.file.sync_all().map_err(|e| self.error(e))?;
        Ok(self.written)
    }
}

fn address(site: &'static StampSite) -> usize {
    std::ptr::from_ref(site) as usize
}

fn describe(site: &StampSite) -> Site {
    Site {
        stage: if site.is_mark() { String::new() } else { site.stage.name().into() },
        file: site.file.into(),
        line: site.line,
        function: site.function(),
        fields: site.fields.iter().map(|f| (*f).to_owned()).collect(),
    }
}
