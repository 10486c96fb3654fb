#!/usr/bin/python3
"""A small SMTP server that takes everything: where mail to others is delivered.

    sink.py DIR

Listens on a free port of 127.0.0.1 and says which on standard output. Each message becomes the
files DIR/N.eml, byte for byte as it came, and DIR/N.to with its recipients, one a line; N counts
from 1. Needs nothing but Python's own library.
"""

import itertools
import os
import socketserver
import sys

MAX_LINE = 1 << 20  # bytes
MAX_MAIL = 64 << 20  # bytes


class Session(socketserver.StreamRequestHandler):
    timeout = 60
    directory = ""
    numbers = itertools.count(1)

    def say(self, text):
        self.wfile.write(text.encode("ascii") + b"\r\n")

    def handle(self):
        recipients = []
        self.say("220 sink.example")
        while line := self.rfile.readline(MAX_LINE):
            verb = line[:4].upper()
            if verb == b"RCPT":
                recipients.append(line.split(b"<", 1)[-1].split(b">", 1)[0].decode("utf-8", "replace"))
                self.say("250 2.1.5 Ok")
            elif verb == b"DATA":
                self.say("354 Go on")
                data = self.data()
                if data is None:
                    return
                self.keep(recipients, data)
                recipients = []
                self.say("250 2.0.0 Taken")
            elif verb == b"QUIT":
                return self.say("221 2.0.0 Bye")
            else:
                if verb in (b"MAIL", b"RSET"):
                    recipients = []
                self.say("250 Ok")

    def data(self):
        lines, size = [], 0
        while (line := self.rfile.readline(MAX_LINE)) and size < MAX_MAIL:
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)
            size += len(line)
        return None

    def keep(self, recipients, data):
        number = next(self.numbers)
        for ending, content in ((".to", "\n".join(recipients).encode() + b"\n"), (".eml", data)):
            path = os.path.join(self.directory, f"{number}{ending}")
            with open(path + ".new", "wb") as out:
                out.write(content)
            os.replace(path + ".new", path)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Session.directory = sys.argv[1]
    with Server(("127.0.0.1", 0), Session) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
