#!/usr/bin/python3
"""Sends one mail by SMTP and says what the sender was told.

    send.py PORT FILE RECIPIENT...

Talks to 127.0.0.1:PORT. Prints one line per recipient, and one for the message if any recipient
was accepted: what it is about, and the reply. FILE may end its lines in LF. Needs nothing but
Python's own library.
"""

import re
import smtplib
import sys

SENDER = "noreply-dmarc@reporter.example"


def line(about, reply):
    code, text = reply
    text = b" ".join(text.splitlines()).decode("ascii", "replace")
    print(f"{about:<32}  {code} {text}")
    return code


def main():
    if len(sys.argv) < 4 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    port, path, recipients = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    with open(path, "rb") as file:
        mail = re.sub(rb"\r?\n", b"\r\n", file.read())
    with smtplib.SMTP("127.0.0.1", port, local_hostname="mx.reporter.example", timeout=60) as smtp:
        smtp.ehlo()
        greeted = smtp.mail(SENDER)
        if greeted[0] != 250:
            line("from " + SENDER, greeted)
            return
        told = [line(f"to {recipient}", smtp.rcpt(recipient)) for recipient in recipients]
        if 250 in told:
            line("the message", smtp.data(mail))


if __name__ == "__main__":
    main()
