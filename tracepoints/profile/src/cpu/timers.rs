//! One timer per thread, on that thread's CPU time. Not one for the process (ITIMER_PROF): its signals merge when several
//! threads run, so that a busy process would be undersampled. The kernel looks at these timers at its tick; periods
//! that passed in between are told as overruns, so that the sum of weights is the CPU time however coarse the tick.
use std::{collections::HashMap, fs, io, mem};

/// A thread names itself when it runs: until then it has its parent's name, which may be read when its timer is armed.
const NAME_READS: u8 = 4;

/// Timers of all threads of this process.
pub struct Timers {
    period_ns: i64,
    threads: HashMap<i32, Thread>,
    /// Threads that got no timer: the system gives no more.
    pub refused: u64,
}

struct Thread {
    /// None: refused, and not asked for again.
    timer: Option<Timer>,
    name: String,
    /// How many times its name is read again.
    name_reads: u8,
    /// CPU time that it had used when it got its timer; 0 if all of it counts.
    before_ns: u64,
}

struct Timer(libc::timer_t);

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is this one's own.
        unsafe { libc::timer_delete(self.0) };
    }
}

impl Timers {
    pub fn new(frequency: i32) -> Self {
        let period_ns = 1_000_000_000 / i64::from(frequency.max(1));
        Self { period_ns, threads: HashMap::new(), refused: 0 }
    }

    /// CPU time between two samples.
    pub fn period_ns(&self) -> i64 {
        self.period_ns
    }

    /// Arms the threads that are there now; their CPU time counts from now on.
    ///
    /// # Errors
    /// No thread got a timer.
    pub fn arm_all(&mut self) -> io::Result<()> {
        let mut last = None;
        for tid in tids()? {
            let armed = self.arm(tid, false).inspect_err(|_| self.refused += 1);
            last = armed.err().or(last);
        }
        match last {
            Some(e) if self.threads.values().all(|t| t.timer.is_none()) => Err(e),
            _ => Ok(()),
        }
    }

    /// Arms threads that have begun since, and forgets those that have ended.
    pub fn follow(&mut self) {
        let Ok(now) = tids() else { return };
        for tid in &now {
            let ended =
                self.threads.get(tid).is_some_and(|t| t.timer.as_ref().is_some_and(Timer::is_stopped));
            if ended {
                // The number belongs to a new thread.
                self.threads.remove(tid);
            }
            if !self.threads.contains_key(tid) && self.arm(*tid, true).is_err() {
                self.refused += 1;
            }
        }
        if self.threads.len() > now.len() {
            let now: std::collections::HashSet<i32> = now.into_iter().collect();
            self.threads.retain(|tid, _| now.contains(tid));
        }
    }

    /// `young`: all CPU time that the thread has used counts; it was not there before.
    fn arm(&mut self, tid: i32, young: bool) -> io::Result<()> {
        let timer = Timer::start(tid, self.period_ns, young);
        let (timer, error) = match timer {
            Ok(timer) => (Some(timer), Ok(())),
            // It ended meanwhile.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            Err(e) => (None, Err(e)),
        };
        let name = system_name(tid);
        let before_ns = if young { 0 } else { thread_cpu_ns(tid).unwrap_or(0) };
        self.threads.insert(tid, Thread { timer, name, name_reads: NAME_READS, before_ns });
        error
    }

    /// CPU time of the threads that run, since they got their timers.
    pub fn used_ns(&self) -> Vec<(i32, String, u64)> {
        let used = |(tid, t): (&i32, &Thread)| {
            Some((*tid, t.name.clone(), thread_cpu_ns(*tid)?.saturating_sub(t.before_ns)))
        };
        self.threads.iter().filter_map(used).collect()
    }

    /// Reads the name of a thread that was sampled again, the first times.
    pub fn settle_name(&mut self, tid: i32) {
        let Some(thread) = self.threads.get_mut(&tid).filter(|thread| thread.name_reads > 0) else { return };
        thread.name_reads -= 1;
        let name = system_name(tid);
        // Empty: it has ended.
        if !name.is_empty() {
            thread.name = name;
        }
    }

    /// The name that the system knows a thread by.
    pub fn name(&self, tid: i32) -> &str {
        self.threads.get(&tid).map_or("", |t| &t.name)
    }
}

impl Timer {
    fn start(tid: i32, period_ns: i64, young: bool) -> io::Result<Self> {
        let clock = clock_of(tid);
        // SAFETY: zero is a valid value of all fields.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGPROF;
        event.sigev_notify_thread_id = tid;
        // SAFETY: as above.
        let mut timer: libc::timer_t = unsafe { mem::zeroed() };
        // SAFETY: both point to this frame.
        if unsafe { libc::timer_create(clock, &mut event, &mut timer) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let timer = Self(timer);
        // Threads do not march in step: each begins at a place of its own within the period.
        let phase = (i64::from(tid) * 0x9e37_79b9).rem_euclid(period_ns) + 1;
        let (first, flags) = if young { (period_ns, libc::TIMER_ABSTIME) } else { (phase, 0) };
        let times = libc::itimerspec { it_interval: timespec(period_ns), it_value: timespec(first) };
        // SAFETY: the timer is alive and `times` is of this frame.
        if unsafe { libc::timer_settime(timer.0, flags, &times, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(timer)
    }

    /// Whether its thread has ended: a timer that runs is always due at some time.
    fn is_stopped(&self) -> bool {
        // SAFETY: zero is a valid value; the timer is alive.
        unsafe {
            let mut left: libc::itimerspec = mem::zeroed();
            libc::timer_gettime(self.0, &mut left) != 0
                || (left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0)
        }
    }
}

/// The CPU clock of a thread by its number: `CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD_MASK` of the kernel's ABI.
fn clock_of(tid: i32) -> libc::clockid_t {
    (!tid << 3) | 6
}

/// None: it has ended.
fn thread_cpu_ns(tid: i32) -> Option<u64> {
    cpu_ns(clock_of(tid))
}

fn cpu_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut now = timespec(0);
    // SAFETY: the call fills in a structure of this frame.
    let done = unsafe { libc::clock_gettime(clock, &mut now) } == 0;
    done.then(|| now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

fn timespec(ns: i64) -> libc::timespec {
    libc::timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
}

fn system_name(tid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

fn tids() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc/self/task")?;
    Ok(entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
}

/// CPU time that all threads of this process have used, those that ended included.
pub fn process_cpu_ns() -> u64 {
    cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}
