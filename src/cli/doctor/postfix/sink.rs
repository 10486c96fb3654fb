//! What becomes of mail for our addresses that we do not take: by which transport Postfix would
//! deliver it. Pure but for the lookups that it is given.
//!
//! It follows trivial-rewrite(8) as far as addresses of ours need it. Regular files as lists,
//! negated patterns and sender-dependent transports are left out.

use std::path::Path;

use super::{
    super::check::Check,
    milters::{elements, socket},
    settings::Settings,
};
use crate::config::{After, address::Recipient};

/// Looks a key up in a table; `Err` when the table cannot be read.
type LookUp<'a> = &'a mut dyn FnMut(&str, &str) -> Result<Option<String>, ()>;

/// Where mail for an address goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Destination {
    address: Recipient,
    end: End,
}

/// How that comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// No class of domains of Postfix holds the host.
    Strange,
    /// A transport that leads nowhere: it waits in the queue.
    Waits(String),
    /// Thrown away.
    Lost(String),
    /// Refused to the sender before we are asked.
    Refused(String),
    /// Delivered there.
    Delivered(String),
    /// A table could not be read.
    Unknown(String),
}

impl Destination {
    /// Whether one of the two says all.
    pub fn is_like(&self, other: &Self) -> bool {
        self.end == other.end && self.address.host == other.address.host
    }
}

/// Follows an address to its end.
pub fn find(
    settings: &Settings,
    address: &Recipient,
    exists: &dyn Fn(&Path) -> bool,
    look_up: LookUp<'_>,
) -> Destination {
    let end = end(settings, address, exists, look_up).unwrap_or_else(End::Unknown);
    Destination {
        address: address.clone(),
        end,
    }
}

/// `Err` names the table that cannot be read.
fn end(
    settings: &Settings,
    address: &Recipient,
    exists: &dyn Fn(&Path) -> bool,
    look_up: LookUp<'_>,
) -> Result<End, String> {
    let host = address.host.to_string();
    let whole = address.to_string();
    for map in elements(settings.main("virtual_alias_maps")) {
        for key in [&whole, &format!("@{host}")] {
            if let Some(other) = asked(map, key, look_up)? {
                return Ok(End::Delivered(format!("{other} (virtual_alias_maps)")));
            }
        }
    }
    let Some(class) = class(settings, &host, look_up)? else {
        return Ok(End::Strange);
    };
    let mut transport = settings.main(class).to_owned();
    if let Some(other) = transport_of(settings, &whole, &host, look_up)? {
        // An empty half leaves that of the class.
        if !other.is_empty() && other != ":" {
            transport = other;
        }
    }
    Ok(judge_transport(settings, &transport, exists))
}

/// The setting that names the transport of the host's class of domains.
fn class(
    settings: &Settings,
    host: &str,
    look_up: LookUp<'_>,
) -> Result<Option<&'static str>, String> {
    for (list, transport) in [
        ("mydestination", "local_transport"),
        ("virtual_alias_domains", "default_transport"),
        ("virtual_mailbox_domains", "virtual_transport"),
        ("relay_domains", "relay_transport"),
    ] {
        for element in elements(settings.main(list)) {
            let holds = if element.contains(':') {
                asked(element, host, look_up)?.is_some()
            } else {
                let below = element
                    .strip_prefix('.')
                    .or((list == "relay_domains").then_some(element));
                element.eq_ignore_ascii_case(host)
                    || below.is_some_and(|domain| {
                        let host = host.strip_suffix(&domain.to_ascii_lowercase());
                        host.is_some_and(|rest| rest.ends_with('.'))
                    })
            };
            if holds {
                return Ok(Some(transport));
            }
        }
    }
    Ok(None)
}

/// transport(5): the address, its host, the domains above it, all.
fn transport_of(
    settings: &Settings,
    whole: &str,
    host: &str,
    look_up: LookUp<'_>,
) -> Result<Option<String>, String> {
    let above = host.match_indices('.').map(|(at, _)| &host[at..]);
    let keys: Vec<_> = [whole, host]
        .into_iter()
        .chain(above)
        .chain(["*"])
        .collect();
    for map in elements(settings.main("transport_maps")) {
        for key in &keys {
            if let Some(found) = asked(map, key, look_up)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

fn asked(map: &str, key: &str, look_up: LookUp<'_>) -> Result<Option<String>, String> {
    look_up(map, key).map_err(|()| map.to_owned())
}

fn judge_transport(settings: &Settings, transport: &str, exists: &dyn Fn(&Path) -> bool) -> End {
    let (name, next) = transport.split_once(':').unwrap_or((transport, ""));
    let of = format!("{name}/unix");
    let service = settings.services.iter().find(|service| service.name == of);
    let told = transport.to_owned();
    // master.cf may have another name for a command.
    match service.map_or(name, |service| service.command.as_str()) {
        "discard" => End::Lost(told),
        "error" | "retry" => End::Refused(told),
        _ => {
            let chroot = service.is_some_and(|service| service.chroot);
            let queue = Path::new(settings.main("queue_directory"));
            match socket(next, chroot, queue) {
                Some(path) if !exists(&path) => End::Waits(told),
                _ => End::Delivered(told),
            }
        }
    }
}

/// Judges an end by what is meant to become of mail, and by whether mail gets in while we are away.
pub fn judge(found: &Destination, after: After, fails_open: bool) -> Check {
    let Destination { address, end } = found;
    let sink = "lmtp:unix:private/rua-milter-must-take-this";
    let use_sink = format!("give it the transport {sink} (rua-milter(8), ATTACHING TO POSTFIX)");
    match (end, after) {
        (End::Strange, _) => Check::problem(
            "sink",
            format!(
                "{}: Postfix receives no mail for this host from strangers",
                address.host
            ),
            format!(
                "postconf -e 'relay_domains = {}' (add to what is there)",
                address.host
            ),
        ),
        (End::Refused(to), _) => Check::problem(
            "sink",
            format!("{address} has the transport {to}: Postfix refuses it and does not ask us"),
            use_sink,
        ),
        (End::Lost(to), _) if fails_open || after == After::Deliver => Check::problem(
            "sink",
            format!(
                "{address} has the transport {to}: what comes while rua-milter is away is lost"
            ),
            use_sink,
        ),
        (End::Lost(to), _) => Check::warning(
            "sink",
            format!("{address} has the transport {to}: what gets past the milter is lost"),
            use_sink,
        ),
        (End::Waits(to), After::Deliver) => Check::problem(
            "sink",
            format!(
                "{address} has the transport {to}, which leads nowhere, and milter.after is deliver"
            ),
            "name a transport that delivers, or set milter.after = \"discard\"",
        ),
        (End::Waits(to), After::Discard) => Check::ok(
            "sink",
            format!("{address}: what rua-milter does not take waits in the queue ({to})"),
        ),
        (End::Delivered(to), After::Discard) if fails_open => Check::warning(
            "sink",
            format!(
                "{address}: what comes while rua-milter is away is delivered to {to}, uncounted"
            ),
            format!("{use_sink}; what was delivered can be taken in by rua-milter import"),
        ),
        (End::Delivered(to), _) => Check::ok(
            "sink",
            format!("{address}: what rua-milter leaves is delivered to {to}"),
        ),
        (End::Unknown(map), _) => Check::unknown(
            "sink",
            format!("{address}: its destination is not known, as {map} cannot be read"),
            "run it as root, and postmap the table",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Health;

    const SINK: &str = "lmtp:unix:private/rua-milter-must-take-this";

    /// Follows rua@reports.example with these settings; tables are `t:key=value`.
    fn follow(main: &str) -> Destination {
        let main = format!(
            "queue_directory = /q\nlocal_transport = local:mx\nvirtual_transport = virtual\n\
             relay_transport = relay\ndefault_transport = smtp\n{main}\n"
        );
        let master = "discard unix - - n - - discard\nerror unix - - n - - error\n\
                      retry unix - - n - - error\nlmtp unix - - n - - lmtp\nnowhere unix - - n - - discard\n";
        let settings = Settings::read(&main, master, "");
        let address = Recipient::parse(b"rua@reports.example").expect("an address");
        let exists = |path: &Path| path == Path::new("/q/private/dovecot");
        find(&settings, &address, &exists, &mut |map, key| {
            let entry = map.strip_prefix("t:").ok_or(())?;
            let value = entry.split_once("==").filter(|(name, _)| *name == key);
            Ok(value.map(|(_, value)| value.to_owned()))
        })
    }

    #[test]
    fn every_class_of_domains_leads_to_its_transport() {
        let to = |main: &str| follow(main).end;
        let there = |to: &str| End::Delivered(to.into());
        assert_eq!(to(""), End::Strange);
        assert_eq!(to("mydestination = mx, reports.example"), there("local:mx"));
        assert_eq!(
            to("virtual_mailbox_domains = Reports.Example"),
            there("virtual")
        );
        assert_eq!(to("relay_domains = reports.example"), there("relay"));
        assert_eq!(to("relay_domains = example"), there("relay"));
        assert_eq!(to("mydestination = example"), End::Strange);
        assert_eq!(to("relay_domains = t:reports.example==x"), there("relay"));
        assert_eq!(
            to("relay_domains = hash:/x"),
            End::Unknown("hash:/x".into())
        );
        let alias =
            "relay_domains = reports.example\nvirtual_alias_maps = t:rua@reports.example==me";
        assert_eq!(to(alias), there("me (virtual_alias_maps)"));
    }

    #[test]
    fn transports_end_as_their_commands_do() {
        let to = |transport: &str| {
            follow(&format!(
                "relay_domains = reports.example\nrelay_transport = {transport}"
            ))
            .end
        };
        assert_eq!(to(SINK), End::Waits(SINK.into()));
        let there = "lmtp:unix:private/dovecot";
        assert_eq!(to(there), End::Delivered(there.into()));
        for lost in ["discard:", "nowhere:x"] {
            assert_eq!(to(lost), End::Lost(lost.into()));
        }
        for refused in ["error:5.1.1 no", "retry:later"] {
            assert_eq!(to(refused), End::Refused(refused.into()));
        }
        for key in ["rua@reports.example", "reports.example", ".example", "*"] {
            let main =
                format!("relay_domains = reports.example\ntransport_maps = t:{key}==discard:");
            assert_eq!(follow(&main).end, End::Lost("discard:".into()), "{key}");
        }
    }

    #[test]
    fn what_is_lost_matters_most_while_mail_gets_in_unseen() {
        let state = |end: End, after, open| {
            let mut found = follow("");
            found.end = end;
            judge(&found, after, open).state
        };
        let (waits, lost) = (End::Waits(SINK.into()), End::Lost("discard:".into()));
        let there = End::Delivered("virtual".into());
        for open in [true, false] {
            assert_eq!(state(waits.clone(), After::Discard, open), Health::Ok);
            assert_eq!(state(waits.clone(), After::Deliver, open), Health::Problem);
            assert_eq!(state(there.clone(), After::Deliver, open), Health::Ok);
            assert_eq!(state(lost.clone(), After::Deliver, open), Health::Problem);
            assert_eq!(state(End::Strange, After::Discard, open), Health::Problem);
        }
        assert_eq!(state(lost.clone(), After::Discard, true), Health::Problem);
        assert_eq!(state(lost, After::Discard, false), Health::Warning);
        assert_eq!(state(there.clone(), After::Discard, true), Health::Warning);
        assert_eq!(state(there, After::Discard, false), Health::Ok);
    }
}
