//! Folded stacks of stages, one `kind;stage TIME_NS` per line, for any flamegraph tool. Replicas have their
//! own root, since their time is not part of a request's sum.
use std::{collections::BTreeMap, io::Write};

use crate::{
    ExportError,
    model::{Lane, Request, Span},
};

/// Root of the replicas' stages.
pub const REPLICAS: &str = "replicas";

/// Sums the time of requests; its size is that of the distinct stacks.
#[derive(Debug, Default)]
pub struct Folder(BTreeMap<String, u64>);

impl Folder {
    /// Adds the stages of a request.
    pub fn request(&mut self, request: &Request) {
        let mut own: Vec<u64> = request.spans.iter().map(|s| s.dur_ns).collect();
        for span in &request.spans {
            if let Some(parent) = span.parent.and_then(|p| own.get_mut(p)) {
                *parent = parent.saturating_sub(span.dur_ns);
            }
        }
        for (span, own) in request.spans.iter().zip(own).filter(|(_, own)| *own > 0) {
            let sum = self.0.entry(stack(request, span)).or_default();
            *sum = sum.saturating_add(own);
        }
    }

    /// # Errors
    /// If the output cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), ExportError> {
        for (stack, ns) in &self.0 {
            writeln!(out, "{stack} {ns}")?;
        }
        out.flush()?;
        Ok(())
    }
}

fn stack(request: &Request, span: &Span) -> String {
    let mut names = Vec::new();
    let mut at = Some(span);
    // Parents precede their children, so this loop ends.
    while let Some(span) = at {
        names.push(clean(&span.name));
        at = span.parent.and_then(|p| request.spans.get(p));
    }
    names.push(clean(&request.name));
    if span.lane == Lane::Replica {
        names.push(REPLICAS.into());
        names.insert(0, format!("store-{}", span.store));
    }
    names.reverse();
    names.join(";")
}

/// Replaces the characters with a special meaning in the format.
fn clean(name: &str) -> String {
    let text: String = name.chars().map(|c| if c == ';' || c.is_control() { ' ' } else { c }).collect();
    if text.trim().is_empty() { "unnamed".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_sum_to_the_time_of_their_spans() {
        let span = |name: &str, lane, dur_ns, parent| Span {
            name: name.into(),
            lane,
            dur_ns,
            parent,
            store: 2,
            ..Span::default()
        };
        let spans = vec![
            span("outer;x", Lane::Main, 10, None),
            span("inner", Lane::Main, 4, Some(0)),
            span("append", Lane::Replica, 7, None),
        ];
        let request = Request { name: "kv_get".into(), spans, ..Request::default() };
        let mut folder = Folder::default();
        folder.request(&request);
        folder.request(&request);
        let mut out = Vec::new();
        folder.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "kv_get;outer x 12\nkv_get;outer x;inner 8\nreplicas;kv_get;append;store-2 14\n"
        );
    }
}
