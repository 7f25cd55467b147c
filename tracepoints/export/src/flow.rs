//! The path of a request over threads and stores, as arrows between spans.
use crate::model::{Lane, Request, Span};

/// An arrow between two spans of one request, by their indexes. Its id is unique in the whole export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowArrow {
    pub from: usize,
    pub to: usize,
    pub id: u64,
}

/// Returns one arrow for each change of thread: along the main lane, along each replica's stages, and from
/// the main lane to the first stage of each replica.
pub(crate) fn flow_arrows(request: &Request) -> Vec<FlowArrow> {
    let mut out = Vec::new();
    let mut last: Vec<(Lane, u64, usize)> = Vec::new();
    for (to, span) in request.spans.iter().enumerate() {
        let same = |(lane, store, _): &&(Lane, u64, usize)| {
            *lane == span.lane && (span.lane == Lane::Main || *store == span.store)
        };
        let from = last.iter().find(same).or_else(|| last.iter().find(|l| l.0 == Lane::Main));
        if let Some(from) = from.map(|l| l.2).filter(|f| moved(&request.spans[*f], span)) {
            out.push(FlowArrow { from, to, id: id(request.id, out.len() as u64) });
        }
        match last.iter_mut().find(|l| same(&&**l)) {
            Some(kept) => kept.2 = to,
            None => last.push((span.lane, span.store, to)),
        }
    }
    out
}

fn moved(from: &Span, to: &Span) -> bool {
    (from.store, &from.thread) != (to.store, &to.thread)
}

/// Makes a well-spread id that is never 0, so that viewers can distinguish the arrows (the finalizer of
/// SplitMix64).
pub(crate) fn id(request: u64, place: u64) -> u64 {
    let mut x = request.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(place + 1);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_connect_spans_of_different_threads() {
        let span = |lane, store, thread: &str| Span { lane, store, thread: thread.into(), ..Span::default() };
        let spans = vec![
            span(Lane::Main, 1, "grpc"),
            span(Lane::Main, 1, "grpc"),
            span(Lane::Main, 1, "raft"),
            span(Lane::Replica, 2, "raft"),
            span(Lane::Replica, 3, "raft"),
            span(Lane::Replica, 2, "write"),
            span(Lane::Main, 1, "grpc"),
        ];
        let arrows: Vec<_> = flow_arrows(&Request { id: 1, spans, ..Request::default() })
            .iter()
            .map(|h| (h.from, h.to))
            .collect();
        assert_eq!(arrows, [(1, 2), (2, 3), (2, 4), (3, 5), (2, 6)]);
    }
}
