//! Perfetto's protobuf, for <https://ui.perfetto.dev>: a process per store with a track per thread, a slice
//! per stage, arrows between threads and stores of one request, and Raft's indexes as counters. Times are
//! Unix ns.
mod counters;
mod intern;
pub mod proto;
mod tracks;

use std::io::Write;

use prost::Message;

use crate::{
    ExportError, flow,
    model::{Attributes, Lane, Request, Span, Value},
};
use counters::Counters;
use intern::Interner;
use proto::{
    ClockSnapshot, Trace, TracePacket, TrackDescriptor, TrackEvent, clock_snapshot::Clock, track_event::Type,
};
use tracks::Tracks;

/// Sequence of all packets: interned names are valid for all later packets of a sequence.
const SEQUENCE: u32 = 1;
/// `SEQ_INCREMENTAL_STATE_CLEARED`, for the first packet.
const CLEARED: u32 = 1;
/// `SEQ_NEEDS_INCREMENTAL_STATE`, for packets that use interned names.
const NEEDS: u32 = 2;
/// `BUILTIN_CLOCK_REALTIME` and `BUILTIN_CLOCK_BOOTTIME`; packets without a clock use the latter.
const REALTIME: u32 = 1;
const BOOTTIME: u32 = 6;
/// Index of the arrow from a request to its first stage, above all arrows between stages.
const ENTRY: u64 = 1 << 32;

/// Writes requests as Perfetto's packets.
pub struct Writer<W: Write> {
    out: W,
    tracks: Tracks,
    names: Interner,
    counters: Counters,
    begun: bool,
}

impl<W: Write> Writer<W> {
    /// Makes a writer to `out`.
    pub fn new(out: W) -> Self {
        let (tracks, names, counters) = (Tracks::default(), Interner::default(), Counters::default());
        Self { out, tracks, names, counters, begun: false }
    }

    /// Appends a request and its spans.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn request(&mut self, request: &Request) -> Result<(), ExportError> {
        self.begin(request.start_ns)?;
        let mut arrows = Arrows::from_request(request);
        self.whole(request, arrows.entry)?;
        for (place, span) in request.spans.iter().enumerate() {
            let (starts, ends) = arrows.take(place);
            self.span(request, span, starts, ends)?;
            self.count(span)?;
        }
        Ok(())
    }

    /// Declares the clock: wall time, which is also the clock of packets without one.
    fn begin(&mut self, at: u64) -> Result<(), ExportError> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let clock = |id| Clock { clock_id: Some(id), timestamp: Some(at) };
        let clock_snapshot = Some(ClockSnapshot {
            clocks: vec![clock(REALTIME), clock(BOOTTIME)],
            primary_trace_clock: Some(REALTIME),
        });
        self.packet(TracePacket { clock_snapshot, sequence_flags: Some(CLEARED), ..TracePacket::default() })
    }

    fn whole(&mut self, request: &Request, flow: Option<u64>) -> Result<(), ExportError> {
        let mut args = vec![("request".to_owned(), Value::Uint(request.id))];
        for (name, value) in [("parent", request.parent), ("dropped", request.dropped)] {
            args.extend((value != 0).then(|| (name.to_owned(), Value::Uint(value))));
        }
        args.extend(request.unfinished.then(|| ("unfinished".to_owned(), Value::Bool(true))));
        args.extend(request.attributes.iter().cloned());
        let (track, new) =
            self.tracks.requests(request.store, request.start_ns, request.end_ns(), request.id);
        self.describe(new)?;
        let mut event = TrackEvent { track_uuid: Some(track), ..TrackEvent::default() };
        event.flow_ids.extend(flow);
        self.slice(event, (&request.name, "request"), (request.start_ns, request.end_ns()), args)
    }

    fn span(
        &mut self,
        request: &Request,
        span: &Span,
        starts: Vec<u64>,
        ends: Vec<u64>,
    ) -> Result<(), ExportError> {
        let mut args: Attributes = vec![("request".into(), Value::Uint(request.id))];
        if span.lane == Lane::Replica {
            args.push(("lane".into(), Value::Text(span.lane.name().into())));
        }
        args.extend(span.attributes.iter().cloned());
        let times = (span.start_ns, span.end_ns());
        let (track, new) = self.tracks.thread(span.store, &span.thread, times, request.id);
        self.describe(new)?;
        let source = span.source.as_ref().map(|s| self.names.source(s));
        let event = TrackEvent {
            track_uuid: Some(track),
            source_location_iid: source,
            flow_ids: starts,
            terminating_flow_ids: ends,
            ..TrackEvent::default()
        };
        self.slice(event, (&span.name, &span.category), times, args)
    }

    /// Writes the start and the end of a slice.
    fn slice(
        &mut self,
        mut event: TrackEvent,
        (name, category): (&str, &str),
        (start, end): (u64, u64),
        args: Attributes,
    ) -> Result<(), ExportError> {
        let track_uuid = event.track_uuid;
        event.set_type(Type::SliceBegin);
        event.name_iid = Some(self.names.event(name));
        if !category.is_empty() {
            event.category_iids.push(self.names.category(category));
        }
        event.debug_annotations =
            args.iter().map(|(name, value)| self.names.annotation(name, value)).collect();
        let interned_data = self.names.take();
        self.event(start, TracePacket { interned_data, track_event: Some(event), ..TracePacket::default() })?;
        let mut event = TrackEvent { track_uuid, ..TrackEvent::default() };
        event.set_type(Type::SliceEnd);
        self.event(end, TracePacket { track_event: Some(event), ..TracePacket::default() })
    }

    /// Writes the counter of a stage with a Raft index.
    fn count(&mut self, span: &Span) -> Result<(), ExportError> {
        let Some(point) = self.counters.point(span) else { return Ok(()) };
        let (track, new) = self.tracks.counter(span.store, &point.name);
        self.describe(new)?;
        let mut event =
            TrackEvent { track_uuid: Some(track), counter_value: Some(point.value), ..TrackEvent::default() };
        event.set_type(Type::Counter);
        self.event(span.start_ns, TracePacket { track_event: Some(event), ..TracePacket::default() })
    }

    fn describe(&mut self, new: Vec<TrackDescriptor>) -> Result<(), ExportError> {
        for track in new {
            self.packet(TracePacket { track_descriptor: Some(track), ..TracePacket::default() })?;
        }
        Ok(())
    }

    fn event(&mut self, at: u64, packet: TracePacket) -> Result<(), ExportError> {
        self.packet(TracePacket { timestamp: Some(at), sequence_flags: Some(NEEDS), ..packet })
    }

    /// Writes a trace of one packet: concatenated traces are one trace.
    fn packet(&mut self, packet: TracePacket) -> Result<(), ExportError> {
        let packet = TracePacket { trusted_packet_sequence_id: Some(SEQUENCE), ..packet };
        self.out.write_all(&Trace { packet: vec![packet] }.encode_to_vec())?;
        Ok(())
    }

    /// Returns the output.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn finish(mut self) -> Result<W, ExportError> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The arrows that start and end at each span of a request.
struct Arrows {
    entry: Option<u64>,
    starts: Vec<Vec<u64>>,
    ends: Vec<Vec<u64>>,
}

impl Arrows {
    fn from_request(request: &Request) -> Self {
        let (mut starts, mut ends) =
            (vec![Vec::new(); request.spans.len()], vec![Vec::new(); request.spans.len()]);
        let entry = ends.first_mut().map(|first| {
            first.push(flow::id(request.id, ENTRY));
            flow::id(request.id, ENTRY)
        });
        for arrow in flow::flow_arrows(request) {
            starts[arrow.from].push(arrow.id);
            ends[arrow.to].push(arrow.id);
        }
        Self { entry, starts, ends }
    }

    fn take(&mut self, place: usize) -> (Vec<u64>, Vec<u64>) {
        (std::mem::take(&mut self.starts[place]), std::mem::take(&mut self.ends[place]))
    }
}
