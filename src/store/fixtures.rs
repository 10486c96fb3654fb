//! Reports to store in tests.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Arrival, Reader, Recorded, Sink, Store, StoreError, published::Changes};
use crate::{
    dns::{Answer, Finding},
    domain::Domain,
    report::{
        Broken, Digest, DkimAuth, Metadata, PolicyPublished, Reason, Record, Report, Results,
        SpfAuth, Stated, Words,
        failure::{self, Around, FailureReport},
    },
    terms::{Aligned, AuthResult, Disposition, Door, FindingKind, FindingSource, Policy},
};

/// A store in a directory of its own.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("reports.sqlite")).unwrap();
        Self { dir, store }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("reports.sqlite")
    }

    pub(crate) fn add(
        &mut self,
        arrival: &Arrival,
        (report, rows): &(Report, Vec<Record>),
    ) -> Recorded {
        self.store
            .transaction(|batch| batch.add(arrival, &example(), report, kept(rows)))
            .unwrap()
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        number(&self.path(), sql)
    }
}

pub(crate) fn number(path: &Path, sql: &str) -> i64 {
    let reader = Reader::open(path).unwrap();
    reader
        .connection
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

pub(crate) fn kept(rows: &[Record]) -> impl FnOnce(&mut Sink<'_>) -> Result<(), Broken> {
    move |sink| {
        rows.iter().for_each(sink);
        Ok(())
    }
}

pub(crate) fn example() -> Domain {
    Domain::parse("example.com").unwrap()
}

pub(crate) fn arrival(spool_id: i64) -> Arrival {
    Arrival {
        node: "mx1".into(),
        spool: "a1".into(),
        spool_id,
        part: "2".into(),
        arrived: 1_700_000_000 + spool_id,
        door: Door::Milter,
        client: Some("192.0.2.1".parse().unwrap()),
        sender: "noreply@reporter.example".into(),
        recipient: "dmarc@example.com".into(),
        archive: Some(Digest([7; 32])),
    }
}

pub(crate) fn record(last: u8, count: u64, dkim: Stated<Aligned>) -> Record {
    Record {
        source_ip: [192, 0, 2, last].into(),
        count,
        disposition: Stated::Known(Disposition::None),
        dkim,
        spf: Stated::Known(Aligned::Fail),
        reasons: vec![Reason {
            kind: Stated::Other("mailing list".into()),
            comment: Words {
                text: "a \"quoted\" word".into(),
                lang: Some("en".into()),
            },
        }],
        header_from: "example.com".into(),
        envelope_from: Some(String::new()),
        envelope_to: None,
        dkim_auth: vec![DkimAuth {
            domain: "example.com".into(),
            selector: "s1".into(),
            result: Stated::Known(AuthResult::Pass),
            human_result: Words::default(),
        }],
        spf_auth: vec![SpfAuth::default()],
    }
}

/// A report with its records, whose digest is `version` and whose id is `id`.
pub(crate) fn report(id: &str, version: u8, rows: Vec<Record>) -> (Report, Vec<Record>) {
    let mut totals = BTreeMap::<Results, u64>::new();
    for row in &rows {
        *totals.entry(row.results()).or_default() += row.count;
    }
    let report = Report {
        digest: Digest([version; 32]),
        metadata: Metadata {
            org_name: "Reporter".into(),
            report_id: id.into(),
            begin: 1_699_920_000,
            end: 1_700_006_399,
            ..Metadata::default()
        },
        policy: PolicyPublished {
            domain: Domain::parse("mail.example.com").unwrap(),
            p: Stated::Known(Policy::Reject),
            sp: Stated::Not,
            np: Stated::Not,
            adkim: Stated::Other("relaxed".into()),
            aspf: Stated::Not,
            pct: Some(100),
            fo: String::new(),
            testing: Stated::Not,
            discovery_method: Stated::Not,
        },
        records: rows.len() as u64,
        skipped_records: 0,
        skipped: Vec::new(),
        messages: rows.iter().map(|row| row.count).sum(),
        totals,
        notes: vec!["a note".into()],
    };
    (report, rows)
}

pub(crate) fn plain(id: &str, version: u8) -> (Report, Vec<Record>) {
    let pass = Stated::Known(Aligned::Pass);
    let rows = vec![
        record(1, 5, pass.clone()),
        record(2, 7, Stated::Known(Aligned::Fail)),
        record(3, 1, Stated::Other("maybe".into())),
        record(4, 2, pass),
    ];
    report(id, version, rows)
}

/// A failure report of three incidents whose mail has this id.
pub(crate) fn failure(id: &str) -> FailureReport {
    let mail = format!("From: a@reporter.example\nMessage-ID: <{id}>\n");
    let fields = "Feedback-Type: auth-failure\nAuth-Failure: dmarc\nIncidents: 3\n\
        Reported-Domain: mail.example.com\nSource-IP: 192.0.2.7\nOriginal-Mail-From: <>\n\
        Arrival-Date: Tue, 14 Nov 2023 10:00:00 +0000\n\
        Authentication-Results: a; dmarc=fail\nAuthentication-Results: b; spf=fail\n";
    let reported = format!("Subject: Hello\nX-Id: {id}\n");
    let around = Around {
        mail: mail.as_bytes(),
        reported: reported.as_bytes(),
        is_notice: false,
    };
    failure::read(fields.as_bytes(), &around).unwrap()
}

/// Single steps of a look, each by itself.
impl Store {
    pub(crate) fn record_answer(
        &mut self,
        domain: &Domain,
        answer: &Answer,
        at: i64,
        gap: i64,
    ) -> Result<(), StoreError> {
        self.settle(|look| look.record_answer(domain, answer, at, gap))
    }

    pub(crate) fn set_findings(
        &mut self,
        domain: &Domain,
        source: FindingSource,
        findings: &[Finding],
        undecided: &[FindingKind],
        at: i64,
    ) -> Result<Changes, StoreError> {
        self.settle(|look| look.set_findings(domain, source, findings, undecided, at))
    }
}
