//! The operator's TOML -> [`super::Config`].
//!
//! Every key is optional where a default can exist, and unknown keys are errors. An error names
//! the file, the line, the key, and what was expected.

use std::{
    collections::HashSet,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;

use super::{
    After, Config, Limits, Listen, ListenAddress, Log, LogFormat, LogTarget, Milter, Peer,
    Retention, Unrecognised,
    domains::{Demands, Details, DomainList, Entries, Template},
    lists::{self, WANTED, address, wanted},
    rate::{Network, Rate},
    raw::{Raw, RawDomain, RawLimits, RawListen, RawLog, RawMilter, RawRate, RawRetention},
};
use crate::{domain::Domain, terms::Alignment};

/// Where the packages put the configuration.
pub const DEFAULT_PATH: &str = "/etc/rua-milter/rua-milter.toml";

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{}:{line}: {key}: {expected}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The key, or what stands there instead of one.
        key: String,
        /// What was expected.
        expected: String,
    },
}

/// Reads a configuration file and the domain files that it names.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = read(path)?;
    Source { path, text: &text }.parse()
}

/// The words of serde and TOML for types are a programmer's.
fn plainly(message: &str) -> String {
    [
        ("i64", "a whole number"),
        (
            "invalid type: map, expected a sequence",
            "expected [[...]], as there may be several",
        ),
        (
            "expected a sequence",
            "expected a list such as [\"one\", \"two\"]",
        ),
        ("path string", "a text"),
    ]
    .into_iter()
    .fold(message.to_owned(), |text, (theirs, ours)| {
        text.replace(theirs, ours)
    })
}

/// Reads a file as text.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// One text and where it came from.
pub(super) struct Source<'a> {
    pub path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn parse(&self) -> Result<Config, ConfigError> {
        let raw: Raw = toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            self.wrong(&span, plainly(error.message()))
        })?;
        Ok(Config {
            data_dir: raw
                .data_dir
                .clone()
                .unwrap_or_else(|| "/var/lib/rua-milter".into()),
            node: raw.node.clone().unwrap_or_else(host_name),
            listen: self.listen(&raw.listen)?,
            milter: self.milter(&raw.milter)?,
            hook: self.hook(&raw.hook)?,
            domains: self.domains(&raw)?,
            redact: raw.privacy.redact.unwrap_or(true),
            retention: self.retention(&raw.retention)?,
            limits: self.limits(&raw.limits)?,
            rate: self.rate(&raw.rate)?,
            log: self.log(&raw.log)?,
            metrics: self.metrics(&raw.metrics)?,
            dns: self.dns(&raw.dns)?,
            reporters: self.reporters(&raw.reporters)?,
            webhook: self.webhook(&raw.webhook)?,
        })
    }

    /// The error at `span`: the key is what stands before the `=` of that line.
    pub(super) fn wrong(&self, span: &Range<usize>, expected: String) -> ConfigError {
        let before = &self.text[..span.start.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        let key = text.split('=').next().unwrap_or_default().trim();
        ConfigError::Wrong {
            path: self.path.to_owned(),
            line,
            key: key.to_owned(),
            expected,
        }
    }

    /// Reads one value; `expected` says what it should have been.
    pub(super) fn value<R, T>(
        &self,
        raw: &Spanned<R>,
        expected: &str,
        read: impl FnOnce(&R) -> Option<T>,
    ) -> Result<T, ConfigError> {
        read(raw.get_ref()).ok_or_else(|| self.wrong(&raw.span(), format!("expected {expected}")))
    }

    /// Reads one value if it is there.
    pub(super) fn or<R, T>(
        &self,
        raw: Option<&Spanned<R>>,
        default: T,
        expected: &str,
        read: impl FnOnce(&R) -> Option<T>,
    ) -> Result<T, ConfigError> {
        raw.map_or(Ok(default), |raw| self.value(raw, expected, read))
    }

    fn listen(&self, raw: &[RawListen]) -> Result<Vec<Listen>, ConfigError> {
        if raw.is_empty() {
            return Ok(vec![Listen::default()]);
        }
        let mut names = HashSet::new();
        let mut listen = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let name = match &raw.name {
                Some(name) => self.value(name, "a name of letters, digits, `-`, `_`", |name| {
                    is_name(name).then(|| name.clone())
                })?,
                None if index == 0 => "milter".to_owned(),
                None => format!("milter-{}", index + 1),
            };
            if !names.insert(name.clone()) {
                let place = raw
                    .name
                    .as_ref()
                    .map_or_else(|| raw.address.span(), Spanned::span);
                return Err(self.wrong(&place, "expected a name that no other listener has".into()));
            }
            let mode = self.mode(raw.mode.as_ref())?;
            let address = self.value(
                &raw.address,
                "\"unix:/path\", \"inet:127.0.0.1:8891\" or \"inet:[::1]:8891\"",
                |text| listen_address(text, mode, raw.group.as_deref()),
            )?;
            let peer = self.peer(raw)?;
            listen.push(Listen {
                name,
                address,
                peer,
            });
        }
        Ok(listen)
    }

    /// Permissions of a unix socket.
    pub(super) fn mode(&self, raw: Option<&Spanned<String>>) -> Result<u32, ConfigError> {
        let expected = "octal permissions such as \"0660\"";
        self.or(raw, 0o660, expected, |mode| {
            let mode = u32::from_str_radix(mode, 8).ok();
            mode.filter(|mode| *mode <= 0o777)
        })
    }

    fn peer(&self, raw: &RawListen) -> Result<Peer, ConfigError> {
        let rcpt_stage = raw
            .rcpt_stage
            .as_ref()
            .is_some_and(|stage| *stage.get_ref());
        let stalwart = Peer::Stalwart { rcpt_stage };
        let expected = "\"mta\" or \"stalwart\"";
        let peer = self.or(raw.peer.as_ref(), Peer::Mta, expected, |peer| {
            choose(peer, &[("mta", Peer::Mta), ("stalwart", stalwart)])
        })?;
        match &raw.rcpt_stage {
            Some(stage) if rcpt_stage && peer == Peer::Mta => Err(self.wrong(
                &stage.span(),
                "expected only with peer = \"stalwart\": others always ask".into(),
            )),
            _ => Ok(peer),
        }
    }

    fn milter(&self, raw: &RawMilter) -> Result<Milter, ConfigError> {
        let default = Milter::default();
        Ok(Milter {
            max_connections: self.or(
                raw.max_connections.as_ref(),
                default.max_connections,
                "a number from 1 to 100000",
                |n| {
                    usize::try_from(*n)
                        .ok()
                        .filter(|n| (1..=100_000).contains(n))
                },
            )?,
            after: self.or(
                raw.after.as_ref(),
                default.after,
                "\"discard\" or \"deliver\"",
                |text| {
                    choose(
                        text,
                        &[("discard", After::Discard), ("deliver", After::Deliver)],
                    )
                },
            )?,
            unrecognised: self.or(
                raw.unrecognised.as_ref(),
                default.unrecognised,
                "\"reject\", \"park\" or \"deliver\"",
                |text| {
                    choose(
                        text,
                        &[
                            ("reject", Unrecognised::Reject),
                            ("park", Unrecognised::Park),
                            ("deliver", Unrecognised::Deliver),
                        ],
                    )
                },
            )?,
        })
    }

    fn domains(&self, raw: &Raw) -> Result<DomainList, ConfigError> {
        let mut entries = Entries::default();
        for raw in &raw.domain {
            let name = self.value(&raw.name, "a domain name", |name| Domain::parse(name))?;
            if !entries.add(name, self.details(raw)?) {
                let expected = "expected each domain once".into();
                return Err(self.wrong(&raw.name.span(), expected));
            }
        }
        for file in &raw.domain_files {
            let path = self.path.parent().unwrap_or(Path::new("")).join(file);
            lists::read(&path, &mut entries)?;
        }
        let hosts = raw
            .recipients
            .hosts
            .iter()
            .map(|host| self.value(host, "a host name", |host| Domain::parse(host)))
            .collect::<Result<_, _>>()?;
        let template = raw.recipients.template.as_ref().map(|template| {
            self.value(
                template,
                "a template such as \"{domain}@rua.example.net\"",
                |t| Template::parse(t),
            )
        });
        let delimiter = raw
            .recipients
            .delimiter
            .clone()
            .unwrap_or_else(|| "+".to_owned());
        Ok(DomainList::new(
            entries,
            hosts,
            template.transpose()?,
            delimiter,
        ))
    }

    fn details(&self, raw: &RawDomain) -> Result<Details, ConfigError> {
        let addresses = |list: &[Spanned<String>]| {
            list.iter()
                .map(|a| self.value(a, "an address such as rua@example.net", |a| address(a)))
                .collect::<Result<_, _>>()
        };
        let record = raw.wanted.as_ref();
        let record = record.map(|w| self.value(w, WANTED, |w| wanted(w)));
        let ruf: Vec<_> = addresses(&raw.ruf)?;
        let policy = |raw: &Option<Spanned<String>>| {
            let expected = "\"none\", \"quarantine\" or \"reject\"";
            self.or(raw.as_ref(), None, expected, |word| {
                word.parse().ok().map(Some)
            })
        };
        let words = [
            ("relaxed", Some(Alignment::Relaxed)),
            ("strict", Some(Alignment::Strict)),
        ];
        let alignment = raw.alignment.as_ref();
        let demands = Demands {
            policy: policy(&raw.policy)?,
            subdomains: policy(&raw.subdomains)?,
            alignment: self.or(alignment, None, "\"relaxed\" or \"strict\"", |word| {
                choose(word, &words)
            })?,
        };
        if let Some(whole) = raw
            .wanted
            .as_ref()
            .filter(|_| demands != Demands::default())
        {
            let expected = "expected either a whole record, or policy, subdomains and alignment";
            return Err(self.wrong(&whole.span(), expected.into()));
        }
        Ok(Details {
            rua: addresses(&raw.rua)?,
            tls: addresses(&raw.tls)?,
            // Whoever has an address for them wants them.
            failure_reports: raw.failure_reports.unwrap_or(!ruf.is_empty()),
            ruf,
            wanted: record.transpose()?,
            demands,
        })
    }

    fn limits(&self, raw: &RawLimits) -> Result<Limits, ConfigError> {
        let default = Limits::default();
        let max_message = self.or(
            raw.max_message_bytes.as_ref(),
            default.max_message,
            "bytes, from 65536 to 1073741824",
            |n| {
                usize::try_from(*n)
                    .ok()
                    .filter(|n| (1 << 16..=1 << 30).contains(n))
            },
        )?;
        // A spool without room for one largest message never takes any.
        let least = (max_message as u64).max(1 << 20);
        Ok(Limits {
            max_message,
            max_spool: self.or(
                raw.max_spool_bytes.as_ref(),
                default.max_spool,
                "bytes, at least 1048576 and at least max_message_bytes",
                |n| u64::try_from(*n).ok().filter(|n| *n >= least),
            )?,
            min_free: self.or(
                raw.min_free_bytes.as_ref(),
                default.min_free,
                "bytes",
                |n| u64::try_from(*n).ok(),
            )?,
            max_inflated: self.or(
                raw.max_inflated_bytes.as_ref(),
                default.max_inflated,
                "bytes, from 65536 to 17179869184",
                |n| within(*n, 1 << 16, 16 << 30),
            )?,
            max_records: self.or(
                raw.max_records.as_ref(),
                default.max_records,
                "a number from 1 to 100000000",
                |n| within(*n, 1, 100_000_000),
            )?,
            max_documents: self.or(
                raw.max_documents.as_ref(),
                default.max_documents,
                "a number from 1 to 1000",
                |n| within(*n, 1, 1_000),
            )?,
        })
    }

    fn retention(&self, raw: &RawRetention) -> Result<Retention, ConfigError> {
        let default = Retention::default();
        let period = |raw: &Option<Spanned<i64>>, default| {
            self.or(
                raw.as_ref(),
                default,
                "days, from 1 to 36500, or 0 for ever",
                |n| {
                    let days = within(*n, 0, 36_500_u64)?;
                    Some((days > 0).then(|| Duration::from_hours(24 * days)))
                },
            )
        };
        Ok(Retention {
            reports: period(&raw.report_days, default.reports)?,
            archive: period(&raw.archive_days, default.archive)?,
            // What tells of people is not kept for ever.
            failures: self.or(
                raw.failure_days.as_ref(),
                default.failures,
                "days, from 1 to 3650",
                |n| within(*n, 1, 3_650_u64).map(|days| Duration::from_hours(24 * days)),
            )?,
            arrivals: period(&raw.arrival_days, default.arrivals)?,
            dns: period(&raw.dns_days, default.dns)?,
            parked: period(&raw.parked_days, default.parked)?,
        })
    }

    fn rate(&self, raw: &RawRate) -> Result<Rate, ConfigError> {
        let mails = |raw: Option<&Spanned<i64>>| {
            let expected = "mails a minute, from 0 (any number) to 1000000";
            self.or(raw, 0, expected, |n| within(*n, 0, 1_000_000))
        };
        let relay = |raw: &Spanned<String>| {
            let expected = "an address or a network such as \"192.0.2.0/24\"";
            self.value(raw, expected, |text| Network::parse(text))
        };
        Ok(Rate {
            per_network: mails(raw.per_network.as_ref())?,
            overall: mails(raw.overall.as_ref())?,
            relays: raw.relays.iter().map(relay).collect::<Result<_, _>>()?,
        })
    }

    fn log(&self, raw: &RawLog) -> Result<Log, ConfigError> {
        let default = Log::default();
        Ok(Log {
            target: self.or(
                raw.target.as_ref(),
                default.target,
                "\"stderr\" or \"journald\"",
                |t| {
                    choose(
                        t,
                        &[
                            ("stderr", LogTarget::Stderr),
                            ("journald", LogTarget::Journald),
                        ],
                    )
                },
            )?,
            format: self.or(
                raw.format.as_ref(),
                default.format,
                "\"text\" or \"json\"",
                |t| choose(t, &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            )?,
            level: self.or(
                raw.level.as_ref(),
                default.level,
                "\"error\", \"warn\", \"info\" or \"debug\"",
                |text| {
                    choose(
                        text,
                        &[
                            ("error", tracing::Level::ERROR),
                            ("warn", tracing::Level::WARN),
                            ("info", tracing::Level::INFO),
                            ("debug", tracing::Level::DEBUG),
                        ],
                    )
                },
            )?,
        })
    }
}

pub(super) const SECS: &str = "seconds, from 1 to 604800";

pub(super) fn secs(n: i64) -> Option<Duration> {
    u64::try_from(n)
        .ok()
        .filter(|n| (1..=604_800).contains(n))
        .map(Duration::from_secs)
}

pub(super) fn within<T: TryFrom<i64> + PartialOrd>(n: i64, least: T, most: T) -> Option<T> {
    T::try_from(n).ok().filter(|n| (least..=most).contains(n))
}

pub(super) fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Option<T> {
    choices
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, choice)| *choice)
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=32).contains(&name.len()) && name.bytes().all(fits)
}

pub(super) fn listen_address(text: &str, mode: u32, group: Option<&str>) -> Option<ListenAddress> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        // The kernel's bound on the path of a socket is 108 octets with the final NUL.
        let fits = path.is_absolute() && path.as_os_str().len() < 108;
        return fits.then(|| ListenAddress::Unix {
            path,
            mode,
            group: group.map(str::to_owned),
        });
    }
    text.strip_prefix("inet:")?
        .parse()
        .ok()
        .map(ListenAddress::Tcp)
}

/// By the system call: a hardened unit has no `/proc/sys`, and every process must come to the
/// same name.
fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::domains::Standing, terms::Policy};

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Source {
            path: Path::new("rua-milter.toml"),
            text,
        }
        .parse()
    }

    fn error(text: &str) -> String {
        parse(text).expect_err("an error").to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let config = parse("").expect("a configuration");
        assert_eq!(config.listen, [Listen::default()]);
        assert_eq!(config.limits, Limits::default());
        assert!(config.domains.is_empty());
    }

    #[test]
    fn failure_reports_are_on_where_there_are_addresses_for_them() {
        let is_on = |more: &str| {
            let text = format!("[[domain]]\nname = \"a.example\"\n{more}");
            let config = parse(&text).expect("a configuration");
            config
                .domains
                .iter()
                .all(|entry| entry.details.failure_reports)
        };
        let ruf = "ruf = [\"ruf@a.example\"]";
        assert!(!is_on("") && is_on(ruf) && is_on("failure_reports = true"));
        assert!(!is_on(&format!("{ruf}\nfailure_reports = false")));
        assert!(parse("[retention]\nfailure_days = 0").is_err());
    }

    #[test]
    fn periods_are_days_and_none_is_for_ever() {
        let retention = |text: &str| Ok(parse(&format!("[retention]\n{text}"))?.retention);
        let kept: Result<_, ConfigError> = retention("report_days = 2\narchive_days = 0");
        let kept = kept.expect("a configuration");
        assert_eq!(kept.reports, Some(Duration::from_hours(48)));
        assert_eq!(
            (kept.archive, kept.parked),
            (None, Retention::default().parked)
        );
        assert!(retention("dns_days = -1").is_err());
    }

    /// `packaging/rua-milter.toml` shows every key, commented, at its default.
    #[test]
    fn the_sample_is_the_default() {
        let sample = include_str!("../../packaging/rua-milter.toml");
        let uncommented: String = sample
            .lines()
            .map(|line| line.strip_prefix("#:").unwrap_or(line).to_owned() + "\n")
            .collect();
        let mut shown = parse(&uncommented).expect("the sample parses");
        assert_eq!(shown.node, "localhost", "the sample shows a host name");
        shown.node = host_name();
        let plain = parse(sample).expect("the sample as it is");
        assert_eq!(
            plain,
            parse("").expect("empty"),
            "as shipped, nothing is set"
        );
        assert_eq!(shown, plain, "every key is shown at its default");
        let keys = include_str!("raw.rs");
        for key in keys
            .split("\npub struct Raw")
            .skip(1)
            .filter_map(|part| part.split("\n}").next())
            .flat_map(str::lines)
            .filter_map(|line| {
                line.strip_prefix("    pub ")?
                    .split_once(": ")
                    .map(|(key, _)| key)
            })
        {
            assert!(sample.contains(key), "{key} is not in the sample");
        }
    }

    #[test]
    fn an_error_names_file_line_key_and_what_was_expected() {
        assert_eq!(
            error("\n[[listen]]\naddress = \"tcp:1\"\n"),
            "rua-milter.toml:3: address: expected \"unix:/path\", \"inet:127.0.0.1:8891\" or \
             \"inet:[::1]:8891\""
        );
        let unknown = error("data_dri = \"/x\"\n");
        assert!(
            unknown.starts_with("rua-milter.toml:1: data_dri: unknown field"),
            "{unknown}"
        );
        let kind = error("[milter]\nmax_connections = \"many\"\n");
        assert!(
            kind.starts_with("rua-milter.toml:2: max_connections: invalid type")
                && kind.ends_with("expected a whole number"),
            "{kind}"
        );
        let twice = error("[[domain]]\nname = \"a.example\"\n[[domain]]\nname = \"A.example.\"\n");
        assert_eq!(twice, "rua-milter.toml:4: name: expected each domain once");
    }

    #[test]
    fn a_domain_has_a_wanted_record_or_demands() {
        let demands = |more: &str| {
            let config = parse(&format!("[[domain]]\nname = \"a.example\"\n{more}"))?;
            let entry = config.domains.iter().next().expect("a domain");
            Ok::<_, ConfigError>(entry.details.demands)
        };
        let all = "policy = \"reject\"\nsubdomains = \"quarantine\"\nalignment = \"strict\"\n";
        assert_eq!(
            demands(all).expect("a configuration"),
            Demands {
                policy: Some(Policy::Reject),
                subdomains: Some(Policy::Quarantine),
                alignment: Some(Alignment::Strict),
            }
        );
        assert!(demands("policy = \"all\"").is_err());
        let both = demands(&format!("{all}wanted = \"v=DMARC1; p=none\""));
        let both = both.expect_err("an error").to_string();
        assert!(both.contains(":6: wanted: expected either"), "{both}");
    }

    #[test]
    fn addresses_for_tls_reports_are_ours_too() {
        let config = parse("[[domain]]\nname = \"a.example\"\ntls = [\"tls@a.example\"]\n");
        let domains = config.expect("a configuration").domains;
        assert_eq!(domains.standing(b"<tls@a.example>"), Standing::Ours);
        let wrong = error("[[domain]]\nname = \"a.example\"\ntls = [\"a\"]\n");
        assert!(
            wrong.starts_with("rua-milter.toml:3: tls: expected an address"),
            "{wrong}"
        );
    }

    #[test]
    fn a_domain_file_holds_names_addresses_and_records() {
        let dir = tempfile::tempdir().expect("a directory");
        let main = dir.path().join("rua-milter.toml");
        std::fs::write(&main, "domain_files = [\"list\"]\n").expect("written");
        let list = dir.path().join("list");
        std::fs::write(
            &list,
            "# all of ours\na.example\nb.example\trua@b.example, x@b.example\tv=DMARC1; p=none # b\n\n\
             c.example\trua@c.example,tls:tls@c.example, ruf: ruf@c.example\n",
        )
        .expect("written");
        let config = load(&main).expect("a configuration");
        assert_eq!(config.domains.len(), 3);
        for address in ["x@b.example", "tls@c.example", "ruf@c.example"] {
            let standing = config.domains.standing(format!("<{address}>").as_bytes());
            assert_eq!(standing, Standing::Ours, "{address}");
        }
        let entries = config.domains.iter();
        let takes = entries.filter(|entry| entry.details.failure_reports);
        assert!(takes.map(|entry| entry.name.as_str()).eq(["c.example"]));
        std::fs::write(&list, "a.example\nb example\n").expect("written");
        let error = load(&main).expect_err("an error").to_string();
        assert!(
            error.ends_with("list:2: b example: expected a domain name"),
            "{error}"
        );
        std::fs::write(&list, "a.example\tfax:a@a.example\n").expect("written");
        let error = load(&main).expect_err("an error").to_string();
        assert!(
            error.contains("expected an address, tls:address"),
            "{error}"
        );
    }
}
