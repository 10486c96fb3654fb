#!/usr/bin/python3
"""Compares what the quickstart came to with what it should.

    check.py stored SAMPLES          < output of `rua-milter summary --json`
    check.py metrics SAMPLES FILE    FILE is what otlp-receiver.py wrote
    check.py delivered SAMPLES DIR   DIR is what sink.py wrote
    check.py drift                   < output of `rua-milter drift --json`

SAMPLES is the folder of the sample mails; what is in them stands beside them as JSON.
Says on standard error what is wrong, and exits with 1 then.
"""

import json
import os
import re
import sys

OTHER = "user@other.example"
CONFIGURED = ("example.com", "example.org")


def expected(samples):
    """Reports and messages of each configured domain, from what stands beside the samples."""
    sums = {domain: [0, 0] for domain in CONFIGURED}
    for name in os.listdir(samples):
        if name.endswith(".json"):
            with open(os.path.join(samples, name), encoding="utf-8") as file:
                for report in json.load(file):
                    if report.get("domain") in sums:
                        sums[report["domain"]][0] += 1
                        sums[report["domain"]][1] += report["messages"]
    return sums


def stored(samples):
    found = {domain: [0, 0] for domain in CONFIGURED}
    for domain in json.load(sys.stdin)["domains"]:
        found[domain["domain"]] = [domain["reports"], domain["messages"]]
    if found != expected(samples):
        return f"[reports, messages] are {found}, and should be {expected(samples)}"


def metrics(samples, path):
    with open(path, encoding="utf-8") as file:
        series = [line.rsplit(" ", 1) for line in file]

    def total(name, *attributes):
        has = [value for key, value in series if re.match(re.escape(name) + r"[{ ]", key + " ")
               and all(attribute in key for attribute in attributes)]
        return sum(float(value) for value in has)

    wanted = [
        # The three reports and the one that came to two; the last two are refused.
        (4, "rua.mails", 'verdict="accepted"'),
        (1, "rua.mails", 'verdict="refused"', 'reason="foreign_domain"'),
        (1, "rua.mails", 'verdict="refused"', 'reason="unknown_recipient"'),
        (1, "dmarc.reports", 'outcome="duplicate"'),
        (1, "dmarc.findings", 'kind="policy_weaker"'),
        (1, "dmarc.findings"),
    ]
    for domain, (reports, messages) in expected(samples).items():
        wanted.append((reports, "dmarc.reports", 'outcome="stored"', f'domain="{domain}"'))
        wanted.append((messages, "dmarc.messages", f'domain="{domain}"'))
    for number, *what in wanted:
        if total(*what) != number:
            return f"{' '.join(what)} is {total(*what):g}, and should be {number}"


def delivered(samples, directory):
    """Each of the two mails went to the other alone, with one header more: Postfix's own."""
    mails = {}
    for name in os.listdir(directory):
        if name.endswith(".eml"):
            with open(os.path.join(directory, name), "rb") as file:
                mail = file.read()
            with open(os.path.join(directory, name[:-4] + ".to"), encoding="utf-8") as file:
                mails[mail] = file.read().split()
    if len(mails) != 2:
        return f"{len(mails)} mails were delivered, and 2 should have been"
    for sample in ("05-ordinary.eml", "01-google.eml"):
        with open(os.path.join(samples, sample), "rb") as file:
            sent = re.sub(rb"\r?\n", b"\r\n", file.read())
        came = [(mail[:-len(sent)], to) for mail, to in mails.items() if mail.endswith(sent)]
        if len(came) != 1 or came[0][1] != [OTHER]:
            return f"{sample} did not come to {OTHER} alone, as it was sent"
        if not re.fullmatch(rb"Received: [^\r]*\r\n(?:[ \t][^\r]*\r\n)*", came[0][0]):
            return f"{sample} came with other headers in front: {came[0][0]!r}"


def drift():
    checked = [json.loads(line) for line in sys.stdin]
    found = {one["domain"]: [finding["kind"] for finding in one["findings"]] for one in checked}
    if found != {"example.com": [], "example.org": ["policy_weaker"]}:
        return f"the findings are {found}"


def main():
    checks = {"stored": stored, "metrics": metrics, "delivered": delivered, "drift": drift}
    if len(sys.argv) < 2 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    try:
        wrong = checks[sys.argv[1]](*sys.argv[2:])
    except (OSError, ValueError, KeyError) as error:
        wrong = f"{type(error).__name__}: {error}"
    sys.exit(wrong)


if __name__ == "__main__":
    main()
