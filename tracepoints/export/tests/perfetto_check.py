#!/usr/bin/env python3
"""Reads our exports with Perfetto's own schema and checks that they have the spans of the Chrome JSON of the same run.

Run by hand, since it needs PyPI's `perfetto` (its protobuf classes; no trace_processor):

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install perfetto
    PERFETTO_SAMPLE=/tmp/sample cargo test -p tracepoints-export --test formats sample_is_written
    /tmp/venv/bin/python tracepoints/export/tests/perfetto_check.py /tmp/sample/sample.perfetto-trace /tmp/sample/sample.json
"""
import json
import sys
from collections import Counter, defaultdict

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb


def unknown_fields(message, path="Trace"):
    """Fields that Perfetto's schema does not have, at any depth."""
    try:
        from google.protobuf.unknown_fields import UnknownFieldSet

        for field in UnknownFieldSet(message):
            yield f"{path}.{field.field_number}"
    except (ImportError, NotImplementedError):
        return
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            several = value if hasattr(value, "append") else [value]
            for one in several:
                yield from unknown_fields(one, f"{path}.{descriptor.name}")


class Reader:
    def __init__(self, trace):
        self.names = defaultdict(dict)
        self.tracks, self.events = {}, []
        for packet in trace.packet:
            interned = packet.interned_data
            for kind in ("event_names", "event_categories", "debug_annotation_names"):
                for entry in getattr(interned, kind):
                    self.names[kind][entry.iid] = entry.name
            for entry in interned.debug_annotation_string_values:
                self.names["strings"][entry.iid] = entry.str.decode()
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            if packet.HasField("track_event"):
                self.events.append((packet.timestamp, packet.track_event))
        self.events.sort(key=lambda e: e[0])

    def home(self, uuid):
        thread, track = "", self.tracks[uuid]
        while True:
            thread = track.thread.thread_name or thread or track.name
            if track.HasField("process"):
                return track.process.process_name, thread
            track = self.tracks[track.parent_uuid]

    def slices(self):
        """(process, thread, name, category, start, end, request) of each, with its arrows."""
        stacks, out = defaultdict(list), []
        event_type = pb.TrackEvent.Type
        for at, event in self.events:
            if event.type == event_type.TYPE_SLICE_BEGIN:
                args = {self.names["debug_annotation_names"][a.name_iid]: a for a in event.debug_annotations}
                stacks[event.track_uuid].append((at, event, args))
            elif event.type == event_type.TYPE_SLICE_END:
                start, begin, args = stacks[event.track_uuid].pop()
                name = self.names["event_names"][begin.name_iid]
                category = self.names["event_categories"][begin.category_iids[0]] if begin.category_iids else ""
                out.append((*self.home(event.track_uuid), name, category, start, at, args["request"].uint_value))
        assert not any(stacks.values()), "every begin has its end"
        return out

    def flows(self):
        starts = [f for _, e in self.events for f in e.flow_ids]
        ends = [f for _, e in self.events for f in e.terminating_flow_ids]
        assert sorted(starts) == sorted(ends), "every arrow has a start and an end"
        return len(starts)

    def counters(self):
        kind = pb.TrackEvent.Type.TYPE_COUNTER
        return Counter(self.tracks[e.track_uuid].name for _, e in self.events if e.type == kind)


def of_chrome(path):
    document = json.load(open(path))
    base = int(document["otherData"]["base_unix_ns"])
    events = document["traceEvents"]
    names = {(e["name"], e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M"}
    for e in (e for e in events if e["ph"] == "X"):
        thread = e["args"].get("thread") or names["thread_name", e["pid"], e["tid"]]
        thread = "requests" if e["cat"] == "request" else thread
        start = base + round(e["ts"] * 1000)
        yield (names["process_name", e["pid"], 0], thread, e["name"], e["cat"], start,
               base + round(e["ts"] * 1000) + round(e["dur"] * 1000), e["args"]["request"])


def main(perfetto_path, chrome_path):
    trace = pb.Trace()
    trace.ParseFromString(open(perfetto_path, "rb").read())
    unknown = Counter(unknown_fields(trace))
    assert not unknown, f"Perfetto's schema does not know {unknown}"
    reader = Reader(trace)
    ours, theirs = Counter(reader.slices()), Counter(of_chrome(chrome_path))
    for missing in (theirs - ours):
        print("only in the Chrome JSON:", missing)
    for more in (ours - theirs):
        print("only in the Perfetto trace:", more)
    print(f"{sum(ours.values())} slices, {reader.flows()} arrows, {len(reader.tracks)} tracks, counters {dict(reader.counters())}")
    if ours != theirs:
        sys.exit("the spans differ")
    print("Perfetto's schema finds the same spans")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
