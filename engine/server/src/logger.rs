//! Logs to stderr in TiKV's format (`components/log_wrappers`): `[time] [LEVEL] [file:line] ["message"]
//! [thread=..]`, and `[request=..]` while a thread works on a request, according to its last stamp (see
//! `tracepoints::label`).
use std::{
    io::Write,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use tracepoints::{
    Req,
    printable::{needs_escape, printable_json},
};

struct StderrLogger;

impl Log for StderrLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries log only warnings and errors.
        let chatty = ["h2", "hyper", "tonic", "tower", "tokio", "mio"];
        let root = metadata.target().split("::").next().unwrap_or_default();
        metadata.level() <= Level::Warn || !chatty.contains(&root)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let line = format_line(record, unix.as_secs(), unix.subsec_millis());
            // A closed stderr must not stop a store.
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Writes a formatted line to the log, if this level is logged.
pub(crate) fn write_line(level: Level, line: &str) {
    if level <= log::max_level() {
        // A closed stderr must not stop a store.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// Formats `[time] [LEVEL] [file:line] [message]`; `unix_ns` is in nanoseconds since the Unix epoch.
pub(crate) fn head(unix_ns: u64, level: Level, file: &str, line: u32, message: &str) -> String {
    let (secs, millis) = (unix_ns / 1_000_000_000, unix_ns / 1_000_000 % 1000);
    format!("{} [{level}] [{file}:{line}] [{}]", time(secs, millis as u32), escape(message))
}

/// Formats a value for the unified log format: as JSON if it contains
/// spaces, quotes, brackets or an equals sign.
pub(crate) fn escape(value: &str) -> std::borrow::Cow<'_, str> {
    let special = |c: char| c <= ' ' || matches!(c, '"' | '=' | '[' | ']') || needs_escape(c);
    if !value.contains(special) {
        return value.into();
    }
    printable_json(&serde_json::Value::from(value).to_string()).into_owned().into()
}

fn time(unix_secs: u64, millis: u32) -> String {
    let (year, month, day) = civil_date(unix_secs / 86_400);
    let (hour, minute, second) = (unix_secs / 3600 % 24, unix_secs / 60 % 60, unix_secs % 60);
    format!("[{year}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03} +00:00]")
}

fn format_line(record: &Record<'_>, unix_secs: u64, millis: u32) -> String {
    let file = record.file().unwrap_or("?").rsplit('/').next().unwrap_or("?");
    let thread = std::thread::current();
    let request = match tracepoints::label::current().req {
        Req::NONE => String::new(),
        req => format!(" [request={}]", req.id()),
    };
    format!(
        "{} [{}] [{file}:{}] [{:?}] [thread={}]{request}
",
        time(unix_secs, millis),
        record.level(),
        record.line().unwrap_or(0),
        record.args().to_string(),
        thread.name().unwrap_or("?"),
    )
}

/// Returns year, month and day of a day since 1970-01-01 (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
fn civil_date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Parses a level by TiKV's names; `critical` and `fatal` log errors only.
pub fn parse_level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "critical" | "fatal" => Ok(LevelFilter::Error),
        "warning" => Ok(LevelFilter::Warn),
        other => LevelFilter::from_str(other).map_err(|_| {
            format!("expected a log level (trace, debug, info, warn, error, fatal), found {text:?}")
        }),
    }
}

/// Installs the logger; a second call only changes the level.
pub fn init(level: LevelFilter) {
    static LOGGER: StderrLogger = StderrLogger;
    // Err: a logger is already installed, ours or the embedding program's.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_tikvs_form() {
        let args = format_args!("store \"1\" is up");
        let record =
            Record::builder().args(args).level(Level::Info).file(Some("a/b/node.rs")).line(Some(7)).build();
        let line = format_line(&record, 1_795_230_245, 42);
        let begin = r#"[2026/11/21 03:04:05.042 +00:00] [INFO] [node.rs:7] ["store \"1\" is up"] [thread="#;
        assert!(line.starts_with(begin), "{line}");
        assert!(!line.contains("[request="), "{line}");
        let req = tracepoints::request::begin(tracepoints::RequestKind::Other, b"", 0);
        tracepoints::stamp!(GRPC_RECEIVE, req);
        let line = format_line(&record, 1_795_230_245, 42);
        assert!(line.ends_with(&format!("] [request={}]\n", req.id())), "{line}");
        tracepoints::label::clear();
    }

    #[test]
    fn control_characters_are_escaped() {
        let shown = escape("k\u{9b}2J\x1b[31m\x7f\u{202e} ü");
        assert_eq!(shown, r#""k\u009b2J\u001b[31m\u007f\u202e ü""#);
        assert_eq!(escape("\u{9b}"), r#""\u009b""#);
        assert_eq!(escape("ü"), "ü");
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(civil_date(20_513), (2026, 3, 1));
    }

    #[test]
    fn an_unknown_level_lists_the_levels() {
        assert_eq!(parse_level("WARNING"), Ok(LevelFilter::Warn));
        assert!(parse_level("loud").unwrap_err().contains("trace, debug"));
    }
}
