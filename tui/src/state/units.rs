//! Formats numbers with units.

/// Formats nanoseconds with three significant digits: `812 ns`, `41.2 µs`, `1.42 ms`, `12.0 s`.
pub fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

/// Formats a share (0 to 1) as a percentage without decimals; a small share as `<1 %`, zero as nothing.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p <= 0.0 => String::new(),
        p if p < 1.0 => "<1 %".into(),
        p => format!("{p:.0} %"),
    }
}

/// Formats a TiKV timestamp as `14:03:22.125 +3`: UTC and the logical counter. None if it is not PD's.
pub fn timestamp(ts: u64) -> Option<String> {
    let (ms, logical) = (ts >> 18, ts & ((1 << 18) - 1));
    // A time before 2001 is a number chosen by a test, not a timestamp of PD.
    if ms < 1_000_000_000_000 {
        return None;
    }
    let (s, day) = (ms / 1000, 86_400);
    let (h, m, s) = (s % day / 3600, s % 3600 / 60, s % 60);
    Some(format!("{h:02}:{m:02}:{s:02}.{:03} +{logical}", ms % 1000))
}

/// Formats the place of a step or hold: `client` for the number 0, otherwise the store.
pub fn place(store: u64) -> String {
    if store == 0 { "client".to_owned() } else { format!("store {store}") }
}

/// Formats the real time for which a request has been held; empty below one second.
pub fn held(time: std::time::Duration) -> String {
    match time.as_secs() {
        0 => String::new(),
        s @ 1..60 => format!("for {s} s"),
        s @ 60..3_600 => format!("for {} min {} s", s / 60, s % 60),
        s => format!("for {} h {} min", s / 3_600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits() {
        let shown: Vec<_> =
            [0, 999, 1_000, 41_234, 999_499, 1_420_000, 12_000_000_000].map(duration).into_iter().collect();
        assert_eq!(shown, ["0 ns", "999 ns", "1.00 µs", "41.2 µs", "999 µs", "1.42 ms", "12.0 s"]);
    }

    #[test]
    fn only_pd_timestamps_have_a_time_of_day() {
        assert_eq!(timestamp(7), None);
        let ms = 1_700_000_000_123u64;
        assert_eq!(timestamp(ms << 18 | 5).as_deref(), Some("22:13:20.123 +5"));
    }
}
