//! `flashback` of a running cluster: closes each region, writes it back and opens it again.
mod locks;

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use kvproto::{
    debugpb::FlashbackToVersionRequest,
    kvrpcpb::{MvccInfo, Op},
    pdpb,
};
use security::SecurityManager;
use serde_json::json;

use super::apply::{WriteOptions, confirm};
use crate::{
    Error, Online, Result,
    cli::Global,
    pd::Pd,
    print::output::Output,
    source::Source,
    write::{Flashback, UndoFile},
};

/// Total time for all attempts, as in TiKV's tool.
const TIMEOUT: Duration = Duration::from_secs(1800);
/// Pause before the first retry; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A region to flash back.
#[derive(Clone, Debug)]
struct Job {
    region_id: u64,
    store_id: u64,
    /// Intersection of the region and the requested range, in PD's form of keys; an empty end is unbounded.
    start: Vec<u8>,
    end: Vec<u8>,
    /// Start timestamp of the attempt that closed the region.
    start_ts: u64,
}

/// The cluster and the state of the flashback.
struct Cluster<'a> {
    pd: Pd,
    security: SecurityManager,
    /// Open connections by store id.
    stores: BTreeMap<u64, Online>,
    wanted: &'a Flashback,
    deadline: Instant,
    pause: Duration,
}

/// Runs the flashback that `wanted` describes. With `undo` it reverts an earlier one and writes no undo file.
pub fn run(
    wanted: &Flashback,
    undo: bool,
    how: &WriteOptions,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<()> {
    let name = if undo { "undo" } else { "flashback" };
    let mut cluster = Cluster {
        pd: Pd::connect(global)?,
        security: global.security()?,
        stores: BTreeMap::new(),
        wanted,
        deadline: Instant::now() + TIMEOUT,
        pause: PAUSE,
    };
    let jobs = cluster.jobs()?;
    if how.dry_run {
        return cluster.dry_run(name, &jobs, out);
    }
    announce(name, wanted, jobs.len(), how, out)?;
    let ended = cluster.end_committed(out)?;
    if ended > 0 {
        out.note(&format!(
            "{ended} keys were committed first because the primaries of their transactions are committed"
        ));
    }
    let start_ts = cluster.pd.tso()?;
    let prepared = cluster.prepare(start_ts, out)?;
    let commit_ts = cluster.pd.tso()?;
    let mut undo_file = None;
    if !undo {
        let path = how.undo_file.clone().unwrap_or_else(|| UndoFile::default_path(name));
        let back = Flashback { version: commit_ts - 1, pd: global.pd.clone(), ..wanted.clone() };
        UndoFile::for_flashback(back).write(&path)?;
        out.note(&format!("to undo it: tikv-ctl undo {}", path.display()));
        undo_file = Some(path.display().to_string());
    }
    cluster.finish(&prepared, commit_ts, out)?;
    out.either(
        || "flashback all stores success!".to_owned(),
        || {
            json!({
                "command": name, "dry_run": false, "version": wanted.version, "start_ts": start_ts,
                "commit_ts": commit_ts, "undo_file": undo_file,
                "regions": prepared.iter().map(|job| job.region_id).collect::<Vec<_>>(),
            })
        },
    )
}

/// Asks for confirmation, and prints TiKV's first line.
fn announce(
    name: &str,
    wanted: &Flashback,
    regions: usize,
    how: &WriteOptions,
    out: &mut Output<'_>,
) -> Result<()> {
    let (start, end) = (keys::hex_upper(&wanted.start), keys::hex_upper(&wanted.end));
    let version = wanted.version;
    let what = format!(
        "{regions} regions from [{start}] to [{end}) go back to version {version} and take no other requests until it is \
         done. Halt PD's scheduling first (pd-ctl config set halt-scheduling true). --dry-run shows what would change."
    );
    confirm(name, &what, how, out)?;
    if out.is_json() {
        return Ok(());
    }
    out.line(format!("flashback whole cluster with version {version} from [{start}] to [{end}]"))
}

/// Returns the earlier of two ends; an empty end is unbounded.
fn earlier_end(a: &[u8], b: &[u8]) -> Vec<u8> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b.to_vec(),
        (_, true) => a.to_vec(),
        _ => a.min(b).to_vec(),
    }
}

impl Cluster<'_> {
    /// Returns the requested regions as PD has them now.
    fn jobs(&self) -> Result<Vec<Job>> {
        let Flashback { regions, start, end, .. } = self.wanted;
        let found = self.pd.scan(start, end)?;
        let missing = regions.iter().find(|id| !found.iter().any(|r| region_id(r) == **id));
        if let Some(id) = missing {
            return Err(Error::other(format!(
                "PD has no region {id}: list the regions with tikv-ctl region or pd-ctl region"
            )));
        }
        let is_wanted = |region: &&pdpb::Region| regions.is_empty() || regions.contains(&region_id(region));
        let job = |region: &pdpb::Region| {
            let meta = region.region.clone().unwrap_or_default();
            Job {
                region_id: meta.id,
                store_id: region.leader.as_ref().map_or(0, |leader| leader.store_id),
                start: meta.start_key.max(start.clone()),
                end: earlier_end(&meta.end_key, end),
                start_ts: 0,
            }
        };
        Ok(found.iter().filter(is_wanted).map(job).collect())
    }

    fn store(&mut self, id: u64) -> Result<&Online> {
        if !self.stores.contains_key(&id) {
            let address = self.pd.store(id)?.address;
            self.stores.insert(id, Online::connect(&address, &self.security)?);
        }
        self.stores.get(&id).ok_or_else(|| Error::other(format!("store {id} is not connected")))
    }

    /// Sends one flashback call for one region.
    fn call(&mut self, job: &Job, start_ts: u64, commit_ts: u64) -> Result<()> {
        let request = FlashbackToVersionRequest {
            version: self.wanted.version,
            region_id: job.region_id,
            start_key: job.start.clone(),
            end_key: job.end.clone(),
            start_ts,
            commit_ts,
            ..Default::default()
        };
        self.store(job.store_id)?
            .flashback_to_version(request)
            .map_err(|e| e.into_error("DebugClient::flashback_to_version"))
    }

    /// Reports the failure and pauses; returns an error once the deadline has passed.
    fn retry(&mut self, what: &str, job: &Job, e: &Error, out: &mut Output<'_>) -> Result<()> {
        let text = format!(
            "{what} flashback region {} to version {} failed: {e}",
            job.region_id, self.wanted.version
        );
        if Instant::now() >= self.deadline {
            return Err(Error::other(format!(
                "{text}; closed regions stay closed: run the same command again to continue with them"
            )));
        }
        out.note(&format!("{text}; retrying"));
        // The store may be down, or have another address.
        self.stores.remove(&job.store_id);
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        Ok(())
    }

    /// Closes all regions, including those that splits create while it runs.
    fn prepare(&mut self, start_ts: u64, out: &mut Output<'_>) -> Result<Vec<Job>> {
        let mut done: BTreeMap<u64, Job> = BTreeMap::new();
        loop {
            let mut failed = false;
            for job in self.jobs()? {
                if done.contains_key(&job.region_id) {
                    continue;
                }
                match self.prepare_one(&job, start_ts) {
                    Ok(job) => drop(done.insert(job.region_id, job)),
                    Err(e) => {
                        failed = true;
                        self.retry("prepare", &job, &e, out)?;
                    }
                }
                out.tick("regions prepared");
            }
            let jobs: Vec<Job> = done.values().cloned().collect();
            if !failed
                && (!self.wanted.regions.is_empty() || covers(&jobs, &self.wanted.start, &self.wanted.end))
            {
                return Ok(jobs);
            }
            if Instant::now() >= self.deadline {
                return Err(Error::other(
                    "PD still reports gaps between the regions after half an hour: run the same command again when \
                     they are closed",
                ));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Closes a region; returns its bounds and the attempt's start timestamp as the region records them.
    fn prepare_one(&mut self, job: &Job, start_ts: u64) -> Result<Job> {
        self.call(job, start_ts, 0)?;
        let (start, end) = (self.wanted.start.clone(), self.wanted.end.clone());
        let info = self.store(job.store_id)?.region_info(job.region_id);
        let info = info.map_err(|e| e.into_error("DebugClient::region_info"))?;
        let region = info.region_local_state.and_then(|state| state.region).unwrap_or_default();
        Ok(Job {
            start: region.start_key.max(start),
            end: earlier_end(&region.end_key, &end),
            start_ts: if region.flashback_start_ts > 0 { region.flashback_start_ts } else { start_ts },
            ..job.clone()
        })
    }

    /// Writes all regions back and opens them.
    fn finish(&mut self, prepared: &[Job], commit_ts: u64, out: &mut Output<'_>) -> Result<()> {
        for job in prepared {
            let mut job = job.clone();
            while let Err(e) = self.call(&job, job.start_ts, commit_ts) {
                self.retry("finish", &job, &e, out)?;
                // Another store may lead the region now, or the region was opened and the reply was lost.
                if let Ok((_, Some(leader))) = self.pd.region(job.region_id) {
                    job.store_id = leader.store_id;
                }
                if self.is_open(&job) {
                    break;
                }
            }
            out.tick("regions finished");
        }
        Ok(())
    }

    /// Whether the region is open again.
    fn is_open(&mut self, job: &Job) -> bool {
        let info = self.store(job.store_id).ok().and_then(|store| store.region_info(job.region_id).ok());
        let region = info.and_then(|info| info.region_local_state?.region);
        region.is_some_and(|region| !region.is_in_flashback)
    }

    /// Lists the changes without making them.
    fn dry_run(&mut self, name: &str, jobs: &[Job], out: &mut Output<'_>) -> Result<()> {
        let version = self.wanted.version;
        let (mut changes, mut list) = (0u64, Vec::new());
        for job in jobs {
            let (from, to) = (keys::data_key(&job.start), keys::data_end_key(&job.end));
            let (json, region_id) = (out.is_json(), job.region_id);
            if !json {
                let (start, end) = (keys::hex_upper(&job.start), keys::hex_upper(&job.end));
                out.line(format!(
                    "region {region_id}, led by store {}, from [{start}] to [{end})",
                    job.store_id
                ))?;
            }
            let store = self.store(job.store_id)?;
            let scanned = store.scan_mvcc(&from, &to, 0, &mut |key, info: &mut MvccInfo| {
                for (cf, why) in key_changes(info, version) {
                    changes += 1;
                    let key = keys::hex_upper(key);
                    if json {
                        list.push(json!({ "region_id": region_id, "in": cf, "key": key, "why": why }));
                    } else {
                        out.line(format!("CF {cf}, key {key}: {why}"))?;
                    }
                }
                out.tick("keys");
                Ok(())
            });
            scanned.map_err(|e| e.into_error("DebugClient::scan_mvcc"))?;
        }
        if out.is_json() {
            let regions: Vec<u64> = jobs.iter().map(|job| job.region_id).collect();
            return out.json(&json!({
                "command": name, "dry_run": true, "version": version, "regions": regions, "changes": list
            }));
        }
        out.line(format!("{changes} changes; nothing was changed (--dry-run)"))
    }
}

fn region_id(region: &pdpb::Region) -> u64 {
    region.region.as_ref().map_or(0, |region| region.id)
}

/// Whether the jobs, in any order, leave no gap from `start` to `end`.
fn covers(jobs: &[Job], start: &[u8], end: &[u8]) -> bool {
    let mut ranges: Vec<(&[u8], &[u8])> = jobs.iter().map(|job| (&*job.start, &*job.end)).collect();
    ranges.sort();
    let mut at = start;
    for (from, to) in ranges {
        if from > at {
            return false;
        }
        if to.is_empty() {
            return true;
        }
        at = at.max(to);
    }
    !end.is_empty() && at >= end
}

/// Returns the changes of one key: column family and reason.
fn key_changes(info: &MvccInfo, version: u64) -> Vec<(&'static str, String)> {
    let mut changes = Vec::new();
    if let Some(lock) = &info.lock {
        changes.push(("lock", format!("transaction {} is rolled back", lock.start_ts)));
    }
    let is_change = |kind: Op| matches!(kind, Op::Put | Op::Del);
    let writes = || info.writes.iter().filter(|write| is_change(write.r#type()));
    if writes().any(|write| write.commit_ts > version) {
        let then = writes().filter(|write| write.commit_ts <= version).max_by_key(|write| write.commit_ts);
        changes.push((
            "write",
            match then {
                Some(write) if write.r#type() == Op::Put => format!("as committed at {}", write.commit_ts),
                _ => format!("not there at {version}"),
            },
        ));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(start: &[u8], end: &[u8]) -> Job {
        Job { region_id: 1, store_id: 1, start: start.to_vec(), end: end.to_vec(), start_ts: 0 }
    }

    #[test]
    fn gaps_between_regions_are_seen() {
        assert!(covers(&[job(b"b", b""), job(b"", b"b")], b"", b""));
        assert!(covers(&[job(b"a", b"c")], b"a", b"c"));
        assert!(!covers(&[job(b"", b"b"), job(b"c", b"")], b"", b""));
        assert!(!covers(&[job(b"a", b"b")], b"a", b"c"));
        assert!(!covers(&[], b"", b""));
        assert_eq!((earlier_end(b"", b"b"), earlier_end(b"a", b"")), (b"b".to_vec(), b"a".to_vec()));
    }
}
