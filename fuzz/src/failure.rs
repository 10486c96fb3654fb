//! Failure reports, with the mails that bring them.

use rua_milter::{
    limits,
    pipeline::hints,
    report::{self, Whole, failure::FailureReport},
    unpack::{self, Bounds, Document, Shape},
};

/// A failure report reads twice the same, tells at SMTP time what it is about, and redacted holds
/// no local part. What is kept of one that cannot be used is a mail that can be read again.
pub fn failure(input: &[u8]) {
    let found = unpack::documents(input, &Bounds::default());
    let failures = found
        .documents
        .iter()
        .filter(|document| document.headers.is_some());
    for document in failures {
        let read = read(document);
        let again = self::read(document);
        assert_eq!(
            format!("{read:?}"),
            format!("{again:?}"),
            "read a second time"
        );
        let Some(report) = read else {
            continue;
        };
        assert!(report.arrival > 0 && report.incidents > 0);
        if let Some(domain) = report::recognise(document.open()).and_then(|head| head.domain) {
            assert_eq!(domain, report.domain, "told at SMTP time");
        }
        is_redacted(report);
    }
    if found.holds_failure {
        is_kept(input, &found.documents);
    }
}

fn read(document: &Document<'_>) -> Option<FailureReport> {
    match report::read(|| document.open(), &hints(document, limits::MAX_RECORDS), 0) {
        Ok(Whole::Failure(report)) => Some(*report),
        Ok(_) => panic!("another kind"),
        Err(_) => None,
    }
}

/// No address has a local part but the word that stands for one, and there is nothing more to
/// take out.
fn is_redacted(report: FailureReport) {
    let redacted = report.redacted();
    let addresses = redacted.said.mail_from.iter().chain(&redacted.said.rcpt_to);
    for address in addresses.filter(|address| !address.is_empty()) {
        let local = address
            .rsplit_once('@')
            .map_or(&**address, |(local, _)| local);
        assert_eq!(local, "redacted");
    }
    let once = format!("{redacted:?}");
    assert_eq!(once, format!("{:?}", redacted.redacted()));
}

/// What is kept of a mail that is parked is a mail again, with these reports and nothing else.
fn is_kept(raw: &[u8], documents: &[Document<'_>]) {
    let failures = documents
        .iter()
        .filter(|document| document.headers.is_some());
    let count = failures.clone().count();
    let parts = failures.map(|document| (document.open(), document.shape == Shape::Notice));
    let kept = report::failure::kept(unpack::header(raw), parts, true);
    let found = unpack::documents(&kept, &Bounds::default());
    let mut again = found.documents.iter();
    assert!(again.all(|document| document.headers.is_some()));
    assert!(found.documents.len() <= count);
}
