//! The house rules: direction of imports, purity, and what every file looks like.
//!
//! The direction rule is read from the map in `src/lib.rs`, so map and rule cannot part.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use rua_milter::terms;

/// Modules without clock, disk, network, runtime or log; a folder means all of it.
const PURE: &[&str] = &[
    "unpack",
    "report",
    "dns/external",
    "dns/psl",
    "dns/record",
    "dns/tls_record",
    "dns/uri",
    "dns/walk",
    "drift/advice",
    "drift/compare",
    "drift/expected",
    "drift/history",
    "drift/lint",
    "drift/published",
    "drift/silence",
    "drift/tls",
    "drift/wanted",
    "intake/policy",
    "intake/examine",
    "intake/rate",
    "intake/hook/request",
    "intake/hook/response",
    "config/address",
    "config/domains",
    "config/rate",
];
/// What a pure module may name of the crate outside its own folder.
const PURE_MAY_NAME: &[&str] = &[
    "unpack", "report", "dns", "config", "domain", "terms", "limits",
];
/// Starts of paths that mean a clock, disk, network, runtime or log.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::time::SystemTime",
    "std::time::Instant",
    "SystemTime",
    "Instant",
    "fs",
    "tokio",
    "tracing",
    "rusqlite",
    "hickory_resolver",
    "indymilter",
    "opentelemetry",
    "nix",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
];
/// The only things of `std::net` that are values.
const NET_VALUES: &[&str] = &[
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "AddrParseError",
];
/// Lines of a file without its tests: discussed above the first, refused above the second.
const LINES_DISCUSSED: usize = 400;
const LINES_REFUSED: usize = 600;

/// One file under `src`.
struct Source {
    /// Without `.rs` and `/mod`, such as `config/domains`.
    module: String,
    text: String,
    /// Code without comments, strings and tests.
    code: String,
    /// Lines before the tests.
    lines: usize,
}

impl Source {
    fn top(&self) -> &str {
        self.module.split('/').next().unwrap_or_default()
    }

    fn is_pure(&self) -> bool {
        PURE.iter().any(|pure| {
            let rest = self.module.strip_prefix(pure);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Top modules of this crate that the code names.
    fn names(&self) -> Vec<String> {
        let depth = self.module.split('/').count();
        let tops = paths(&self.code).into_iter().filter_map(|path| {
            let ups = path.iter().take_while(|part| *part == "super").count();
            match path.first()?.as_str() {
                "crate" | "rua_milter" => path.get(1).cloned(),
                "super" if ups >= depth => path.get(ups).cloned(),
                _ => None,
            }
        });
        tops.collect()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut test_files = HashSet::new();
    for path in crate::lab::files_below(&root) {
        if path.extension().is_some_and(|ext| ext == "rs") {
            sources.push(source(&root, &path, &mut test_files));
        }
    }
    assert!(sources.len() > 5, "src is not where it was");
    // A file of tests may have a folder of its own.
    let is_test = |module: &str| {
        test_files
            .iter()
            .any(|file| Path::new(module).starts_with(file))
    };
    sources.retain(|source| !is_test(&source.module));
    sources
}

/// Reads one file; names the files that it declares as tests.
fn source(root: &Path, path: &Path, test_files: &mut HashSet<String>) -> Source {
    let text = fs::read_to_string(path).expect("a source file");
    let module = path.strip_prefix(root).expect("below").with_extension("");
    let module = module.to_str().expect("UTF-8");
    let module = module.strip_suffix("/mod").unwrap_or(module).to_owned();
    let mut code = plain_code(&text);
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]").map(|at| from + at) {
        from = at + 1;
        let item = code[at..]
            .split_once(']')
            .map_or("", |(_, item)| item)
            .trim_start();
        let item = item.strip_prefix("pub(crate)").unwrap_or(item).trim_start();
        let Some(name) = item.strip_prefix("mod ") else {
            continue;
        };
        let end = name.find([';', '{']).unwrap_or(name.len());
        if name[end..].starts_with(';') {
            test_files.insert(format!("{module}/{}", &name[..end]));
        } else {
            // Tests in the file itself stand at its end.
            code.truncate(at);
            break;
        }
    }
    Source {
        lines: code.lines().count(),
        module,
        text,
        code,
    }
}

/// The code with comments removed, and strings and characters emptied; line breaks stay.
fn plain_code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(length) = raw_string(rest, &out) {
            length
        } else if c == '"' {
            quoted(rest, '"')
        } else if let Some(length) = character(rest) {
            length
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..skip].matches('\n'));
        rest = &rest[skip..];
    }
    out
}

/// Length of `r"…"` or `r#"…"#` at the start.
fn raw_string(text: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() && c != 'b') {
        return None;
    }
    let hashes = text.strip_prefix('r')?;
    let body = hashes.trim_start_matches('#');
    let hashes = hashes.len() - body.len();
    body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 1 + hashes + 1;
    Some(start + text[start..].find(&end)? + end.len())
}

/// Length of a quoted text, escapes respected.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Length of a character literal; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.strip_prefix('\'')?.chars();
    let first = chars.next()?;
    (first == '\\' || chars.next() == Some('\'')).then(|| quoted(text, '\''))
}

/// Every path with `::` in the code, use trees spelled out: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    while let Some(start) = rest.find(is_name) {
        rest = &rest[start..];
        let mut end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if rest[end..].trim_start().starts_with("::") {
            end = path(rest, &[], &mut found);
        }
        rest = &rest[end..];
    }
    found
}

/// Reads one path or use tree at the start; its length.
fn path(text: &str, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut parts = before.to_vec();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let length = path(rest, &parts, found).max(1);
                rest = rest[length..].trim_start();
                // `as name` and the comma.
                let next = rest.find([',', '}']).unwrap_or(rest.len());
                rest = rest[next..].trim_start_matches(',').trim_start();
            }
            return text.len() - rest.len() + usize::from(!rest.is_empty());
        }
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if end == 0 {
            break;
        }
        parts.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.trim_start().strip_prefix("::") {
            Some(next) => rest = next,
            None => break,
        }
    }
    found.push(parts);
    text.len() - rest.len()
}

/// Ranks of the top modules, from the sentence in the map that starts at `main ->`.
fn ranks() -> HashMap<String, usize> {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let map = map.expect("lib.rs").replace("//!", " ");
    let start = map.find("`main ->").expect("the rule in the map") + 1;
    let rule = map[start..].split('`').next().expect("an end");
    let mut ranks = HashMap::new();
    for (rank, names) in rule.split("->").enumerate() {
        for name in names.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if !name.is_empty() {
                ranks.insert(name.to_owned(), rank);
            }
        }
    }
    assert!(ranks.len() > 15, "{ranks:?}");
    ranks
}

fn none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn imports_point_right_only() {
    let ranks = ranks();
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.module != "lib") {
        let top = source.top();
        let Some(from) = ranks.get(top) else {
            offences.push(format!("{top} is not in the rule of src/lib.rs"));
            continue;
        };
        for name in source.names() {
            match ranks.get(&name) {
                _ if name == top => {}
                Some(to) if to > from => {}
                Some(_) => offences.push(format!("{} names {name}", source.module)),
                None => offences.push(format!("{}: crate::{name}?", source.module)),
            }
        }
    }
    none(&offences);
}

#[test]
fn pure_modules_have_no_clock_disk_network_runtime_or_log() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.is_pure()) {
        for path in paths(&source.code) {
            let spelled = path.join("::");
            let starts = |start: &str| {
                let rest = spelled.strip_prefix(start);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            let net = path.starts_with(&["std".into(), "net".into()])
                && path
                    .get(2)
                    .is_none_or(|name| !NET_VALUES.contains(&name.as_str()));
            if net || IMPURE.iter().any(|start| starts(start)) {
                offences.push(format!("{} names {spelled}", source.module));
            }
        }
        for name in source.names() {
            if name != source.top() && !PURE_MAY_NAME.contains(&name.as_str()) {
                offences.push(format!("{} names crate::{name}", source.module));
            }
        }
        for word in ["println!", "eprintln!", "print!", "eprint!", "dbg!"] {
            if source.code.contains(word) {
                offences.push(format!("{}: {word}", source.module));
            }
        }
    }
    none(&offences);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let without = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.module);
    none(&without.collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long() {
    let mut offences = Vec::new();
    for Source { module, lines, .. } in sources() {
        if lines > LINES_REFUSED {
            offences.push(format!("{module}: {lines} lines"));
        } else if lines > LINES_DISCUSSED {
            println!("{module}: {lines} lines, to be discussed");
        }
    }
    none(&offences);
}

#[test]
fn outside_tests_nothing_is_unwrapped_unsafe_or_left_to_do() {
    let mut offences = Vec::new();
    for source in sources() {
        if source.code.contains(".unwrap()") {
            offences.push(format!("{}: unwrap", source.module));
        }
        let mut words = source
            .code
            .split(|c: char| !c.is_alphanumeric() && c != '_');
        if words.any(|word| word == "unsafe") {
            offences.push(format!("{}: unsafe", source.module));
        }
        let mut words = source.text.split(|c: char| !c.is_alphanumeric());
        if let Some(mark) = words.find(|word| ["TODO", "FIXME", "XXX"].contains(word)) {
            offences.push(format!("{}: {mark}", source.module));
        }
    }
    none(&offences);
}

#[test]
fn the_reader_of_paths_sees_through_trees_comments_and_strings() {
    let code = plain_code(
        "//! crate::no\nuse crate::{a::B, c::{self, d as e}, f};\nlet s = \"crate::no\"; /* crate::no */\n\
         fn g<'a>(x: &'a super::h::I) -> char { ':' }\nlet r = r#\"crate::\"no\"#;\n",
    );
    let spelled: Vec<_> = paths(&code).iter().map(|path| path.join("::")).collect();
    assert_eq!(
        spelled,
        [
            "crate::a::B",
            "crate::c::self",
            "crate::c::d",
            "crate::f",
            "super::h::I"
        ]
    );
}

fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    fs::read_to_string(path.join(name)).expect("a packaged file")
}

/// Lines of a manual page without the escapes of hyphens.
fn manual(name: &str) -> Vec<String> {
    let page = packaged(name).replace("\\-", "-");
    page.lines().map(str::to_owned).collect()
}

#[test]
fn the_manual_has_every_reason_and_kind_of_finding() {
    let page = manual("man/rua-milter.8.in");
    let reasons = terms::Rejection::ALL.iter().map(|reason| reason.as_str());
    let kinds = terms::FindingKind::ALL.iter().map(|kind| kind.as_str());
    let missing = reasons
        .chain(kinds)
        .filter(|word| !page.contains(&format!(".B {word}")));
    none(&missing.map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn the_manual_has_every_key_of_the_sample() {
    let page = manual("man/rua-milter.toml.5");
    let has = |word: &str| {
        let mut headings = page.iter().filter(|line| line.starts_with('.'));
        headings.any(|line| line.split([' ', '"', ',']).any(|part| part == word))
    };
    let mut missing = Vec::new();
    for line in packaged("rua-milter.toml").lines() {
        let line = line.trim_start_matches(['#', ':', ' ']);
        let section = line.starts_with('[') && line.ends_with(']');
        let key = line.split_once(" = ").map(|(key, _)| key);
        for word in section.then_some(line).into_iter().chain(key) {
            if !has(word) {
                missing.push(word.to_owned());
            }
        }
    }
    none(&missing);
}
