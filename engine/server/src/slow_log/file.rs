//! A log file that may fail: lines that cannot be written are counted, and the failure is logged once.
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Pause before a failed file is opened again.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// Number of lines lost since the last successful write.
    lost: u64,
    failed: Option<Instant>,
}

impl LogFile {
    /// Never fails: logs that the file cannot be written, and tries again later.
    pub(super) fn open(path: PathBuf) -> Self {
        let mut opened = Self { path, file: None, lost: 0, failed: None };
        if let Err(e) = opened.reopen() {
            opened.fail(&e);
        }
        opened
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = Some(OpenOptions::new().create(true).append(true).open(&self.path)?);
        Ok(())
    }

    /// Logs the first failure and counts the others.
    fn fail(&mut self, e: &io::Error) {
        self.file = None;
        if self.failed.replace(Instant::now()).is_none() {
            log::error!(
                "the slow log {} cannot be written: {e}; the store continues without it and tries again every {} s",
                self.path.display(),
                RETRY.as_secs()
            );
        }
    }

    pub(super) fn write(&mut self, line: &str) {
        if self.file.is_none() && self.failed.is_some_and(|at| at.elapsed() < RETRY) {
            self.lost += 1;
            return;
        }
        match self.try_write(line) {
            Ok(()) if self.failed.take().is_some() => {
                let lost = std::mem::take(&mut self.lost);
                log::warn!("writing the slow log {} again; {lost} lines were lost", self.path.display());
            }
            Ok(()) => {}
            Err(e) => {
                self.lost += 1;
                self.fail(&e);
            }
        }
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        if self.file.is_none() || self.was_moved() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(line.as_bytes())
    }

    /// Returns whether a log rotation has moved the file.
    fn was_moved(&self) -> bool {
        let there = std::fs::metadata(&self.path).map(|m| (m.dev(), m.ino()));
        let ours = self.file.as_ref().map(File::metadata);
        match (there, ours) {
            (Ok(there), Some(Ok(ours))) => there != (ours.dev(), ours.ino()),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_path_after_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slow.log");
        let mut log = LogFile::open(path.clone());
        log.write("1\n");
        std::fs::rename(&path, dir.path().join("slow.log.1")).unwrap();
        log.write("2\n");
        log.write("3\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n3\n");
    }

    #[test]
    fn failed_lines_are_counted_and_writing_resumes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not-there").join("slow.log");
        let mut log = LogFile::open(path.clone());
        assert!(log.failed.is_some());
        log.write("1\n");
        log.write("2\n");
        assert_eq!(log.lost, 2);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        log.failed = Some(Instant::now() - RETRY);
        log.write("3\n");
        assert_eq!((log.lost, log.failed), (0, None));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
    }

    #[test]
    fn a_full_disk_loses_only_lines() {
        // Linux' device that is always full.
        let mut log = LogFile::open("/dev/full".into());
        assert!(log.failed.is_none());
        log.write("1\n");
        assert_eq!((log.lost, log.file.is_none(), log.failed.is_some()), (1, true, true));
    }
}
