//! One timer per thread, on that thread's CPU time. A single timer for the process (ITIMER_PROF) is not
//! enough: its signals merge when several threads run, so a busy process would be undersampled. The kernel
//! checks these timers at its tick and reports periods that passed in between as overruns, so the sum of
//! weights is the CPU time even with a coarse tick.
use std::{collections::HashMap, fs, io, mem};

/// Number of times a name is read: a thread has its parent's name until it runs and names itself.
const NAME_READS: u8 = 4;

/// Timers of all threads of this process.
pub struct Timers {
    period_ns: i64,
    threads: HashMap<i32, Thread>,
    /// Number of threads for which the system refused a timer.
    pub refused: u64,
}

struct Thread {
    /// `None`: refused, and not requested again.
    timer: Option<Timer>,
    name: String,
    /// Number of further reads of its name.
    name_reads: u8,
    /// CPU time of the thread in ns when it got its timer; 0 if all of it counts.
    before_ns: u64,
}

struct Timer(libc::timer_t);

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: this value owns the timer.
        unsafe { libc::timer_delete(self.0) };
    }
}

impl Timers {
    pub fn new(frequency: i32) -> Self {
        let period_ns = 1_000_000_000 / i64::from(frequency.max(1));
        Self { period_ns, threads: HashMap::new(), refused: 0 }
    }

    /// Returns the CPU time between two samples in ns.
    pub fn period_ns(&self) -> i64 {
        self.period_ns
    }

    /// Arms timers for the current threads; their CPU time counts from now on.
    ///
    /// # Errors
    /// If no thread got a timer.
    pub fn arm_all(&mut self) -> io::Result<()> {
        let mut last = None;
        for tid in tids()? {
            let armed = self.arm(tid, false).inspect_err(|_| self.refused += 1);
            last = armed.err().or(last);
        }
        match last {
            Some(e) if self.threads.values().all(|t| t.timer.is_none()) => Err(e),
            Some(_) | None => Ok(()),
        }
    }

    /// Arms timers for new threads and removes those of ended ones.
    pub fn follow(&mut self) {
        let Ok(now) = tids() else { return };
        for tid in &now {
            let ended =
                self.threads.get(tid).is_some_and(|t| t.timer.as_ref().is_some_and(Timer::is_stopped));
            if ended {
                // The kernel reused the thread id for a new thread.
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

    /// Arms a timer; `young`: the thread is new, so all its CPU time counts.
    fn arm(&mut self, tid: i32, young: bool) -> io::Result<()> {
        let timer = Timer::start(tid, self.period_ns, young);
        let (timer, error) = match timer {
            Ok(timer) => (Some(timer), Ok(())),
            // The thread has ended in the meantime.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            Err(e) => (None, Err(e)),
        };
        let name = system_name(tid);
        let before_ns = if young { 0 } else { thread_cpu_ns(tid).unwrap_or(0) };
        self.threads.insert(tid, Thread { timer, name, name_reads: NAME_READS, before_ns });
        error
    }

    /// Returns the CPU time in ns of the running threads since they got their timers.
    pub fn used_ns(&self) -> Vec<(i32, String, u64)> {
        let used = |(tid, t): (&i32, &Thread)| {
            Some((*tid, t.name.clone(), thread_cpu_ns(*tid)?.saturating_sub(t.before_ns)))
        };
        self.threads.iter().filter_map(used).collect()
    }

    /// Reads the name of a thread again after its first samples.
    pub fn settle_name(&mut self, tid: i32) {
        let Some(thread) = self.threads.get_mut(&tid).filter(|thread| thread.name_reads > 0) else { return };
        thread.name_reads -= 1;
        let name = system_name(tid);
        // An empty name means that the thread has ended.
        if !name.is_empty() {
            thread.name = name;
        }
    }

    /// Returns the system's name of a thread.
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
        // Spreads the threads over the period, so that they are not sampled in step.
        let phase = (i64::from(tid) * 0x9e37_79b9).rem_euclid(period_ns) + 1;
        let (first, flags) = if young { (period_ns, libc::TIMER_ABSTIME) } else { (phase, 0) };
        let times = libc::itimerspec { it_interval: timespec(period_ns), it_value: timespec(first) };
        // SAFETY: the timer is alive and `times` is of this frame.
        if unsafe { libc::timer_settime(timer.0, flags, &times, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(timer)
    }

    /// Whether its thread has ended: a running timer always has a next expiry.
    fn is_stopped(&self) -> bool {
        // SAFETY: zero is a valid value; the timer is alive.
        unsafe {
            let mut left: libc::itimerspec = mem::zeroed();
            libc::timer_gettime(self.0, &mut left) != 0
                || (left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0)
        }
    }
}

/// Returns the CPU clock of a thread: `CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD_MASK` of the kernel's ABI.
fn clock_of(tid: i32) -> libc::clockid_t {
    (!tid << 3) | 6
}

/// Returns a thread's CPU time in ns; `None` if it has ended.
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

/// Returns the CPU time in ns of all threads of this process, including ended ones.
pub fn process_cpu_ns() -> u64 {
    cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}
