//! Kills the process with all stores by `kill -9`; all acknowledged writes survive.
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
};

use crate::harness::{Cluster, REGION, WAIT, quick_config, read, until};

/// Variable that passes the directory to the process that will be killed.
const DIR: &str = "RAFTSTORE_KILL_TEST_DIR";
const ROUNDS: u64 = 2;
/// Acknowledged writes after which the process is killed.
const ACKNOWLEDGED: u64 = 150;

fn key(round: u64, n: u64) -> Vec<u8> {
    format!("key-{round}-{n:06}").into_bytes()
}

/// Runs in a process of its own: writes without end and prints each acknowledged write.
#[test]
#[ignore = "run by `nothing_acknowledged_by_three_stores_is_lost` in its own process"]
fn writer() {
    let Ok(value) = std::env::var(DIR) else { return };
    let (rest, round) = value.rsplit_once(':').unwrap();
    let (dir, count) = rest.rsplit_once(':').unwrap();
    let (count, round): (u64, u64) = (count.parse().unwrap(), round.parse().unwrap());
    let stores: Vec<u64> = (1..=count).collect();
    let cluster = Cluster::open(Path::new(dir), &stores, quick_config());
    for n in 0..100_000 {
        cluster.must_put(&key(round, n), &n.to_be_bytes());
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs the writer until enough writes are acknowledged, then kills it. Returns the last acknowledged write.
fn write_and_kill(dir: &Path, stores: usize, round: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::writer", "--ignored", "--nocapture"])
        .env(DIR, format!("{}:{stores}:{round}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tx, rx) = channel();
    let reader = thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.split("acknowledged ").nth(1).and_then(|n| n.trim().parse::<u64>().ok()) {
                let _ = tx.send(n);
            }
        }
    });
    let mut last = 0;
    while last < ACKNOWLEDGED {
        last = rx.recv_timeout(WAIT).expect("the writer continues to write");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    rx.try_iter().last().unwrap_or(last)
}

#[test]
fn nothing_acknowledged_by_three_stores_is_lost() {
    check_nothing_is_lost(&[1, 2, 3]);
}

#[test]
fn nothing_acknowledged_by_two_stores_is_lost() {
    check_nothing_is_lost(&[1, 2]);
}

fn check_nothing_is_lost(stores: &[u64]) {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.push(write_and_kill(dir.path(), stores.len(), round));
    }
    let cluster = Cluster::open(dir.path(), stores, quick_config());
    cluster.must_put(b"alive", b"again");
    let leader = cluster.wait_leader(REGION);
    let snap = until("a read", || cluster.snapshot(leader, cluster.header(leader, REGION)).ok());
    for (round, last) in acknowledged.into_iter().enumerate() {
        for n in 0..=last {
            let value = read(&snap, &key(round as u64, n));
            assert_eq!(value.as_deref(), Some(&n.to_be_bytes()[..]), "round {round}, write {n} of {last}");
        }
    }
}
