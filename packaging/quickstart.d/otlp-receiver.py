#!/usr/bin/python3
"""A small OTLP collector: takes metrics over HTTP/protobuf and writes what it got into a file.

    otlp-receiver.py PORT FILE

Listens on 127.0.0.1:PORT (0: any free port) and says its endpoint on standard output. After
each export FILE has one line per series, `name{attributes} value`, sorted, with the last value.
A histogram makes two: `name.count` and `name.sum`. Needs nothing but Python's own library.
"""

import gzip
import io
import os
import struct
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

MAX_BODY = 64 << 20  # bytes, plain or inflated


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Every (number, value) of a protobuf message; fixed ones as their bytes."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            if kind == 2:
                size, at = varint(data, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError(f"wire type {kind}")
            value, at = data[at : at + size], at + size
            if len(value) != size:
                raise ValueError("cut off")
        yield tag >> 3, value


def every(data, number):
    return [value for n, value in fields(data) if n == number]


def one(data, number, default=b""):
    return (every(data, number) or [default])[-1]


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def any_value(data):
    """common.v1.AnyValue: 1 string, 2 bool, 3 int, 4 double."""
    for number, value in fields(data):
        if number == 1:
            return value.decode("utf-8", "replace")
        if number == 3:
            return str(signed(value))
        if number == 4:
            return f"{struct.unpack('<d', value)[0]:g}"
        return str(value)
    return ""


def series(name, attributes):
    """KeyValue: 1 key, 2 value."""
    pairs = sorted((one(a, 1).decode("utf-8", "replace"), any_value(one(a, 2))) for a in attributes)
    for old, new in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        pairs = [(key, value.replace(old, new)) for key, value in pairs]
    inner = ",".join(f'{key}="{value}"' for key, value in pairs)
    return f"{name}{{{inner}}}" if inner else name


def number_of(point):
    """NumberDataPoint: 4 as_double, 6 as_int (sfixed64)."""
    for number, value in fields(point):
        if number == 4:
            return struct.unpack("<d", value)[0]
        if number == 6:
            return struct.unpack("<q", value)[0]
    return 0


def points(metric):
    """Metric: 1 name, 5 gauge, 7 sum, 9 histogram, each with 1 data_points."""
    name = one(metric, 1).decode("utf-8", "replace")
    for number, data in fields(metric):
        if number in (5, 7):
            for point in every(data, 1):
                yield series(name, every(point, 7)), number_of(point)
        elif number == 9:
            # HistogramDataPoint: 4 count (fixed64), 5 sum (double), 9 attributes.
            for point in every(data, 1):
                count = struct.unpack("<Q", one(point, 4, bytes(8)))[0]
                total = struct.unpack("<d", one(point, 5, bytes(8)))[0]
                yield series(name + ".count", every(point, 9)), count
                yield series(name + ".sum", every(point, 9)), total


def decode(body):
    """ExportMetricsServiceRequest: 1 resource_metrics, 2 scope_metrics, 2 metrics."""
    for resource in every(body, 1):
        for scope in every(resource, 2):
            for metric in every(scope, 2):
                yield from points(metric)


def write(path, last):
    """Whole or not at all: a reader never sees half of an export."""
    lines = sorted(f"{key} {value:.15g}\n" for key, value in last.items())
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as out:
        out.writelines(lines)
    os.replace(temporary, path)


class Handler(BaseHTTPRequestHandler):
    last = {}
    path_out = ""
    timeout = 30

    def do_POST(self):
        if self.path != "/v1/metrics":
            return self.answer(404)
        try:
            size = int(self.headers.get("Content-Length", ""))
            if not 0 <= size <= MAX_BODY:
                return self.answer(413)
            body = self.rfile.read(size)
            if self.headers.get("Content-Encoding", "") == "gzip":
                with gzip.GzipFile(fileobj=io.BytesIO(body)) as plain:
                    body = plain.read(MAX_BODY + 1)
                if len(body) > MAX_BODY:
                    return self.answer(413)
            self.last.update(decode(body))
        except (ValueError, IndexError, TypeError, struct.error, OSError, EOFError) as error:
            print(f"otlp-receiver: {error}", file=sys.stderr)
            return self.answer(400)
        write(self.path_out, self.last)
        return self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    if len(sys.argv) != 3 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    Handler.path_out = sys.argv[2]
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
