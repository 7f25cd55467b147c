//! A request and its spans, independent of any format.

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// A number that is not negative.
    Uint(u64),
    /// A negative number; others are [`Value::Uint`].
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
}

impl Value {
    /// Makes a number; one that is not negative becomes [`Value::Uint`].
    pub fn int(n: i64) -> Self {
        u64::try_from(n).map_or(Self::Int(n), Self::Uint)
    }

    /// Returns the text if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the number if it is one and not negative.
    pub fn uint(&self) -> Option<u64> {
        match self {
            Self::Uint(n) => Some(*n),
            _ => None,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(b) => b.fmt(f),
            Self::Uint(n) => n.fmt(f),
            Self::Int(n) => n.fmt(f),
            Self::Float(x) => x.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Names and values, in the order of the source.
pub type Attributes = Vec<(String, Value)>;

/// Removes a value from a list of attributes.
pub(crate) fn take(attributes: &mut Attributes, name: &str) -> Option<Value> {
    let at = attributes.iter().position(|(n, _)| n == name)?;
    Some(attributes.remove(at).1)
}

pub(crate) fn take_text(attributes: &mut Attributes, name: &str) -> String {
    take(attributes, name).map(|v| v.to_string()).unwrap_or_default()
}

pub(crate) fn take_uint(attributes: &mut Attributes, name: &str) -> u64 {
    take(attributes, name).and_then(|v| v.uint()).unwrap_or_default()
}

/// The part of a trace that a span belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// The request's own path.
    #[default]
    Main,
    /// A replica, parallel to the request.
    Replica,
}

impl Lane {
    /// Returns the lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Replica => "replica",
        }
    }
}

/// A source location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// Path of the file.
    pub file: String,
    /// Line in the file; 0 if unknown.
    pub line: u32,
    /// Name of the function; empty if unknown.
    pub function: String,
}

/// A stage of a request or, in another tool's trace, any span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Name of the stage.
    pub name: String,
    /// The stage's layer, or the category.
    pub category: String,
    /// Whether it is on the request's own path.
    pub lane: Lane,
    /// Store id; 0: the client, PD, or another program.
    pub store: u64,
    /// Name of the thread; empty if unknown.
    pub thread: String,
    /// Begin, Unix time in ns.
    pub start_ns: u64,
    /// Duration in ns.
    pub dur_ns: u64,
    /// Index of the parent span in the request; `None`: the request itself.
    pub parent: Option<usize>,
    /// Place in the source.
    pub source: Option<Source>,
    /// Fields by name.
    pub attributes: Attributes,
}

impl Span {
    /// Returns the end in ns since 1970.
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.dur_ns)
    }
}

/// A request with all its spans, sorted by their start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The id, or the position in a foreign file.
    pub id: u64,
    /// The request that sent this one; 0: unknown.
    pub parent: u64,
    /// 16 bytes shared by all requests of one operation, on every machine.
    pub trace_id: [u8; 16],
    /// The kind, e.g. `kv_get`; for another tool, the name of the outermost span.
    pub name: String,
    /// The store that served it; 0: none.
    pub store: u64,
    /// Begin, Unix time in ns.
    pub start_ns: u64,
    /// Duration in ns.
    pub dur_ns: u64,
    /// Whether its end is unknown: it was in flight, or the recording ended first.
    pub unfinished: bool,
    /// Number of missing stamps.
    pub dropped: u64,
    /// Further facts about the request.
    pub attributes: Attributes,
    /// The stages by their start.
    pub spans: Vec<Span>,
}

impl Request {
    /// Returns the end in ns since 1970.
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.dur_ns)
    }

    /// Sorts the spans by their start; sets the request's times from them if it has none.
    pub(crate) fn settle(&mut self) {
        let mut order: Vec<usize> = (0..self.spans.len()).collect();
        order.sort_by_key(|i| (self.spans[*i].start_ns, std::cmp::Reverse(self.spans[*i].dur_ns), *i));
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, old)| place[*old] = new);
        let mut spans: Vec<Option<Span>> = std::mem::take(&mut self.spans).into_iter().map(Some).collect();
        self.spans = order.iter().filter_map(|i| spans[*i].take()).collect();
        for span in &mut self.spans {
            span.parent = span.parent.and_then(|p| place.get(p).copied());
        }
        self.cut_cycles();
        if self.start_ns == 0 {
            self.start_ns = self.spans.iter().map(|s| s.start_ns).min().unwrap_or(0);
            let end = self.spans.iter().map(Span::end_ns).max().unwrap_or(0);
            self.dur_ns = end.saturating_sub(self.start_ns);
        }
    }
}

impl Request {
    /// Removes cycles of parents, which a file may have and which would never end.
    fn cut_cycles(&mut self) {
        const NEW: usize = usize::MAX;
        let mut seen = vec![NEW; self.spans.len()];
        for first in 0..self.spans.len() {
            let mut at = first;
            while seen[at] == NEW {
                seen[at] = first;
                match self.spans[at].parent {
                    Some(above) if seen[above] == first => self.spans[at].parent = None,
                    Some(above) => at = above,
                    None => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settling_orders_spans_and_keeps_their_parents() {
        let span = |name: &str, start_ns, dur_ns, parent| Span {
            name: name.into(),
            start_ns,
            dur_ns,
            parent,
            ..Span::default()
        };
        let spans = vec![span("inner", 5, 2, Some(2)), span("late", 9, 4, None), span("outer", 5, 3, None)];
        let mut request = Request { spans, ..Request::default() };
        request.settle();
        let order: Vec<_> = request.spans.iter().map(|s| (s.name.as_str(), s.parent)).collect();
        assert_eq!(order, [("outer", None), ("inner", Some(0)), ("late", None)]);
        assert_eq!((request.start_ns, request.dur_ns), (5, 8));
    }

    #[test]
    fn cycles_of_parents_are_cut() {
        let span = |parent| Span { parent, ..Span::default() };
        let spans = vec![span(Some(1)), span(Some(2)), span(Some(0)), span(Some(3)), span(Some(2))];
        let mut request = Request { spans, ..Request::default() };
        request.settle();
        for mut at in 0..5 {
            for _ in 0..5 {
                at = request.spans[at].parent.unwrap_or(at);
            }
            assert_eq!(request.spans[at].parent, None);
        }
    }
}
