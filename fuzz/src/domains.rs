//! Lists of domains, as operators write them.

use std::{collections::HashSet, path::Path};

use rua_milter::config::{
    domains::{DomainList, Standing},
    file::ConfigError,
    lists,
};

/// Any text is a list, or an error that names its line; of a list every domain is found again by
/// its name and below it, and every address is ours.
pub fn domains(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut entries = lists::Entries::new();
    if let Err(error) = lists::parse(Path::new("list"), text, &mut entries) {
        let ConfigError::Wrong { line, .. } = error else {
            panic!("{error}");
        };
        assert!((1..=text.lines().count()).contains(&line));
        return;
    }
    assert!(entries.len() <= text.lines().count());
    let given: Vec<_> = entries.values().cloned().collect();
    let list = DomainList::new(given.clone(), HashSet::new(), None, "+".to_owned());
    assert_eq!(list.len(), given.len());
    for entry in &given {
        assert_eq!(list.covering(&entry.name), Some(entry));
        assert_eq!(entry.failure_reports, !entry.ruf.is_empty());
        for address in entry.rua.iter().chain(&entry.tls).chain(&entry.ruf) {
            let quoted = address.local.replace('\\', "\\\\");
            let argument = format!("<\"{quoted}\"@{}>", address.host);
            assert_eq!(
                list.standing(argument.as_bytes()),
                Standing::Ours,
                "{argument}"
            );
        }
    }
}
