//! The page rua-milter-metrics(7): every instrument, written from its declaration.

use std::fmt::Write as _;

use super::metrics::{ALL, Attribute, Declaration, Shape, Source, Values};

const HEAD: &str = r#".TH rua\-milter\-metrics 7 "" "rua\-milter @VERSION@" "Miscellaneous"
.SH NAME
rua\-milter\-metrics \- what rua\-milter counts, measures and observes
.SH DESCRIPTION
Metrics leave by OTLP, on the Prometheus page, or both; see
.B metrics
in
.BR rua\-milter.toml (5).
OTLP has the names that stand first here, the page those in parentheses; a histogram has
.BR _bucket ", " _sum " and " _count
behind it there.
.PP
Attributes are closed words and configured names: nothing that a stranger wrote gets into them,
and there are never more series than the words allow.
.I domain
is a configured domain, at most
.B metrics.max_domains
of them, the first in the order of the alphabet and those that had a series before;
.B other
are the rest.
.I reporter
is one of the large reporters that are known by name, or of
.BR reporters.known ;
who a reporter is rests on what the report says, which anybody can write.
.I listener
is the name of a listener, or
.BR none .
.PP
What is counted is counted when its commit has returned, by this process: a report that came again
after a crash counts once, and counters and histograms begin at zero with the program, which rate()
and increase() of Prometheus allow for.
.SH METRICS
"#;

const TAIL: &str = r".SH SEE ALSO
.BR rua\-milter (8),
.BR rua\-milter.toml (5)
";

/// The page, in roff.
pub fn page() -> String {
    let mut page = HEAD.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    for what in ALL {
        // Writing to a string never fails.
        let _ = entry(&mut page, what);
    }
    page + TAIL
}

fn entry(page: &mut String, what: &Declaration) -> std::fmt::Result {
    let shape = match what.shape {
        Shape::Counter => "counter",
        Shape::Histogram(_) => "histogram",
        Shape::State(_) => "gauge",
    };
    let unit = match what.unit {
        "s" => "seconds",
        "By" => "bytes",
        counted => counted.trim_matches(['{', '}']),
    };
    writeln!(page, ".SS {}", what.name)?;
    writeln!(page, "({}; {shape}, {unit})", what.page_name())?;
    writeln!(page, ".PP\n{}", what.help)?;
    for attribute in what.attributes {
        let values = values(attribute);
        writeln!(page, ".TP\n.I {}\n{values}", attribute.key)?;
    }
    if let Shape::Histogram(bounds) = what.shape {
        let bounds: Vec<_> = bounds.iter().map(ToString::to_string).collect();
        writeln!(page, ".PP\nBuckets up to {}.", bounds.join(", "))?;
    }
    writeln!(page, ".PP\nAfter a restart: {}.", restart(what.shape))
}

fn values(attribute: &Attribute) -> String {
    match attribute.values {
        Values::Closed(words) | Values::Implied(words) => words().join(", ").replace('-', "\\-"),
        Values::Domains => "a configured domain, or other".into(),
        Values::Listeners => "a configured listener, or none".into(),
        Values::Reporters => "a reporter that is known by name, or other".into(),
        Values::Version => "the version".into(),
    }
}

fn restart(shape: Shape) -> &'static str {
    match shape {
        Shape::Counter | Shape::Histogram(_) => "begins at zero",
        Shape::State(Source::Spool) => "as before, read from the spool",
        Shape::State(Source::Store) => "as before, read from the report store within seconds",
        Shape::State(Source::Look) => "as before, once the domain was looked at",
        Shape::State(Source::Process) => "that of the new process",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instrument_says_its_names_its_words_and_what_a_restart_does() {
        let page = page();
        assert_eq!(page.matches("\n.SS ").count(), ALL.len());
        assert_eq!(page.matches("\nAfter a restart: ").count(), ALL.len());
        let dns = "\n.SS rua.dns.duration\n(rua_dns_duration_seconds; histogram, seconds)\n.PP\n\
                   Time that a DNS query took, by what it came to.\n.TP\n.I outcome\n\
                   found, nodata, nxdomain, unknown\n.PP\nBuckets up to 0.001, ";
        assert!(page.contains(dns), "{page}");
        // No line is taken for a request of roff.
        let requests = page.lines().filter_map(|line| line.strip_prefix('.'));
        let known = ["TH", "SH", "SS", "PP", "TP", "B", "I", "BR"];
        for request in requests {
            let word = request.split(' ').next().unwrap();
            assert!(known.contains(&word), ".{request}");
        }
    }
}
