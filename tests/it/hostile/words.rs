//! What strangers write into reports, and what it does to those who read it.

use super::{changed, configure, facts, lab::gzip, mail, run};

/// Texts that act where they are shown as they are.
const TEXTS: &[&str] = &[
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&lt;img src=x onerror=alert(1)&gt;",
    "javascript:alert(1)",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\u{ff1d}1",
    "\u{1b}[2J",
    "\u{9b}31m",
    "\u{1b}]52;c;eA==\u{7}",
    "\u{202e}evil\u{2066}",
    "a\u{200d}b",
    "ex\u{e4}mple",
    "x&#13;&#10;INFO forged: line",
    "http://169.254.169.254/",
];

#[test]
fn h40_to_h45_h48_texts_are_shown_and_do_nothing() {
    for text in TEXTS {
        for name in [
            "org_name>reporter.example",
            "email>a@reporter.example",
            "report_id>changed",
        ] {
            let (element, _) = name.split_once('>').unwrap();
            let file = changed(&format!("<{name}<"), &format!("<{element}>{text}<"));
            let dir = tempfile::tempdir().unwrap();
            let config = configure(dir.path(), "");
            let path = dir.path().join("input");
            std::fs::write(&path, mail(&gzip(&file))).unwrap();
            let taken = run(&[
                "import",
                "--json",
                "--config",
                &config,
                path.to_str().unwrap(),
            ]);
            assert!(
                taken.stdout.contains("\"stored\":1"),
                "{text}: {}",
                taken.stdout
            );
            let shown = [
                run(&["inspect", path.to_str().unwrap()]),
                run(&["reports", "--config", &config]),
                run(&["show", "1", "--config", &config]),
                run(&["export", "--csv", "--config", &config]),
            ];
            for run in shown {
                assert_eq!(run.code, 0, "{text}: {}", run.stderr);
                let acts = |c: char| {
                    c.is_control() && c != '\n' && c != '\t' && c != '\r'
                        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                };
                assert!(!run.stdout.contains(acts), "{text}: {:?}", run.stdout);
                let forged = run.stdout.lines().any(|line| line.starts_with("INFO"));
                assert!(!forged, "{text}: {:?}", run.stdout);
            }
        }
    }
}

#[test]
fn h44_h61_a_domain_in_letters_of_other_scripts_is_told_as_its_a_label() {
    let file = changed("<domain>example.com<", "<domain>b\u{fc}cher.example<");
    let found = &facts("h44", &mail(&file), 0)[0];
    assert_eq!(found["domain"], "xn--bcher-kva.example");
}
