//! What a data directory looks like once everything in it is done and the daemon has stopped.

use std::{fs::File, io::Read, path::Path};

use flate2::read::GzDecoder;

use super::files_below;

/// The databases are whole, the spool is empty, and there are so many archived mails, each of which
/// is what its name says; and nothing else.
pub fn assert_whole(data: &Path, archived_mails: u64) {
    for name in ["spool.sqlite", "reports.sqlite"] {
        let verdict: String = ask(data, name, "PRAGMA integrity_check");
        assert_eq!(verdict, "ok", "{name}");
    }
    let left = "SELECT (SELECT count(*) FROM entry) + (SELECT count(*) FROM message)";
    let left: u64 = ask(data, "spool.sqlite", left);
    assert_eq!(left, 0, "rows in the spool");
    let mut archived = 0;
    for path in files_below(&data.join("archive")) {
        if path.is_file() {
            assert_is_what_its_name_says(&path);
            archived += 1;
        }
    }
    assert_eq!(archived, archived_mails, "archived mails");
    for path in files_below(data) {
        let path = path.to_string_lossy();
        assert!(!path.contains(".broken"), "{path}");
    }
}

fn ask<T: rusqlite::types::FromSql>(data: &Path, name: &str, query: &str) -> T {
    let database = rusqlite::Connection::open(data.join(name)).expect("a database");
    let answer = database.query_row(query, [], |row| row.get(0));
    answer.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// An archived mail: a line that says how long its envelope is, the envelope, the mail.
fn assert_is_what_its_name_says(path: &Path) {
    let mut content = Vec::new();
    let file = File::open(path).expect("to open");
    let read = GzDecoder::new(file).read_to_end(&mut content);
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let end = content.windows(2).position(|two| two == b"\r\n");
    let (head, rest) = content.split_at(end.expect("a line") + 2);
    let head = String::from_utf8_lossy(head);
    let length: usize = head
        .trim_end()
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a length");
    let digest = rua_milter::archive::digest(&rest[length..]);
    let name = path.file_name().expect("a name").to_string_lossy();
    assert_eq!(name, format!("{digest}.eml.gz"));
}
