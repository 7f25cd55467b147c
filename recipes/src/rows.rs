//! The rows of one key in CF lock, write and default, as a server's debug service returns them.
use kvproto::{debugpb, kvrpcpb};

use crate::print::Symbols;

/// The rows of one key in the three column families.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    info: kvrpcpb::MvccInfo,
}

impl From<debugpb::ScanMvccResponse> for Rows {
    fn from(reply: debugpb::ScanMvccResponse) -> Self {
        Self { info: reply.info.unwrap_or_default() }
    }
}

impl Rows {
    /// Formats one line per row, newest first, with named timestamps.
    pub fn render(&self, symbols: &mut Symbols) -> String {
        let mut lines = Vec::new();
        // Named oldest first, so that older timestamps get smaller numbers.
        for write in self.info.writes.iter().rev() {
            symbols.ts(write.start_ts);
            symbols.ts(write.commit_ts);
        }
        if let Some(lock) = &self.info.lock {
            // The timestamps of shared locks are those of their transactions, which the debug service does not send.
            let start =
                if lock.start_ts == 0 { String::new() } else { format!(" {}", symbols.ts(lock.start_ts)) };
            lines.push(format!("lock    {}{start}{}", op(lock.r#type), short(&lock.short_value)));
        }
        for write in &self.info.writes {
            let (commit, start) = (symbols.ts(write.commit_ts), symbols.ts(write.start_ts));
            lines.push(format!("write   {commit} {} {start}{}", op(write.r#type), short(&write.short_value)));
        }
        for value in &self.info.values {
            lines.push(format!("default {} {} bytes", symbols.ts(value.start_ts), value.value.len()));
        }
        if lines.is_empty() { "no rows".into() } else { lines.join("\n") }
    }
}

fn op(kind: i32) -> String {
    kvrpcpb::Op::try_from(kind).map_or_else(|_| kind.to_string(), |op| format!("{op:?}"))
}

fn short(value: &[u8]) -> String {
    match value.len() {
        0 => String::new(),
        1..=64 => format!(" {}", tracepoints::printable::escape_readable(value)),
        n => format!(" ({n} bytes)"),
    }
}
