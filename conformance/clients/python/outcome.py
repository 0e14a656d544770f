# SPDX-License-Identifier: Apache-2.0
"""What the programs in Python have in common: they print outcomes, one JSON
object a line, as clients/doc.go tells. The values are those of shared_test.go."""

import json
import sys
import time
import traceback

BASE = 1_700_000_000_000  # ms since the Unix epoch, of the first record with a time
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CODEC_COUNT = 20
GROUP_PARTS = 4
GROUP_EACH = 10
IDEMPOTENT = 200
LARGEST = 1_048_588 - 72
DEADLINE = 60  # seconds that a step may take

RECORDS = [
    (b"k", b"v", []),
    (None, b"no key", []),
    (b"no value", None, []),
    (b"", b"", []),
    (b"h", b"headers", [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]),
]


def got(scenario, step, value):
    print(json.dumps({"scenario": scenario, "step": step, "got": value}), flush=True)


def scenario(name, run, *args):
    """Runs one; what it raises is its failure, and the next one goes on."""
    begin = time.monotonic()
    try:
        run(name, *args)
    except Exception as e:  # whatever a client raises
        traceback.print_exc()
        failed(name, e)
    print(f"{name} took {time.monotonic() - begin:.2f}s", file=sys.stderr)


def failed(name, e):
    print(json.dumps({"scenario": name, "failed": f"{type(e).__name__}: {e}"}), flush=True)


def topic(program, name):
    return program + "-" + name.replace(" ", "-")


def codec_value(codec, i):
    return f"{codec} {i} {'abc' * 100}".encode()


def group_value(p, i):
    return f"p{p}-{i:02d}".encode()


def group_values():
    return [group_value(p, i) for p in range(GROUP_PARTS) for i in range(GROUP_EACH)]


def text(b):
    return None if b is None else bytes(b).decode()


def record(offset, time_ms, key, value, headers):
    pairs = [[k, text(v)] for k, v in headers or []]
    return {"offset": offset, "time": time_ms - BASE, "key": text(key), "value": text(value), "headers": pairs}


def until(what, ok, step=lambda: None):
    """Calls step until ok() holds."""
    end = time.monotonic() + DEADLINE
    while not ok():
        if time.monotonic() > end:
            raise TimeoutError(what)
        step()


def firsts(records):
    """The first value of each partition, of pairs of partition and value."""
    all = {}
    for p, v in records:
        all.setdefault(str(p), text(v))
    return all
