//! TLS reports take the same way as all others.

use crate::lab::{Lab, RUA, SOON, mails, replies, until};

/// The address for TLS reports of the configuration below.
const TLS: &str = "tls@reports.example";

fn lab() -> Lab {
    Lab::with(|settings, _| {
        let rua = "rua = [\"rua@reports.example\"]";
        let both = format!("{rua}\ntls = [\"{TLS}\"]");
        settings.domains = settings.domains.replacen(rua, &both, 1);
    })
}

#[test]
fn a_tls_report_is_taken_stored_once_and_summed_up() {
    let lab = lab();
    let mut client = lab.client();
    for to in [TLS, RUA] {
        let reply = client.submit(&[to], &mails::tls(to, "one", "example.com"));
        assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    }
    let summary = || lab.daemon.run(&["summary", "example.com", "--json"]).json();
    until("it is stored", SOON, || {
        lab.daemon.spool("new").is_empty() && summary()["tls"][0]["reports"] == 1
    });
    lab.settle();
    let sums = &summary()["tls"][0]["policies"]["sts"];
    assert_eq!(
        (&sums["successful"], &sums["failed"]),
        (&20.into(), &2.into())
    );
    assert_eq!(sums["failures"]["certificate-expired"], 2);
    assert!(lab.daemon.spool("parked").is_empty());
    assert!(lab.sink.received().is_empty(), "discarded");
    let archive = crate::lab::files_below(&lab.daemon.data().join("archive"));
    let is_mail = |file: &&std::path::PathBuf| file.to_string_lossy().ends_with(".eml.gz");
    assert_eq!(archive.iter().filter(is_mail).count(), 1, "{archive:?}");
}

#[test]
fn a_tls_report_about_a_foreign_domain_is_refused() {
    let lab = lab();
    let foreign = mails::tls(TLS, "two", "foreign.example");
    assert_eq!(lab.client().submit(&[TLS], &foreign), replies::FOREIGN);
}
