//! Lists of domains, as operators write them.

use std::{collections::HashSet, path::Path};

use rua_milter::{
    config::{
        domains::{DomainList, Entries, Standing},
        file::ConfigError,
        lists,
    },
    limits,
};

/// Any text is a list, or an error that names its line; of a list every domain is found again by
/// its name and below it, and every address is ours.
pub fn domains(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut entries = Entries::default();
    if let Err(error) = lists::parse(Path::new("list"), text, &mut entries) {
        let ConfigError::Wrong { line, .. } = error else {
            panic!("{error}");
        };
        assert!((1..=text.lines().count()).contains(&line));
        return;
    }
    let list = DomainList::new(entries, HashSet::new(), None, "+".to_owned());
    assert!(list.len() <= text.lines().count());
    assert_eq!(list.iter().count(), list.len());
    for entry in list.iter() {
        assert_eq!(list.covering(entry.name), Some(entry));
        let details = entry.details;
        assert_eq!(details.failure_reports, !details.ruf.is_empty());
        for address in details.rua.iter().chain(&details.tls).chain(&details.ruf) {
            let quoted = address.local.replace('\\', "\\\\");
            let argument = format!("<\"{quoted}\"@{}>", address.host);
            if argument.len() > limits::MAX_ADDRESS {
                continue;
            }
            assert_eq!(
                list.standing(argument.as_bytes()),
                Standing::Ours,
                "{argument}"
            );
        }
    }
}
