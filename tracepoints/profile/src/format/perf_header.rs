//! The line of `perf script` with which a sample begins: `comm pid/tid [cpu] time: period event:`.

/// What a sample's first line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    pub comm: &'a [u8],
    pub pid: u32,
    pub tid: u32,
    /// In ns.
    pub time: Option<u64>,
    pub period: Option<u64>,
    pub event: &'a [u8],
    /// Behind the event: the one frame of a sample without a call chain.
    pub rest: &'a [u8],
}

/// None if it is no such line.
pub fn parse(line: &[u8]) -> Option<Header<'_>> {
    // The time is the first word of digits, a point and digits that ends with a colon; names may hold anything else.
    let mut from = 0;
    let (before, time, after) = loop {
        let colon = from + memchr::memchr(b':', &line[from..])?;
        let start = memchr::memrchr2(b' ', b'\t', &line[..colon]).map_or(0, |i| i + 1);
        if let Some(time) = parse_time(&line[start..colon]) {
            break (&line[..start], Some(time), &line[colon + 1..]);
        }
        from = colon + 1;
    };
    let mut header = Header { time, ..Header::default() };
    task(before, &mut header)?;
    event(after, &mut header)?;
    Some(header)
}

/// `12345.678901`, in ns.
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

/// Comm, pid and tid, and a CPU in brackets.
fn task<'a>(text: &'a [u8], header: &mut Header<'a>) -> Option<()> {
    let mut text = text.trim_ascii();
    if text.ends_with(b"]") {
        text = text[..memchr::memrchr(b'[', text)?].trim_ascii_end();
    }
    let split = memchr::memrchr2(b' ', b'\t', text)?;
    let (comm, ids) = (text[..split].trim_ascii_end(), &text[split + 1..]);
    let (pid, tid) = match memchr::memchr(b'/', ids) {
        Some(slash) => (&ids[..slash], &ids[slash + 1..]),
        None => (ids, ids),
    };
    header.comm = comm;
    header.pid = u32::try_from(number(pid)?).ok()?;
    header.tid = u32::try_from(number(tid)?).ok()?;
    (!comm.is_empty()).then_some(())
}

/// A period, if it is printed, and the event, which ends with a colon and may hold some (`cycles:u:`).
fn event<'a>(text: &'a [u8], header: &mut Header<'a>) -> Option<()> {
    let mut text = text.trim_ascii_start();
    let word = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
    if let Some(period) = number(&text[..word]) {
        header.period = Some(period);
        text = text[word..].trim_ascii_start();
    }
    let word = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
    header.event = text[..word].strip_suffix(b":")?;
    header.rest = text[word..].trim_ascii();
    (!header.event.is_empty()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_the_ways_in_which_perf_prints_them() {
        let of = |comm: &'static str, pid, tid, time, period, event: &'static str| Header {
            comm: comm.as_bytes(),
            pid,
            tid,
            time: Some(time),
            period,
            event: event.as_bytes(),
            rest: b"",
        };
        for (line, header) in [
            (
                "java 25607 4794564.109216: cycles:",
                of("java", 25607, 25607, 4794564109216000, None, "cycles"),
            ),
            (
                "tokio-runtime-w  7/8  [003]  1.5:     10101 cpu-clock:pppH: ",
                of("tokio-runtime-w", 7, 8, 1500000000, Some(10101), "cpu-clock:pppH"),
            ),
            (
                "a b: c 1/2 0.000001:   1 sched:sched_switch:",
                of("a b: c", 1, 2, 1000, Some(1), "sched:sched_switch"),
            ),
            (":1234  1234 12.25: 7 cycles:u:", of(":1234", 1234, 1234, 12250000000, Some(7), "cycles:u")),
        ] {
            assert_eq!(parse(line.as_bytes()), Some(header), "{line}");
        }
        let flat = parse(b"ls 9 [0] 1.5: 3 cycles: ffff main+0x1 (/bin/ls)").unwrap();
        assert_eq!(flat.rest, b"ffff main+0x1 (/bin/ls)");
        for line in [
            "",
            "a;b 3",
            "main 7/7 x: 10 cycles:",
            "7 1.5: cycles:",
            "a 1 99999999999999999999.1: c:",
            "a 1 1.5: c",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
