//! Long lists of domains: one a line, in files that the configuration names.

use std::{collections::HashMap, path::Path};

use super::{
    address::Recipient,
    domains::DomainEntry,
    file::{self, ConfigError},
};
use crate::{dns::record, domain::Domain};

/// What a wanted record should have been.
pub const WANTED: &str = "a DMARC record such as \"v=DMARC1; p=reject\"";

/// Configured domains by name.
pub type Entries = HashMap<Domain, DomainEntry>;

/// Reads a domain file.
pub(super) fn read(path: &Path, entries: &mut Entries) -> Result<(), ConfigError> {
    parse(path, &file::read(path)?, entries)
}

/// Reads the text of a domain file: one domain a line, then optionally, after a tab each,
/// addresses separated by commas and the wanted record. `#` starts a comment.
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
        let rua = fields
            .next()
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| address(text).ok_or_else(|| wrong(text, "an address")))
            .collect::<Result<_, _>>()?;
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
        let entry = DomainEntry {
            name: name.clone(),
            rua,
            tls: Vec::new(),
            ruf: Vec::new(),
            failure_reports: false,
            wanted,
        };
        if entries.insert(name, entry).is_some() {
            return Err(wrong(text, "each domain once"));
        }
    }
    Ok(())
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
