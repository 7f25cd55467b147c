//! Parses the first line of a sample in `perf script`: `comm pid/tid [cpu] time: period event:`.
//!
//! `-F` chooses the fields, so each of them may be missing (tools/perf/builtin-script.c,
//! `perf_sample__fprintf_start`).

/// The contents of a sample's first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    pub comm: &'a [u8],
    pub pid: u32,
    pub tid: u32,
    /// Time in ns.
    pub time: Option<u64>,
    pub period: Option<u64>,
    /// Empty if it is not printed.
    pub event: &'a [u8],
    /// Text after the event: the one frame of a sample without a call chain.
    pub rest: &'a [u8],
}

/// Parses the line of a sample with a time; `None` for other lines.
pub fn parse(line: &[u8]) -> Option<Header<'_>> {
    // The time is a word of digits, a point and digits that ends with a colon; names may contain anything,
    // even such a word.
    let mut from = 0;
    loop {
        let colon = from + memchr::memchr(b':', &line[from..])?;
        let start = memchr::memrchr2(b' ', b'\t', &line[..colon]).map_or(0, |i| i + 1);
        if let Some(time) = parse_time(&line[start..colon])
            && let Some(header) = around_time(&line[..start], time, &line[colon + 1..])
        {
            return Some(header);
        }
        from = colon + 1;
    }
}

fn around_time<'a>(before: &'a [u8], time: u64, after: &'a [u8]) -> Option<Header<'a>> {
    let mut header = Header { time: Some(time), ..Header::default() };
    // A sample may have neither a thread nor a CPU (`-F time,event,ip,sym`).
    if !before.trim_ascii().is_empty() {
        task(before, &mut header)?;
    }
    event(after, &mut header)?;
    Some(header)
}

/// Parses the line of a sample without a time (`perf script -F comm,tid,event,ip,sym`): words, the last of
/// which is a thread's number, before an event that ends with a colon. Other text may look like it, so a
/// frame must follow.
pub fn parse_untimed(line: &[u8]) -> Option<Header<'_>> {
    let mut from = 0;
    loop {
        let colon = from + memchr::memchr(b':', &line[from..])?;
        let start = memchr::memrchr2(b' ', b'\t', &line[..colon]).map_or(0, |i| i + 1);
        let before = line[..start].trim_ascii_end();
        // A period precedes the event.
        let word = memchr::memrchr2(b' ', b'\t', before).map_or(0, |i| i + 1);
        for task_end in [word, before.len()] {
            let mut header = Header::default();
            let is_task = task(&before[..task_end], &mut header) == Some(true);
            if is_task && event(&line[task_end..], &mut header).is_some() {
                return Some(header);
            }
        }
        from = colon + 1;
    }
}

/// Parses `12345.678901`, returns ns.
fn parse_time(word: &[u8]) -> Option<u64> {
    let point = memchr::memchr(b'.', word)?;
    let (seconds, fraction) = (number(&word[..point])?, &word[point + 1..]);
    let scale = 10u64.checked_pow(9u32.checked_sub(u32::try_from(fraction.len()).ok()?)?)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(number(fraction)?.checked_mul(scale)?)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

fn last_word(text: &[u8]) -> (&[u8], &[u8]) {
    let split = memchr::memrchr2(b' ', b'\t', text).map_or(0, |i| i + 1);
    (text[..split].trim_ascii_end(), &text[split..])
}

/// Parses comm, pid and tid, followed by a CPU in brackets, the mode of the CPU (`-F misc`) and the time of
/// day (`-F tod`). Returns true if pid or tid is there.
fn task<'a>(text: &'a [u8], header: &mut Header<'a>) -> Option<bool> {
    let mut text = text.trim_ascii();
    loop {
        let (before, word) = last_word(text);
        let cpu = word.first() == Some(&b'[')
            && word.last() == Some(&b']')
            && number(&word[1..word.len() - 1]).is_some();
        if cpu || is_mode(word, before) || is_time_of_day(word) {
            text = before;
        } else {
            break;
        }
    }
    let (comm, ids) = last_word(text);
    let (pid, tid) = match memchr::memchr(b'/', ids) {
        Some(slash) => (&ids[..slash], &ids[slash + 1..]),
        None => (ids, ids),
    };
    match (id(pid), id(tid)) {
        (Some(pid), Some(tid)) => {
            (header.comm, header.pid, header.tid) = (comm, pid, tid);
            Some(true)
        }
        // Neither pid nor tid is printed.
        _ if !text.is_empty() => {
            header.comm = text;
            Some(false)
        }
        _ => None,
    }
}

/// Parses an id; -1 is a thread unknown to perf.
fn id(text: &[u8]) -> Option<u32> {
    if text == b"-1" { Some(0) } else { u32::try_from(number(text)?).ok() }
}

/// Whether a word after a CPU or a number has the letters for kernel, user, hypervisor, guest and the like.
fn is_mode(word: &[u8], before: &[u8]) -> bool {
    let after = before.last().is_some_and(|b| b.is_ascii_digit() || *b == b']');
    after && !word.is_empty() && word.len() <= 4 && word.iter().all(|b| b"KUHGgSEMFXJD".contains(b))
}

/// Whether a word is `2020-07-13` or `18:26:55.620971`.
fn is_time_of_day(word: &[u8]) -> bool {
    let date = word.len() == 10 && word[4] == b'-' && word[7] == b'-';
    let time = word.len() >= 8 && word[2] == b':' && word[5] == b':';
    (date || time) && word.iter().all(|b| b.is_ascii_digit() || b"-:.".contains(b))
}

/// Parses the optional period and the optional event, which ends with a colon and may contain some
/// (`cycles:u:`).
fn event<'a>(text: &'a [u8], header: &mut Header<'a>) -> Option<()> {
    let mut text = text.trim_ascii();
    let word = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
    if let Some(period) = number(&text[..word]) {
        let after = text[word..].trim_ascii_start();
        // Without an event, a number may be the address of the one frame.
        if after.is_empty() || ends_event(after).is_some() {
            header.period = Some(period);
            text = after;
        }
    }
    match ends_event(text) {
        // Lost events: the rest of the line has their number.
        None if text.starts_with(b"PERF_RECORD_") => header.event = text,
        Some(end) => (header.event, header.rest) = (&text[..end], text[end + 1..].trim_ascii()),
        // The one frame alone.
        None if text.is_empty() || starts_with_address(text) => header.rest = text,
        None => return None,
    }
    Some(())
}

/// Finds the colon at the end of an event. Its name has no spaces unless the user chose one (`cpu/name='my
/// event'/`).
fn ends_event(text: &[u8]) -> Option<usize> {
    let word = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
    if word > 1 && text[word - 1] == b':' {
        return Some(word - 1);
    }
    let is_end = |at: usize| matches!(text.get(at + 1), None | Some(b' ' | b'\t'));
    let end = memchr::memchr_iter(b':', text).find(|at| is_end(*at))?;
    (text.starts_with(b"PERF_RECORD_") || memchr::memchr(b'\'', &text[..end]).is_some()).then_some(end)
}

fn starts_with_address(text: &[u8]) -> bool {
    let word = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
    word >= 4 && text[..word].iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(
        comm: &'static str,
        pid: u32,
        tid: u32,
        time: u64,
        period: Option<u64>,
        event: &'static str,
    ) -> Header<'static> {
        Header {
            comm: comm.as_bytes(),
            pid,
            tid,
            time: Some(time),
            period,
            event: event.as_bytes(),
            rest: b"",
        }
    }

    #[test]
    fn all_header_forms_of_perf_are_read() {
        for (line, header) in [
            (
                "java 25607 4794564.109216: cycles:",
                header("java", 25607, 25607, 4794564109216000, None, "cycles"),
            ),
            (
                "tokio-runtime-w  7/8  [003]  1.5:     10101 cpu-clock:pppH: ",
                header("tokio-runtime-w", 7, 8, 1500000000, Some(10101), "cpu-clock:pppH"),
            ),
            (
                "a b: c 1/2 0.000001:   1 sched:sched_switch:",
                header("a b: c", 1, 2, 1000, Some(1), "sched:sched_switch"),
            ),
            (":1234  1234 12.25: 7 cycles:u:", header(":1234", 1234, 1234, 12250000000, Some(7), "cycles:u")),
            (":-1    -1/-1 12.25: 7 cycles:u:", header(":-1", 0, 0, 12250000000, Some(7), "cycles:u")),
            (
                "CUPSManager cup 11320 186448.846888: 1 cycles: ",
                header("CUPSManager cup", 11320, 11320, 186448846888000, Some(1), "cycles"),
            ),
            (
                "foobar [worker] 21332 5.1: 7 cycles:",
                header("foobar [worker]", 21332, 21332, 5100000000, Some(7), "cycles"),
            ),
            ("v 1.5: x 9/9 [001] 2.000000001: cycles:", header("v 1.5: x", 9, 9, 2000000001, None, "cycles")),
            // -F without comm, without period, event, pid; with misc and tod.
            ("  900 10.1: cycles:u:", header("", 900, 900, 10100000000, None, "cycles:u")),
            ("ls 900/900 10.1: ", header("ls", 900, 900, 10100000000, None, "")),
            ("ls 900/900 10.1:   250000 ", header("ls", 900, 900, 10100000000, Some(250000), "")),
            ("ls 10.1: cycles:", header("ls", 0, 0, 10100000000, None, "cycles")),
            ("10.1: cycles:", header("", 0, 0, 10100000000, None, "cycles")),
            ("10.1: ", header("", 0, 0, 10100000000, None, "")),
            ("ls 900 [000] U 10.1: 1 cycles:", header("ls", 900, 900, 10100000000, Some(1), "cycles")),
            (
                "ls 900 [000] 2020-07-13 18:26:55.620971 10.1: 1 cycles:",
                header("ls", 900, 900, 10100000000, Some(1), "cycles"),
            ),
            (
                "ls 900 10.1: 1 cpu/event=0x3c,name='my event'/:",
                header("ls", 900, 900, 10100000000, Some(1), "cpu/event=0x3c,name='my event'/"),
            ),
        ] {
            assert_eq!(parse(line.as_bytes()), Some(header), "{line}");
        }
        for line in
            ["ls 9 [0] 1.5: 3 cycles: ffff main+0x1 (/bin/ls)", "ls 9 [0] 1.5: ffff main+0x1 (/bin/ls)"]
        {
            assert_eq!(parse(line.as_bytes()).unwrap().rest, b"ffff main+0x1 (/bin/ls)", "{line}");
        }
        for line in
            ["", "a;b 3", "main 7/7 x: 10 cycles:", "1.5: x", "a 1 99999999999999999999.1: c:", "a 1 1.5: c"]
        {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_line_without_a_time_is_known_by_its_thread_and_event() {
        for line in ["ls  900 cycles:u: ", "ls  900/900 [001]   1 cycles:u:", "  ls 900   250 cycles:u:"] {
            let header = parse_untimed(line.as_bytes()).unwrap();
            assert_eq!(
                (header.comm, header.tid, header.event),
                (&b"ls"[..], 900, &b"cycles:u"[..]),
                "{line}"
            );
        }
        for line in ["ls ", "WARNING: The data file", "Warning:", "a b c"] {
            assert_eq!(parse_untimed(line.as_bytes()), None, "{line}");
        }
    }
}
