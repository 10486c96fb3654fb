"""Sends the mails of a folder to Postfix, one after the other, until a file appears.

    load.py FOLDER END

Prints the name of each that was taken (250), at once. One that is to come again (4xx) does so at
once, as often as it takes.
"""

import os
import smtplib
import sys
from pathlib import Path


def take(mail):
    """One session: whether it was taken."""
    try:
        with smtplib.SMTP("127.0.0.1", 25, local_hostname="mx.reporter.example", timeout=60) as smtp:
            smtp.sendmail("noreply@reporter.example", ["rua@reports.example"], mail)
            return True
    except smtplib.SMTPResponseException as refused:
        code = refused.smtp_code
    except smtplib.SMTPRecipientsRefused as refused:
        code = next(iter(refused.recipients.values()))[0]
    if not 400 <= code < 500:
        sys.exit(f"it was refused for good: {code}")
    return False


folder, end = sys.argv[1:]
for file in sorted(Path(folder).iterdir()):
    if os.path.exists(end):
        break
    mail = file.read_bytes()
    while not take(mail):
        pass
    print(file.name, flush=True)
else:
    sys.exit("there were too few mails")
