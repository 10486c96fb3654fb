//! Sample mails, made from parameters. Lines end in CRLF, as on the wire.

use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use zip::{ZipWriter, write::SimpleFileOptions};

/// First second of every report here: 2023-11-14, UTC midnight.
const BEGIN: u64 = 1_699_920_000;
const END: u64 = BEGIN + 86_399;

/// An aggregate report: one record for each count, by turns passing and failing.
#[derive(Clone)]
pub struct Report {
    pub id: String,
    pub domain: String,
    pub counts: Vec<u64>,
}

impl Report {
    pub fn new(id: &str, domain: &str, counts: &[u64]) -> Self {
        Self {
            id: id.into(),
            domain: domain.into(),
            counts: counts.into(),
        }
    }

    /// RFC 7489 appendix C.
    pub fn xml(&self) -> String {
        let Self { id, domain, .. } = self;
        let records = self.records("");
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>
<feedback>
  <version>1.0</version>
  <report_metadata>
    <org_name>reporter.example</org_name>
    <email>noreply-dmarc@reporter.example</email>
    <extra_contact_info>https://reporter.example/dmarc</extra_contact_info>
    <report_id>{id}</report_id>
    <date_range>
      <begin>{BEGIN}</begin>
      <end>{END}</end>
    </date_range>
  </report_metadata>
  <policy_published>
    <domain>{domain}</domain>
    <adkim>r</adkim>
    <aspf>r</aspf>
    <p>reject</p>
    <sp>reject</sp>
    <pct>100</pct>
  </policy_published>
{records}</feedback>
"
        )
    }

    /// RFC 9990.
    pub fn xml_rfc9990(&self) -> String {
        let Self { id, domain, .. } = self;
        let records = self.records("        <human_result>2048-bit key</human_result>\n");
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">
  <version>1.0</version>
  <report_metadata>
    <org_name>reporter.example</org_name>
    <email>noreply-dmarc@reporter.example</email>
    <report_id>{id}</report_id>
    <date_range>
      <begin>{BEGIN}</begin>
      <end>{END}</end>
    </date_range>
    <generator>Example Reporter 2.0</generator>
  </report_metadata>
  <policy_published>
    <domain>{domain}</domain>
    <p>reject</p>
    <sp>quarantine</sp>
    <np>reject</np>
    <adkim>s</adkim>
    <aspf>r</aspf>
    <discovery_method>treewalk</discovery_method>
    <fo>1</fo>
    <testing>n</testing>
  </policy_published>
{records}</feedback>
"
        )
    }

    fn records(&self, human_result: &str) -> String {
        let domain = &self.domain;
        let record = |(n, count): (usize, &u64)| {
            let (disposition, result) = if n % 2 == 0 {
                ("none", "pass")
            } else {
                ("reject", "fail")
            };
            let source = match n % 3 {
                2 => format!("2001:db8::{:x}", n % 0xffff),
                _ => format!("192.0.2.{}", n % 254 + 1),
            };
            format!(
                "  <record>
    <row>
      <source_ip>{source}</source_ip>
      <count>{count}</count>
      <policy_evaluated>
        <disposition>{disposition}</disposition>
        <dkim>{result}</dkim>
        <spf>{result}</spf>
      </policy_evaluated>
    </row>
    <identifiers>
      <header_from>{domain}</header_from>
      <envelope_from>{domain}</envelope_from>
    </identifiers>
    <auth_results>
      <dkim>
        <domain>{domain}</domain>
        <selector>s1</selector>
        <result>{result}</result>
{human_result}      </dkim>
      <spf>
        <domain>{domain}</domain>
        <scope>mfrom</scope>
        <result>{result}</result>
      </spf>
    </auth_results>
  </record>
"
            )
        };
        self.counts.iter().enumerate().map(record).collect()
    }

    fn file_name(&self) -> String {
        format!("reporter.example!{}!{BEGIN}!{END}", self.domain)
    }

    fn headers(&self, to: &str) -> String {
        let Self { id, domain, .. } = self;
        headers(
            "noreply-dmarc@reporter.example",
            to,
            &format!("Report domain: {domain} Submitter: reporter.example Report-ID: <{id}>"),
            id,
        )
    }

    /// As Google sends: the whole message is one zip file.
    pub fn google(&self, to: &str) -> Vec<u8> {
        let name = self.file_name();
        let file = zip(&format!("{name}.xml"), self.xml().as_bytes());
        crlf(&format!(
            "{}Content-Type: application/zip; name=\"{name}.zip\"
Content-Disposition: attachment; filename=\"{name}.zip\"
Content-Transfer-Encoding: base64

{}",
            self.headers(to),
            base64(&file)
        ))
    }

    /// As Microsoft sends: mixed, related and alternative parts around a gzip file.
    pub fn microsoft(&self, to: &str) -> Vec<u8> {
        let name = self.file_name();
        let file = gzip(self.xml().as_bytes());
        crlf(&format!(
            "{}Content-Type: multipart/mixed; boundary=\"_mpm_mixed\"

--_mpm_mixed
Content-Type: multipart/related; boundary=\"_rv_related\"

--_rv_related
Content-Type: multipart/alternative; boundary=\"_av_alternative\"

--_av_alternative
Content-Type: text/plain; charset=us-ascii
Content-Transfer-Encoding: 7bit

This is a DMARC aggregate report. You receive it because your record asks for it.

--_av_alternative
Content-Type: text/html; charset=us-ascii
Content-Transfer-Encoding: base64

{}
--_av_alternative--

--_rv_related--

--_mpm_mixed
Content-Type: application/gzip
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=\"{name}.xml.gz\"

{}
--_mpm_mixed--
",
            self.headers(to),
            base64(b"<div>This is a DMARC aggregate report.</div>"),
            base64(&file)
        ))
    }

    /// As RFC 9990 asks: a line of text and a gzip file.
    pub fn rfc9990(&self, to: &str) -> Vec<u8> {
        let name = self.file_name();
        let file = gzip(self.xml_rfc9990().as_bytes());
        crlf(&format!(
            "{}Content-Type: multipart/mixed; boundary=\"report\"

--report
Content-Type: text/plain; charset=utf-8

This is an aggregate report from reporter.example.

--report
Content-Type: application/gzip; name=\"{name}!{id}.xml.gz\"
Content-Disposition: attachment; filename=\"{name}!{id}.xml.gz\"
Content-Transfer-Encoding: base64

{}
--report--
",
            self.headers(to),
            base64(&file),
            id = self.id,
        ))
    }

    /// The bare document as a part of its own.
    pub fn plain(&self, to: &str) -> Vec<u8> {
        crlf(&format!(
            "{}Content-Type: multipart/mixed; boundary=\"report\"

--report
Content-Type: text/plain

A report.

--report
Content-Type: text/xml; charset=utf-8
Content-Disposition: attachment; filename=\"{}.xml\"

{}
--report--
",
            self.headers(to),
            self.file_name(),
            self.xml()
        ))
    }
}

/// A mail that is no report.
pub fn ordinary(to: &str) -> Vec<u8> {
    let headers = headers("person@reporter.example", to, "Lunch on Thursday", "lunch");
    crlf(&format!(
        "{headers}Content-Type: text/plain; charset=us-ascii

Hello,

.this line starts with a dot, and  spaces \t stay as they are.

Regards
"
    ))
}

/// A TLS report about `domain` as RFC 8460 section 5.3 asks: 20 sessions went well, 2 failed.
pub fn tls(to: &str, id: &str, domain: &str) -> Vec<u8> {
    let json = format!(
        "{{\"organization-name\": \"reporter.example\",
  \"date-range\": {{\"start-datetime\": \"2023-11-14T00:00:00Z\", \"end-datetime\": \"2023-11-14T23:59:59Z\"}},
  \"contact-info\": \"tls@reporter.example\", \"report-id\": \"{id}\",
  \"policies\": [{{
    \"policy\": {{\"policy-type\": \"sts\", \"policy-domain\": \"{domain}\", \"mx-host\": [\"mx.{domain}\"]}},
    \"summary\": {{\"total-successful-session-count\": 20, \"total-failure-session-count\": 2}},
    \"failure-details\": [{{\"result-type\": \"certificate-expired\", \"failed-session-count\": 2}}]
  }}]}}\n"
    );
    let subject = format!("Report Domain: {domain} Submitter: reporter.example Report-ID: <{id}>");
    let headers = headers("tls@reporter.example", to, &subject, id);
    crlf(&format!(
        "{headers}TLS-Report-Domain: {domain}
TLS-Report-Submitter: reporter.example
Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"report\"

--report
Content-Type: text/plain

A TLS report.

--report
Content-Type: application/tlsrpt+gzip
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=\"reporter.example!{domain}!{BEGIN}!{END}.json.gz\"

{}
--report--
",
        base64(&gzip(json.as_bytes()))
    ))
}

/// A failure report about a message of `domain` whose body is `body`.
pub fn failure(to: &str, id: &str, domain: &str, body: &str) -> Vec<u8> {
    let headers = headers("dmarc@reporter.example", to, "FW: Hello", id);
    crlf(&format!(
        "{headers}Content-Type: multipart/report; report-type=feedback-report; boundary=\"report\"

--report
Content-Type: text/plain

A failure report.

--report
Content-Type: message/feedback-report

Feedback-Type: auth-failure
Version: 1
User-Agent: Example/1.0
Auth-Failure: dmarc
Authentication-Results: mx.reporter.example; spf=fail smtp.mailfrom=secret@{domain}
Original-Mail-From: <secret@{domain}>
Arrival-Date: Tue, 14 Nov 2023 10:00:00 +0000
Source-IP: 192.0.2.9
Reported-Domain: {domain}

--report
Content-Type: message/rfc822

From: Secret Person <secret@{domain}>
To: secret@other.example
Subject: Hello
Message-ID: <{id}.secret@{domain}>

{body}

--report--
"
    ))
}

/// A mail with these bytes as its one gzip file, whatever they are.
pub fn attached(to: &str, file: &[u8]) -> Vec<u8> {
    let headers = headers("noreply-dmarc@reporter.example", to, "Report", "attached");
    crlf(&format!(
        "{headers}Content-Type: application/gzip; name=\"report.xml.gz\"
Content-Disposition: attachment; filename=\"report.xml.gz\"
Content-Transfer-Encoding: base64

{}",
        base64(file)
    ))
}

/// An ordinary mail, with a body of `lines` lines.
pub fn long(to: &str, lines: usize) -> Vec<u8> {
    let mut mail = ordinary(to);
    for n in 0..lines {
        mail.extend_from_slice(format!("{n:075}\r\n").as_bytes());
    }
    mail
}

fn headers(from: &str, to: &str, subject: &str, id: &str) -> String {
    format!(
        "Date: Wed, 15 Nov 2023 01:02:03 +0000
From: <{from}>
To: <{to}>
Subject: {subject}
Message-ID: <{id}@reporter.example>
MIME-Version: 1.0
"
    )
}

/// Text with line ends as on the wire.
pub fn crlf(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n")
        .replace('\n', "\r\n")
        .into_bytes()
}

/// One gzip member.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

/// A zip file with one member.
pub fn zip(name: &str, data: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    writer.start_file(name, options).expect("memory");
    writer.write_all(data).expect("memory");
    writer.finish().expect("memory").into_inner()
}

/// RFC 4648 section 4, in lines of 76 characters.
pub fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for line in data.chunks(57) {
        for group in line.chunks(3) {
            let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for n in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
                text.push(if n > group.len() {
                    '='
                } else {
                    char::from(digit)
                });
            }
        }
        text.push('\n');
    }
    text
}
