//! Concurrent transactions of real clients on three stores, while leaders move and stores are cut off and killed.
//! The histories must be snapshot isolation in the order of real time.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use histories::{History, Isolation, Op, Options, Order, Outcome, Transaction, check_with, wrong_totals};
use kvproto::{kvrpcpb::SplitRegionRequest, tikvpb::tikv_client::TikvClient};
use recipes::{
    cluster::{Cluster, ClusterConfig},
    directive::Who,
};
use tikv_client::{CheckLevel, Transaction as ClientTransaction, TransactionClient, TransactionOptions};
use tokio::runtime::{Builder, Runtime};

/// Upper bound of one operation of a client; a transaction beyond it has an unknown outcome.
const BOUND: Duration = Duration::from_secs(20);
/// Time in which clients write between two faults.
const PAUSE: Duration = Duration::from_millis(1_200);
const CLIENTS: u32 = 5;
/// Time for which the client's locks live. After it any reader of this client removes a lock with `KvCleanup`, which
/// rolls back an async commit that the client has reported: the client resolves such locks as those of a 2PC.
const LOCK_TTL: Duration = Duration::from_secs(3);
/// Keys of lists and of registers; few, so that transactions conflict.
const KEYS: u32 = 3;
const ACCOUNTS: u32 = 4;
const BALANCE: u64 = 25;
/// Number of keys that a read of the workload `LongFork` reads.
const FORKS: u64 = 4;

/// Several clusters at a time would be too slow for the bounds.
static ONE_CLUSTER: Mutex<()> = Mutex::new(());

/// Operations of one transaction of the workload.
#[derive(Clone, Copy)]
enum Workload {
    /// Reads two lists and appends to one of them.
    Lists,
    /// Reads all accounts and moves 1 from one account to another.
    Bank,
    /// Reads two registers and writes one of them: no value goes back, and none is lost.
    Registers,
    /// Writes one new key, or reads the newest keys: two reads must not see two writes in different orders.
    LongFork,
    /// As `Registers`, but all reads lock their keys: then even a write skew is impossible.
    WriteSkew,
}

/// A transaction of the client, and whether its reads lock their keys.
struct Open {
    inner: ClientTransaction,
    locks: bool,
}

struct Client {
    process: u32,
    runtime: Runtime,
    client: TransactionClient,
    options: TransactionOptions,
    /// Whether this client writes the commit records after it has reported the commit.
    commits_async: bool,
    began: Instant,
    next_value: Arc<AtomicU64>,
    random: u64,
}

impl Client {
    fn connect(cluster: &Cluster, process: u32, began: Instant, next_value: &Arc<AtomicU64>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let connect = TransactionClient::new(vec![cluster.pd_endpoint()]);
        let client = runtime.block_on(async { tokio::time::timeout(BOUND, connect).await }).unwrap().unwrap();
        // The clients differ in their way to commit.
        let options = match process % 4 {
            0 => TransactionOptions::new_optimistic(),
            1 => TransactionOptions::new_optimistic().use_async_commit(),
            2 => TransactionOptions::new_optimistic().try_one_pc(),
            _ => TransactionOptions::new_pessimistic(),
        };
        let next_value = next_value.clone();
        let (commits_async, random) = (process % 4 == 1, 1 + u64::from(process));
        Self { process, runtime, client, options, commits_async, began, next_value, random }
    }

    /// Returns a number below `limit` (xorshift: the choices need no other quality).
    fn choose(&mut self, limit: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % u64::from(limit)) as u32
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Runs transactions until `stop`; returns them as a history sees them.
    fn run(mut self, workload: Workload, stop: &AtomicBool) -> Vec<Transaction> {
        if matches!(workload, Workload::WriteSkew) {
            (self.options, self.commits_async) = (TransactionOptions::new_pessimistic(), false);
        }
        let mut seen = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let keys = match workload {
                Workload::Lists | Workload::Registers | Workload::LongFork | Workload::WriteSkew => {
                    (self.choose(KEYS), self.choose(KEYS))
                }
                Workload::Bank => (self.choose(ACCOUNTS), self.choose(ACCOUNTS)),
            };
            let (value, invoked) = (self.next_value.fetch_add(1, Ordering::Relaxed), self.now());
            let mut ops = Vec::new();
            let work = async {
                let options = self.options.clone().drop_check(CheckLevel::None);
                let inner = self.client.begin_with_options(options).await?;
                let mut txn = Open { inner, locks: self.options.is_pessimistic() };
                let done = match workload {
                    Workload::Lists => append(&mut txn, keys, value, &mut ops).await,
                    Workload::Bank => transfer(&mut txn, keys, &mut ops).await,
                    Workload::Registers | Workload::WriteSkew => {
                        replace(&mut txn, keys, value, &mut ops).await
                    }
                    Workload::LongFork => fork(&mut txn, value, &mut ops).await,
                };
                if let Err(e) = done {
                    let _ = txn.inner.rollback().await;
                    return Ok::<_, tikv_client::Error>(Err(e));
                }
                Ok(Ok(txn.inner.commit().await))
            };
            let outcome = match self.runtime.block_on(async { tokio::time::timeout(BOUND, work).await }) {
                Ok(Ok(Ok(Ok(_)))) => Outcome::Ok,
                // Nothing was sent that could commit.
                Ok(Err(_) | Ok(Err(_))) => Outcome::Fail,
                Ok(Ok(Ok(Err(_)))) | Err(_) => Outcome::Unknown,
            };
            let completed = self.now();
            let outcome = match (outcome, ops.last()) {
                (Outcome::Ok, Some(Op::Append(key, value))) if self.commits_async => {
                    self.outcome_of_async(invoked, *key, *value)
                }
                // A later value may have replaced it, so a read decides nothing.
                (Outcome::Ok, Some(Op::Write(..))) if self.commits_async => Outcome::Unknown,
                (outcome, _) => outcome,
            };
            seen.push(Transaction { process: self.process, invoked, completed, outcome, ops });
        }
        seen
    }

    /// Waits until the lock of an async commit is gone, and returns its outcome.
    /// The outcome is unknown only if the value is absent after a time in which another client may have removed the
    /// lock.
    fn outcome_of_async(&self, invoked: u64, key: u32, value: u64) -> Outcome {
        let list = self.read_until_done(async |ops| {
            let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
            let inner = self.client.begin_with_options(options).await?;
            let mut txn = Open { inner, locks: false };
            ops.push(Op::List(key, read_list(&mut txn, key).await?));
            txn.inner.rollback().await
        });
        let found = list.iter().any(|op| matches!(op, Op::List(_, values) if values.contains(&value)));
        let expired = self.now() - invoked >= LOCK_TTL.as_nanos() as u64;
        if !found && expired { Outcome::Unknown } else { Outcome::Ok }
    }

    /// Reads everything that the workload writes, in one transaction.
    fn read_all(&self, workload: Workload) -> Transaction {
        let invoked = self.now();
        let ops = self.read_until_done(async |ops| {
            let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
            let inner = self.client.begin_with_options(options).await?;
            let mut txn = Open { inner, locks: false };
            match workload {
                Workload::Lists => {
                    for key in 0..KEYS {
                        ops.push(Op::List(key, read_list(&mut txn, key).await?));
                    }
                }
                Workload::Bank => {
                    for account in 0..ACCOUNTS {
                        ops.push(Op::Read(account, Some(read_balance(&mut txn, account).await?)));
                    }
                }
                Workload::Registers | Workload::WriteSkew => {
                    for key in 0..KEYS {
                        ops.push(Op::Read(key, read_register(&mut txn, key).await?));
                    }
                }
                Workload::LongFork => {}
            }
            txn.inner.rollback().await
        });
        Transaction { process: self.process, invoked, completed: self.now(), outcome: Outcome::Ok, ops }
    }

    /// Repeats a read-only transaction until it succeeds; returns what it read.
    fn read_until_done(&self, read: impl AsyncFn(&mut Vec<Op>) -> Result<(), tikv_client::Error>) -> Vec<Op> {
        let deadline = Instant::now() + 3 * BOUND;
        loop {
            let mut ops = Vec::new();
            let done = self.runtime.block_on(async { tokio::time::timeout(BOUND, read(&mut ops)).await });
            if matches!(done, Ok(Ok(()))) {
                return ops;
            }
            // A store may have no leader yet, or a lock of a killed client lives on for seconds.
            assert!(Instant::now() < deadline, "expected a read after the faults, found {done:?}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

fn list_key(key: u32) -> Vec<u8> {
    format!("list{key}").into_bytes()
}

fn account_key(account: u32) -> Vec<u8> {
    format!("account{account}").into_bytes()
}

/// Reads a key. A pessimistic transaction locks the key: a plain read returns the value at its start, but its writes
/// follow later versions.
async fn read(txn: &mut Open, key: Vec<u8>) -> Result<Option<String>, tikv_client::Error> {
    let value = if txn.locks { txn.inner.get_for_update(key).await? } else { txn.inner.get(key).await? };
    Ok(value.map(|text| String::from_utf8(text).unwrap()))
}

async fn read_list(txn: &mut Open, key: u32) -> Result<Vec<u64>, tikv_client::Error> {
    let text = read(txn, list_key(key)).await?.unwrap_or_default();
    Ok(text.split_whitespace().map(|number| number.parse().unwrap()).collect())
}

async fn read_balance(txn: &mut Open, account: u32) -> Result<u64, tikv_client::Error> {
    Ok(read(txn, account_key(account)).await?.map_or(BALANCE, |text| text.parse().unwrap()))
}

/// Reads two lists and appends `value` to the first one.
async fn append(
    txn: &mut Open,
    keys: (u32, u32),
    value: u64,
    ops: &mut Vec<Op>,
) -> Result<(), tikv_client::Error> {
    // In the order of the keys, so that locks do not wait for each other.
    let mut lists = BTreeMap::new();
    for key in BTreeSet::from([keys.0, keys.1]) {
        let list = read_list(txn, key).await?;
        ops.push(Op::List(key, list.clone()));
        lists.insert(key, list);
    }
    let values = lists.entry(keys.0).or_default();
    values.push(value);
    let text: Vec<String> = values.iter().map(u64::to_string).collect();
    txn.inner.put(list_key(keys.0), text.join(" ").into_bytes()).await?;
    ops.push(Op::Append(keys.0, value));
    Ok(())
}

/// Reads all accounts and moves 1 from one to another.
async fn transfer(
    txn: &mut Open,
    (from, to): (u32, u32),
    ops: &mut Vec<Op>,
) -> Result<(), tikv_client::Error> {
    let mut balances = Vec::new();
    for account in 0..ACCOUNTS {
        let balance = read_balance(txn, account).await?;
        balances.push(balance);
        ops.push(Op::Read(account, Some(balance)));
    }
    if from == to || balances[from as usize] == 0 {
        return Ok(());
    }
    txn.inner.put(account_key(from), (balances[from as usize] - 1).to_string().into_bytes()).await?;
    txn.inner.put(account_key(to), (balances[to as usize] + 1).to_string().into_bytes()).await
}

fn register_key(register: u32) -> Vec<u8> {
    format!("register{register}").into_bytes()
}

async fn read_register(txn: &mut Open, register: u32) -> Result<Option<u64>, tikv_client::Error> {
    Ok(read(txn, register_key(register)).await?.map(|text| text.parse().unwrap()))
}

/// Reads two registers and writes `value` to the first one.
async fn replace(
    txn: &mut Open,
    keys: (u32, u32),
    value: u64,
    ops: &mut Vec<Op>,
) -> Result<(), tikv_client::Error> {
    // In the order of the keys, so that locks do not wait for each other.
    for key in BTreeSet::from([keys.0, keys.1]) {
        ops.push(Op::Read(key, read_register(txn, key).await?));
    }
    txn.inner.put(register_key(keys.0), value.to_string().into_bytes()).await?;
    ops.push(Op::Write(keys.0, value));
    Ok(())
}

/// Writes the key of an even `value`; for an odd one, reads the keys of the even values below it, which other clients
/// write now.
async fn fork(txn: &mut Open, value: u64, ops: &mut Vec<Op>) -> Result<(), tikv_client::Error> {
    if value.is_multiple_of(2) {
        let key = value as u32;
        txn.inner.put(register_key(key), value.to_string().into_bytes()).await?;
        ops.push(Op::Write(key, value));
        return Ok(());
    }
    for back in 0..FORKS {
        let Some(key) = value.checked_sub(1 + 2 * back) else { break };
        ops.push(Op::Read(key as u32, read_register(txn, key as u32).await?));
    }
    Ok(())
}

/// Runs the workload while `faults` happen; returns what the clients saw, and a last read of everything.
fn history(workload: Workload, faults: impl FnOnce(&mut Cluster)) -> History {
    let _one = ONE_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = Cluster::start(ClusterConfig::default()).unwrap();
    let (began, next_value, stop) = (Instant::now(), Arc::new(AtomicU64::new(1)), AtomicBool::new(false));
    let clients: Vec<Client> =
        (0..CLIENTS).map(|process| Client::connect(&cluster, process, began, &next_value)).collect();
    let mut history = History::default();
    for key in 0..KEYS.max(ACCOUNTS) {
        history.key(&key.to_string());
    }
    thread::scope(|scope| {
        let run = |client: Client| scope.spawn(|| client.run(workload, &stop));
        let running: Vec<_> = clients.into_iter().map(run).collect();
        faults(&mut cluster);
        thread::sleep(PAUSE);
        stop.store(true, Ordering::Relaxed);
        for client in running {
            history.transactions.extend(client.join().unwrap());
        }
    });
    let last = Client::connect(&cluster, CLIENTS, began, &next_value).read_all(workload);
    history.transactions.push(last);
    let committed = history.transactions.iter().filter(|t| t.outcome == Outcome::Ok).count();
    assert!(
        committed > 20,
        "expected transactions to commit between the faults, found {committed}:\n{history}"
    );
    history
}

/// Moves the leader, cuts it off, and kills it, each with a pause before.
fn all_faults(cluster: &mut Cluster) {
    thread::sleep(PAUSE);
    cluster.transfer_leader(Who::Follower).unwrap();
    thread::sleep(PAUSE);
    split(cluster, &account_key(2));
    thread::sleep(PAUSE);
    let old = cluster.leader_of(b"").unwrap();
    cluster.partition(Who::Store(old)).unwrap();
    cluster.wait_for_leader_other_than(old).unwrap();
    thread::sleep(PAUSE);
    cluster.heal().unwrap();
    thread::sleep(PAUSE);
    let old = cluster.leader_of(b"").unwrap();
    cluster.stop(Who::Store(old)).unwrap();
    thread::sleep(PAUSE);
    cluster.start_store(Who::Store(old)).unwrap();
}

/// Splits the region of `key`.
fn split(cluster: &Cluster, key: &[u8]) {
    let request = SplitRegionRequest {
        context: Some(cluster.context(key).unwrap()),
        split_keys: vec![key.to_vec()],
        ..Default::default()
    };
    let leader = cluster.leader_of(key).unwrap();
    let address = cluster.servers().find(|server| server.store_id() == leader).unwrap().addr();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let reply = runtime.block_on(async {
        let mut client = TikvClient::connect(format!("http://{address}")).await.unwrap();
        tokio::time::timeout(BOUND, client.split_region(request)).await.unwrap().unwrap().into_inner()
    });
    assert!(reply.region_error.is_none(), "{reply:?}");
}

/// Checks what the clients saw, also against the order of real time.
fn must_be(workload: Workload, isolation: Isolation) {
    let history = history(workload, all_faults);
    let found = check_with(&history, Options { order: Order::RealTime, isolation });
    assert!(found.is_empty(), "{}\n\n{history}", found.iter().map(|a| format!("{a}\n")).collect::<String>());
}

#[test]
fn lists_are_snapshot_isolated_through_all_faults() {
    must_be(Workload::Lists, Isolation::Snapshot);
}

#[test]
fn registers_never_go_back_through_all_faults() {
    must_be(Workload::Registers, Isolation::Snapshot);
}

#[test]
fn reads_agree_on_the_order_of_writes_through_all_faults() {
    must_be(Workload::LongFork, Isolation::Snapshot);
}

#[test]
fn locking_reads_prevent_write_skew_through_all_faults() {
    must_be(Workload::WriteSkew, Isolation::Serializable);
}

#[test]
fn transfers_keep_the_total_through_all_faults() {
    let history = history(Workload::Bank, all_faults);
    let accounts: Vec<u32> = (0..ACCOUNTS).collect();
    let found = wrong_totals(&history, &accounts, u64::from(ACCOUNTS) * BALANCE);
    assert!(found.is_empty(), "{}\n\n{history}", found.iter().map(|a| format!("{a}\n")).collect::<String>());
}
