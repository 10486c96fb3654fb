//! Whatever strangers write into reports makes no series, and every total is right.

use std::fmt::Write as _;

use crate::{
    lab::{Lab, RUA, SOON, free_port, mails, page, until},
    otlp::Receiver,
};

/// A report whose every name is another than in any other: who sent it, the subdomain that it is
/// about, and the domains of its records. One message a record.
fn report(id: usize, records: usize) -> Vec<u8> {
    // Digits in another order than counting, so that no two neighbours are alike.
    let name = |n: usize| format!("x{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let begin = 1_700_000_000 + id % 86_400;
    let mut xml = format!(
        "<feedback><report_metadata><org_name>{org} Ltd</org_name><email>d@{org}.example</email>\
         <report_id>{id}</report_id><date_range><begin>{begin}</begin><end>{}</end></date_range>\
         </report_metadata><policy_published><domain>{org}.example.com</domain><p>none</p>\
         </policy_published>",
        begin + 86_399,
        org = name(id),
    );
    for record in 0..records {
        let domain = name(id * records + record);
        let _ = write!(
            xml,
            "<record><row><source_ip>192.0.2.1</source_ip><count>1</count><policy_evaluated>\
             <disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated>\
             </row><identifiers><header_from>{domain}.example</header_from></identifiers>\
             <auth_results><dkim><domain>{domain}.example</domain><selector>{domain}</selector>\
             <result>pass</result></dkim></auth_results></record>"
        );
    }
    xml += "</feedback>";
    mails::attached(RUA, xml.as_bytes())
}

/// Mails that are imported at a time.
const PIECE: usize = 10_000;

fn mbox(reports: std::ops::Range<usize>, records: usize) -> Vec<u8> {
    let mut mbox = Vec::new();
    for id in reports {
        mbox.extend_from_slice(b"From d@example.net Thu Jan  1 00:00:00 2026\n");
        mbox.extend_from_slice(&report(id, records));
        mbox.extend_from_slice(b"\n\n");
    }
    mbox
}

/// Names of series on the page, without those that tell how an export or a commit went.
fn series(page: &str) -> Vec<&str> {
    let lines = page.lines().filter(|line| line.starts_with("dmarc_"));
    let names = lines.filter_map(|line| line.rsplit_once(' '));
    names.map(|(name, _)| name).collect()
}

fn value(page: &str, start: &str) -> Option<u64> {
    let line = page.lines().find(|line| line.starts_with(start))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

async fn make_no_series(reports: usize, records: usize) {
    let collector = Receiver::start().await;
    let port = free_port();
    let lab = Lab::with(|settings, _| {
        settings.metrics = format!(
            "prometheus = \"127.0.0.1:{port}\"\notlp_endpoint = \"{}\"\notlp_interval_secs = 1\n",
            collector.grpc
        );
    });
    let feed = |from: usize, to: usize| {
        // A command of the lab has two minutes.
        for from in (from..to).step_by(PIECE) {
            let mails = mbox(from..to.min(from + PIECE), records);
            let output = lab.daemon.run_with(&["import", "-"], &mails);
            assert_eq!(output.code, 0, "{}", output.stderr);
        }
        let stored =
            "dmarc_reports_total{domain=\"example.com\",kind=\"aggregate\",outcome=\"stored\"}";
        until("all are stored", 10 * SOON, || {
            value(&page(port, "/metrics").1, stored) == Some(to as u64)
        });
        let age = "dmarc_reports_last_age_seconds{";
        until("their age is shown", SOON, || {
            page(port, "/metrics").1.contains(age)
        });
        page(port, "/metrics").1
    };
    let first = feed(0, 1);
    let last = feed(1, reports);
    assert_eq!(series(&first), series(&last));
    let messages = value(&last, "dmarc_messages_total{");
    assert_eq!(messages, Some((reports * records) as u64));
    let others =
        "dmarc_reporter_reports_total{kind=\"aggregate\",outcome=\"stored\",reporter=\"other\"}";
    assert_eq!(value(&last, others), Some(reports as u64));
    assert!(!last.contains("overflow"));

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let (reports, all) = (Some(reports as f64), Some((reports * records) as f64));
    collector
        .until(|got| got.sum("dmarc.messages", &[]) == all)
        .await;
    assert_eq!(collector.sum("dmarc.reporter.reports", &[]), reports);
    let points = collector.metrics();
    let of_reports = points
        .iter()
        .filter(|point| point.name.starts_with("dmarc."));
    assert_eq!(of_reports.count(), series(&last).len());
    let is_overflow = |key: &String| key.contains("overflow");
    assert!(
        !points
            .iter()
            .any(|point| point.attributes.keys().any(is_overflow))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_strange_domains_make_no_series() {
    make_no_series(2_000, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: a hundred thousand mails"]
async fn a_hundred_thousand_strange_reporters_and_subdomains_make_no_series() {
    make_no_series(100_000, 1).await;
}
