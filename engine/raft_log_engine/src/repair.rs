//! Rewrites log files by a script that selects which items stay. TiKV: `raft_engine::Engine::unsafe_repair`.
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use raft_engine::{Engine, env::DefaultFileSystem, internals::LogQueue};

use crate::{Error, Result};

/// Functions that a script may define, with their numbers of arguments.
const FILTERS: [(&str, usize); 3] = [("filter_append", 7), ("filter_compact", 6), ("filter_clean", 5)];

/// Files to rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairQueue {
    /// `*.raftlog`.
    Append,
    /// `*.rewrite`.
    Rewrite,
    /// Every log file.
    All,
}

/// Rewrites the files in `dir` from which the Rhai `script` omits items. The log must not be open elsewhere.
///
/// # Errors
/// An invalid script, a result other than 0, 1 or 2, or a file that cannot be read or written.
pub fn unsafe_repair(dir: &Path, queue: RepairQueue, script: &str) -> Result<()> {
    check(script)?;
    let queue = match queue {
        RepairQueue::Append => Some(LogQueue::Append),
        RepairQueue::Rewrite => Some(LogQueue::Rewrite),
        RepairQueue::All => None,
    };
    let repair = || {
        // raft-engine takes the file system's type from its file pipe log.
        Engine::<DefaultFileSystem, raft_engine::internals::FilePipeLog<DefaultFileSystem>>::unsafe_repair(
            dir,
            queue,
            script.to_owned(),
        )
    };
    // raft-engine panics on an unknown result of the script.
    match catch_unwind(AssertUnwindSafe(repair)) {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Script(
            "its functions must return 0 (keep both), 1 (omit the new item) or 2 (omit the old ones)".into(),
        )),
    }
}

/// Checks that [`unsafe_repair`] can run `script`.
fn check(script: &str) -> Result<()> {
    let engine = rhai::Engine::new();
    let ast = engine.compile(script).map_err(|e| Error::Script(e.to_string()))?;
    engine.run_ast(&ast).map_err(|e| Error::Script(e.to_string()))?;
    let mut filters = 0;
    for function in ast.iter_functions() {
        let Some((name, arguments)) = FILTERS.iter().find(|(name, _)| *name == function.name) else {
            continue;
        };
        filters += 1;
        if function.params.len() != *arguments {
            let found = function.params.len();
            return Err(Error::Script(format!("expected {name} with {arguments} arguments, found {found}")));
        }
    }
    if filters == 0 {
        let names = FILTERS.map(|(name, _)| name).join(", ");
        return Err(Error::Script(format!("expected at least one of the functions {names}, found none")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RaftEngineConfig, RaftLogEngine};

    fn why(script: &str) -> String {
        check(script).unwrap_err().to_string()
    }

    #[test]
    fn scripts_are_checked_before_anything_is_read() {
        check("fn filter_clean(id, first, count, rewrite_count, queue) { 0 }").unwrap();
        assert!(why("fn filter_clean(id) { 0 }").contains("5 arguments"));
        assert!(why("fn (").contains("script"));
        assert!(why("").contains("filter_append"));
        assert!(why("fn filter_clean(a, b, c, d, e) { 0 } throw 1").contains("script"));
    }

    #[test]
    fn an_unknown_result_is_refused_and_the_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let engine = RaftLogEngine::open(dir.path(), &RaftEngineConfig::default()).unwrap();
        let mut batch = engine.log_batch(1);
        let entry = raft::eraftpb::Entry { index: 1, term: 1, ..Default::default() };
        batch.append(7, vec![entry]).unwrap();
        engine.consume(&mut batch, true).unwrap();
        drop(engine);
        let file = dir.path().join("0000000000000001.raftlog");
        let before = std::fs::read(&file).unwrap();
        let script = "fn filter_append(id, first, count, rewrite_count, queue, ifirst, ilast) { 3 }";
        let error = unsafe_repair(dir.path(), RepairQueue::All, script).unwrap_err();
        assert!(error.to_string().contains("must return 0"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
        unsafe_repair(dir.path(), RepairQueue::All, &script.replace('3', "1")).unwrap();
        assert!(std::fs::read(&file).unwrap().len() < before.len());
    }
}
