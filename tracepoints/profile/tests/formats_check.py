#!/usr/bin/env python3
"""Reads one profile in each of our formats with the official definitions and checks that all have the same stacks.

Run by hand, since it needs the official `profile.proto` (google/pprof; Debian's golang-github-google-pprof-dev has it), speedscope's
JSON schema (npm's speedscope, dist/release/file-format-schema.json) and PyPI's `grpcio-tools` and `jsonschema`:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install grpcio-tools jsonschema
    /tmp/venv/bin/python -m grpc_tools.protoc -I DIR_OF_PROTO --python_out=/tmp/venv profile.proto
    for form in pprof speedscope firefox folded; do tikv-ctl flamegraph cpu.pb --as $form -o /tmp/p.$form; done
    PYTHONPATH=/tmp/venv /tmp/venv/bin/python tracepoints/profile/tests/formats_check.py /tmp/p file-format-schema.json
"""
import gzip
import json
import sys
from collections import Counter

import jsonschema
import profile_pb2
from google.protobuf.unknown_fields import UnknownFieldSet


def unknown(message, path="Profile"):
    """Fields that the official schema does not have, at any depth."""
    for field in UnknownFieldSet(message):
        yield f"{path}.{field.field_number}"
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for one in value if hasattr(value, "append") else [value]:
                yield from unknown(one, f"{path}.{descriptor.name}")


def pprof(path):
    data = open(path, "rb").read()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    profile = profile_pb2.Profile()
    profile.ParseFromString(data)
    strange = set(unknown(profile))
    assert not strange, f"fields not in profile.proto: {strange}"
    text = profile.string_table
    assert text[0] == "", "the first string must be empty"
    functions = {f.id: text[f.name] for f in profile.function}
    locations = {l.id: l for l in profile.location}
    mappings = {m.id for m in profile.mapping}
    assert 0 not in functions and 0 not in locations and 0 not in mappings, "id 0 is reserved"
    assert len(locations) == len(profile.location) and len(functions) == len(profile.function), "ids are unique"
    out = Counter()
    for sample in profile.sample:
        assert len(sample.value) == len(profile.sample_type)
        frames = []
        for at in reversed(sample.location_id):
            location = locations[at]
            assert location.mapping_id in mappings | {0}
            # The last line is the function that the others were inlined into.
            frames += [functions[line.function_id] for line in reversed(location.line)] or [None]
        for label in sample.label:
            assert text[label.key], "a label without a key"
        out[tuple(frames)] += sample.value[0]
    labels = sorted({text[label.key] for sample in profile.sample for label in sample.label})
    types = [(text[t.type], text[t.unit]) for t in profile.sample_type]
    print(f"pprof: {len(profile.sample)} samples of {types}, labels {labels}")
    return out


def speedscope(path, schema):
    file = json.load(open(path))
    jsonschema.validate(file, json.load(open(schema)))
    frames, out = file["shared"]["frames"], Counter()
    for profile in file["profiles"]:
        assert len(profile["samples"]) == len(profile["weights"])
        assert abs(profile["endValue"] - profile["startValue"] - sum(profile["weights"])) < 1e-3
        for stack, weight in zip(profile["samples"], profile["weights"]):
            out[tuple(frames[i]["name"] for i in stack)] += weight
    print(f"speedscope: valid by its schema, {len(file['profiles'])} profiles")
    return out


def firefox(path):
    """There is no official schema to be had; what its types (src/types/profile.ts) ask for is looked at here."""
    file = json.load(open(path))
    meta = file["meta"]
    for key in ("interval", "startTime", "processType", "product", "stackwalk", "version", "preprocessedProfileVersion", "categories"):
        assert key in meta, f"meta.{key} is missing"
    for category in meta["categories"]:
        assert {"name", "color", "subcategories"} <= category.keys()
    shared, out = file.get("shared", {}), Counter()
    for thread in file["threads"]:
        for key in ("name", "pid", "tid", "processType", "registerTime", "pausedRanges", "samples", "markers"):
            assert key in thread, f"thread.{key} is missing"
        table = lambda name: thread.get(name) or shared[name]
        text = thread.get("stringArray") or shared["stringArray"]
        for name in ("frameTable", "stackTable", "funcTable", "resourceTable", "nativeSymbols"):
            columns = {k: v for k, v in table(name).items() if isinstance(v, list)}
            assert {len(v) for v in columns.values()} <= {table(name)["length"]}, f"{name}: columns differ in length"
        stacks, frame, func = table("stackTable"), table("frameTable"), table("funcTable")
        samples = thread["samples"]
        times = samples.get("time")
        if times is None:
            assert "timeDeltas" in samples
        else:
            assert all(a <= b for a, b in zip(times, times[1:])), "samples are in the order of time"
        for i, stack in enumerate(samples["stack"]):
            names = []
            while stack is not None:
                assert stacks["prefix"][stack] is None or stacks["prefix"][stack] < stack
                names.append(text[func["name"][frame["func"][stacks["frame"][stack]]]])
                stack = stacks["prefix"][stack]
            out[tuple(reversed(names))] += (samples.get("weight") or [1] * len(samples["stack"]))[i]
    print(f"firefox: version {meta['preprocessedProfileVersion']}, {len(file['threads'])} threads")
    return out


def folded(path):
    out = Counter()
    # A comment gives a name that folded text cannot hold.
    for line in (line for line in open(path) if not line.startswith("# name ")):
        stack, count = line.rstrip("\n").rsplit(" ", 1)
        out[tuple(stack.split(";"))] += int(count)
    return out


def main():
    base, schema = sys.argv[1:]
    said = {
        "pprof": pprof(f"{base}.pprof"),
        "speedscope": speedscope(f"{base}.speedscope", schema),
        "firefox": firefox(f"{base}.firefox"),
        "folded": folded(f"{base}.folded"),
    }
    wrong = False
    for form, stacks in said.items():
        total, frames = sum(stacks.values()), Counter(f for s in stacks for f in set(s))
        print(f"{form}: {len(stacks)} stacks, total {total}, {len(frames)} names")
    # A frame without a name is a module and an offset where there is room for one name only.
    named = lambda stacks: Counter({s: n for s, n in stacks.items() if None not in s})
    for form in ("speedscope", "firefox"):
        missing = {s: n for s, n in named(said["pprof"]).items() if said[form][s] != n}
        if missing:
            wrong = True
            print(f"{form}: {len(missing)} stacks differ from pprof's, e.g. {next(iter(missing.items()))}")
    totals = {form: sum(stacks.values()) for form, stacks in said.items()}
    if len({round(t) for t in totals.values()}) > 1:
        wrong = True
        print(f"totals differ: {totals}")
    print("the forms differ" if wrong else "all forms say the same")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
