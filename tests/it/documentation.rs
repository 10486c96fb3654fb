//! README.md and the guides do what they say: whatever stands in a fenced block is run, loaded or
//! compared here, or says why not.
//!
//! What is done with a block stands behind its language:
//!
//!   sh run             typed on a machine of the page's own, from the top of the page to its end
//!      ... delivers    and a report that is mailed there afterwards is stored
//!      ... queued      a report that came while the daemon was away waits in Postfix's queue
//!      ... drains      and is stored afterwards, and not in the queue any more
//!   sh not-run: WHY    left out
//!   console            commands behind `# `, each with exactly what it prints
//!   sql                asked of a store, and answered with rows
//!   toml               taken by check-config
//!      ... install     and is the configuration of the page's machine
//!   dns                lines of a zone, each record without a mistake
//!   m4                 lines of packaging/sendmail/rua-milter.mc
//!   ini, text          only read
//!
//! `UPDATE_GOLDEN=1` writes anew what commands print.

mod machine;
mod page;
mod showroom;

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
    thread,
};

use rua_milter::{
    dns::{
        record::{self, Parsed},
        tls_record,
    },
    terms::Rejection,
};

use crate::{
    lab::{
        RUA, bounded,
        daemon::{Daemon, Settings},
        mails::Report,
        open_dir,
    },
    samples,
};
use machine::Machine;
use page::{Block, Page, pages};
use showroom::Showroom;

#[test]
fn every_block_says_what_is_done_with_it() {
    for page in pages() {
        for block in &page.blocks {
            let words: Vec<_> = block.todo.split(' ').collect();
            let known = match (&*block.language, &words[..]) {
                ("sh", ["run", rest @ ..]) => rest
                    .iter()
                    .all(|word| ["delivers", "queued", "drains"].contains(word)),
                ("sh", ["not-run:", why, ..]) => !why.is_empty(),
                ("toml", ["" | "install"])
                | ("console" | "sql" | "dns" | "m4" | "ini" | "text", [""]) => true,
                _ => false,
            };
            assert!(known, "{}: {} {}", block.at(), block.language, block.todo);
        }
    }
}

#[test]
fn links_lead_to_pages_and_headings() {
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.replace(|c: char| !c.is_alphanumeric() && c != '-', "")
    };
    for page in pages() {
        for link in page.links() {
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            if file.contains("://") {
                continue;
            }
            let target = match file {
                "" => page.path.clone(),
                file => page.path.parent().expect("a folder").join(file),
            };
            assert!(target.exists(), "{}: {link}", page.name);
            let text = fs::read_to_string(&target).expect("a page");
            let headings = text.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(|line| anchor(line.trim_start_matches(['#', ' '])));
            let found = fragment.is_empty() || anchors.any(|anchor| anchor == fragment);
            assert!(found, "{}: {link}", page.name);
        }
    }
}

/// One thread for each page, as most of it is waiting for servers.
#[test]
fn what_a_page_says_to_type_works() {
    thread::scope(|scope| {
        for page in pages() {
            if page.of("sh").any(Block::is_run) {
                scope.spawn(move || {
                    let mut machine = Machine::for_page(&page);
                    for block in page.of("sh").filter(|block| block.is_run()) {
                        machine.follow(block);
                    }
                });
            }
        }
    });
}

/// Programs that the manual calls in its examples.
const CALLED: &[&str] = &[
    "chmod",
    "cp",
    "mv",
    "postcat",
    "postconf",
    "postqueue",
    "rua-milter",
    "systemctl",
];

/// An example of the manual is a line that a guide has, where it is run; a word in capitals is
/// anything there.
#[test]
fn the_manual_says_to_type_what_the_guides_do() {
    let words = |line: &str| -> Vec<String> {
        let line = line.split(" #").next().unwrap_or_default().replace('"', "");
        line.split_whitespace().map(str::to_owned).collect()
    };
    let pages = pages();
    let blocks = pages
        .iter()
        .flat_map(|page| page.of("sh"))
        .filter(|block| block.is_run());
    let run: Vec<_> = blocks
        .flat_map(|block| block.text.lines().map(words))
        .collect();
    let is = |told: &String, typed: &String| {
        let is_any = told.chars().all(|c| c.is_ascii_uppercase());
        is_any || told == typed
    };
    let mut seen = 0;
    for name in ["rua-milter.8.in", "rua-milter.toml.5", "rua-milter-mta.7"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("packaging/man")
            .join(name);
        let text = fs::read_to_string(path)
            .expect("a manual page")
            .replace("\\-", "-");
        let examples = text.split("\n.RS\n").skip(1);
        let lines =
            examples.flat_map(|example| example.split("\n.RE").next().unwrap_or("").lines());
        for line in lines {
            let told = words(line);
            if !told
                .first()
                .is_some_and(|program| CALLED.contains(&&**program))
            {
                continue;
            }
            let found = run.iter().any(|typed| {
                told.len() == typed.len() && told.iter().zip(typed).all(|(a, b)| is(a, b))
            });
            assert!(found, "{name}: {line}");
            seen += 1;
        }
    }
    assert!(
        seen > 8,
        "the examples of the manual are marked otherwise than this reads"
    );
}

#[test]
fn what_a_page_shows_is_what_commands_print() {
    let showroom = Showroom::open();
    for page in pages() {
        let mut text = page.text.clone();
        for block in page.of("console") {
            let commands = block
                .text
                .lines()
                .filter_map(|line| line.strip_prefix("# "));
            let shown = commands.fold(String::new(), |mut shown, command| {
                let _ = writeln!(shown, "# {command}\n{}", showroom.types(command).trim_end());
                shown
            });
            if samples::are_updated() {
                text = text.replace(&block.text, &shown);
            } else {
                assert_eq!(block.text, shown, "{}", block.at());
            }
        }
        if text != page.text {
            fs::write(&page.path, text).expect("to write");
        }
    }
}

#[test]
fn every_query_is_answered() {
    let showroom = Showroom::open();
    let store = showroom.store();
    for page in pages() {
        for block in page.of("sql") {
            let query = block.text.replace("'now'", showroom::NOW);
            let rows = store.prepare(&query).and_then(|mut query| {
                let mut rows = query.query([])?;
                let mut number = 0;
                while rows.next()?.is_some() {
                    number += 1;
                }
                Ok(number)
            });
            let rows = rows.unwrap_or_else(|error| panic!("{}: {error}", block.at()));
            assert!(rows > 0, "{}: no rows", block.at());
        }
    }
}

#[test]
fn a_member_of_the_group_reads_while_the_daemon_runs() {
    const GROUP: u32 = 4_242;
    let dir = open_dir();
    let data = dir.path().join("data");
    let mut settings = Settings::new(&data);
    settings.listen = vec![format!("unix:{}/rua.sock", dir.path().display())];
    let mut daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let report = Report::new("one", "example.com", &[4, 3]).google(RUA);
    assert_eq!(daemon.run_with(&["import", "-"], &report).code, 0);
    let store = data.join("reports.sqlite");
    for (path, mode) in [(&data, 0o750), (&store, 0o640)] {
        chown(path, None, Some(GROUP)).expect("root");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    // New files take the group of the first one, as they do its mode.
    daemon.restart();
    let read = || {
        let mut member = bounded("setpriv");
        let member = member.args(["--reuid=65534", "--regid=65534"]);
        let member = member.arg(format!("--groups={GROUP}")).arg("sqlite3");
        let member = member.arg("-readonly").arg(&store);
        let output = member.arg("SELECT sum(count) FROM dmarc_records").output();
        let output = output.expect("Debian's package sqlite3");
        (output.status.success(), output.stdout)
    };
    assert_eq!(read(), (true, b"7\n".to_vec()));
    let second = Report::new("two", "example.com", &[1]).google(RUA);
    assert_eq!(daemon.run_with(&["import", "-"], &second).code, 0);
    assert_eq!(read(), (true, b"8\n".to_vec()));
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert!(!read().0, "nobody made the files beside it");
}

#[test]
fn the_guide_has_every_column_of_every_view_in_their_order() {
    let showroom = Showroom::open();
    let store = showroom.store();
    let names = |sql: &str| -> Vec<String> {
        let mut query = store.prepare(sql).expect("a query");
        let names = query.query_map([], |row| row.get(0)).expect("names");
        names.map(|name| name.expect("a name")).collect()
    };
    let page = Page::read("packaging/guides/sql.md");
    let views = names("SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY rowid");
    for view in views {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{view}')"));
        assert_eq!(page.first_column(&view), columns, "{view}");
    }
}

#[test]
fn the_guide_says_what_to_do_about_every_reason() {
    let page = Page::read("packaging/guides/operating.md");
    for reason in Rejection::ALL {
        let named = format!("`{reason}`");
        assert!(page.text.contains(&named), "{named}");
    }
}

#[test]
fn every_configuration_is_taken() {
    for page in pages() {
        for block in page.of("toml") {
            let said = machine::check_config(&block.text);
            assert_eq!(said.code, 0, "{}: {said:?}", block.at());
        }
    }
}

#[test]
fn every_record_is_one_without_a_mistake() {
    let dir = tempfile::tempdir().expect("a directory");
    let zone = dir.path().join("root.zone");
    for page in pages() {
        for block in page.of("dns") {
            let head = "$TTL 300\n. SOA ns.example. hostmaster.example. 1 300 300 3600 60\n\
                        . NS ns.example.\n";
            fs::write(&zone, format!("{head}{}", block.text)).expect("to write");
            let checked = Command::new("/usr/sbin/nsd-checkzone")
                .arg(".")
                .arg(&zone)
                .output();
            let checked = checked.expect("Debian's package nsd");
            assert!(checked.status.success(), "{}: {checked:?}", block.at());
            for line in block.text.lines().filter(|line| line.contains(" TXT ")) {
                let text = line.split('"').nth(1).expect("a text").as_bytes();
                let is_good = if line.starts_with("_smtp._tls.") {
                    tls_record::parse(text).is_some_and(|record| record.problems.is_empty())
                } else if line.contains("._report._dmarc.") {
                    text == b"v=DMARC1;"
                } else {
                    matches!(record::parse(text), Parsed::Dmarc(record) if record.problems.is_empty())
                };
                assert!(is_good, "{}: {line}", block.at());
            }
        }
    }
}

#[test]
fn what_is_pasted_into_sendmail_is_what_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tested = fs::read_to_string(root.join("packaging/sendmail/rua-milter.mc"));
    let tested = tested.expect("a packaged file");
    for page in pages() {
        for line in page.of("m4").flat_map(|block| block.text.lines()) {
            assert!(tested.lines().any(|it| it == line), "{}: {line}", page.name);
        }
    }
}
