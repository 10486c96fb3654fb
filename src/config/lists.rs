//! Long lists of domains: one a line, in files that the configuration names.

use std::path::Path;

use super::{
    address::Recipient,
    domains::{Details, Entries},
    file::{self, ConfigError},
};
use crate::{dns::record, domain::Domain};

/// What a wanted record should have been.
pub const WANTED: &str = "a DMARC record such as \"v=DMARC1; p=reject\"";

/// Reads a domain file.
pub(super) fn read(path: &Path, entries: &mut Entries) -> Result<(), ConfigError> {
    parse(path, &file::read(path)?, entries)
}

/// Reads the text of a domain file: one domain a line, then optionally, after a tab each,
/// addresses separated by commas and the wanted record. `tls:` or `ruf:` before an address says
/// which reports it is for; failure reports are taken where there is a `ruf:`. `#` starts a
/// comment.
pub fn parse(path: &Path, text: &str, entries: &mut Entries) -> Result<(), ConfigError> {
    for (index, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default().trim_end();
        if content.trim().is_empty() {
            continue;
        }
        let wrong = |key: &str, expected: &str| ConfigError::Wrong {
            path: path.to_owned(),
            line: index + 1,
            key: key.to_owned(),
            expected: format!("expected {expected}"),
        };
        let mut fields = content.split('\t').map(str::trim);
        let text = fields.next().unwrap_or_default();
        let name = Domain::parse(text).ok_or_else(|| wrong(text, "a domain name"))?;
        let mut addresses = Addresses::default();
        let texts = fields.next().unwrap_or_default().split(',');
        for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
            let added = addresses.add(text);
            added.ok_or_else(|| wrong(text, "an address, tls:address or ruf:address"))?;
        }
        let wanted = match fields.next().unwrap_or_default() {
            "" => None,
            text => Some(wanted(text).ok_or_else(|| wrong(text, WANTED))?),
        };
        if let Some(extra) = fields.next() {
            return Err(wrong(
                extra,
                "at most three fields: domain, addresses, wanted record",
            ));
        }
        let details = Details {
            failure_reports: !addresses.ruf.is_empty(),
            rua: addresses.rua,
            tls: addresses.tls,
            ruf: addresses.ruf,
            wanted,
            ..Details::default()
        };
        if !entries.add(name, details) {
            return Err(wrong(text, "each domain once"));
        }
    }
    Ok(())
}

/// The addresses of one line.
#[derive(Default)]
struct Addresses {
    rua: Vec<Recipient>,
    tls: Vec<Recipient>,
    ruf: Vec<Recipient>,
}

impl Addresses {
    /// Adds one to those that its prefix names; an address has no colon before the `@` without
    /// quotes.
    fn add(&mut self, text: &str) -> Option<()> {
        let (to, text) = match text.split_once(':') {
            Some(("tls", text)) => (&mut self.tls, text),
            Some(("ruf", text)) => (&mut self.ruf, text),
            Some((word, _)) if !word.contains(['"', '@']) => return None,
            _ => (&mut self.rua, text),
        };
        to.push(address(text.trim())?);
        Some(())
    }
}

/// Reads an address as an operator writes it.
pub fn address(text: &str) -> Option<Recipient> {
    Recipient::parse(text.as_bytes())
}

/// Reads a wanted record; what no receiver would take for a DMARC record is none.
pub fn wanted(text: &str) -> Option<String> {
    match record::parse(text.trim().as_bytes()) {
        record::Parsed::Dmarc(_) => Some(text.trim().to_owned()),
        record::Parsed::NotDmarc => None,
    }
}
