//! The lists of milters in Postfix's settings (`MILTER_README`, "Per-Milter settings").

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::config::ListenAddress;

/// One milter of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Milter<'a> {
    /// As it is written: `inet:host:port`, `unix:path`.
    pub address: &'a str,
    /// Its own `default_action`.
    pub default_action: Option<&'a str>,
}

/// Reads a list: addresses, or addresses with options in braces.
pub fn read(text: &str) -> Vec<Milter<'_>> {
    elements(text).filter_map(milter).collect()
}

fn milter(element: &str) -> Option<Milter<'_>> {
    let Some(inner) = unbraced(element) else {
        return Some(Milter {
            address: element,
            default_action: None,
        });
    };
    let mut parts = elements(inner);
    let address = parts.next()?;
    let options = parts.filter_map(|part| unbraced(part).unwrap_or(part).split_once('='));
    let mut actions = options.filter(|(name, _)| name.trim() == "default_action");
    Some(Milter {
        address,
        default_action: actions.next().map(|(_, value)| value.trim()),
    })
}

fn unbraced(text: &str) -> Option<&str> {
    text.strip_prefix('{')?.strip_suffix('}').map(str::trim)
}

/// What spaces and commas part; braces keep together what is within.
pub fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = text.split(move |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && (c.is_whitespace() || c == ',')
    });
    parts.filter(|part| !part.is_empty())
}

/// Whether a service that is confined to `chroot`, and works in `queue`, finds this listener there.
pub fn leads_to(address: &str, listen: &ListenAddress, chroot: bool, queue: &Path) -> bool {
    match listen {
        ListenAddress::Unix { path, .. } => {
            socket(address, chroot, queue).is_some_and(|socket| socket == *path)
        }
        ListenAddress::Tcp(at) => {
            let place = address.strip_prefix("inet:");
            let Some((host, port)) = place.and_then(|place| place.rsplit_once(':')) else {
                return false;
            };
            let host = host.trim_matches(['[', ']']);
            // A name may be anybody's; the port will do.
            let same = host
                .parse::<IpAddr>()
                .map_or(true, |ip| ip == at.ip() || at.ip().is_unspecified());
            same && port.parse() == Ok(at.port())
        }
    }
}

/// The file that a service opens: relative to the queue directory, which is the root of those
/// that are confined.
pub fn socket(address: &str, chroot: bool, queue: &Path) -> Option<PathBuf> {
    let path = address.strip_prefix("unix:")?;
    Some(if chroot {
        queue.join(path.trim_start_matches('/'))
    } else {
        // An absolute path replaces the directory.
        queue.join(path)
    })
}

/// How a service has to name this listener; `None`: it cannot get there.
pub fn name(listen: &ListenAddress, chroot: bool, queue: &Path) -> Option<String> {
    match listen {
        ListenAddress::Unix { path, .. } if chroot => {
            let within = path.strip_prefix(queue).ok()?;
            Some(format!("unix:/{}", within.display()))
        }
        listen => Some(listen.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_milters_is_read_in_its_forms() {
        let list = read(
            "inet:localhost:8893, unix:/opendkim/sock { unix:/rua-milter/rua.sock, \
             connect_timeout=5s, default_action=accept },{inet:[::1]:1, { default_action = tempfail } }",
        );
        let found: Vec<_> = list.iter().map(|m| (m.address, m.default_action)).collect();
        assert_eq!(
            found,
            [
                ("inet:localhost:8893", None),
                ("unix:/opendkim/sock", None),
                ("unix:/rua-milter/rua.sock", Some("accept")),
                ("inet:[::1]:1", Some("tempfail")),
            ]
        );
        assert_eq!(read(""), []);
        assert_eq!(read("{ }"), []);
    }

    #[test]
    fn a_socket_is_found_from_the_root_of_its_service() {
        let queue = Path::new("/var/spool/postfix");
        let below = ListenAddress::Unix {
            path: "/var/spool/postfix/rua-milter/rua.sock".into(),
            mode: 0o660,
            group: None,
        };
        assert!(leads_to("unix:/rua-milter/rua.sock", &below, true, queue));
        assert!(leads_to("unix:rua-milter/rua.sock", &below, false, queue));
        assert!(!leads_to("unix:/rua-milter/rua.sock", &below, false, queue));
        let whole = "unix:/var/spool/postfix/rua-milter/rua.sock";
        assert!(leads_to(whole, &below, false, queue));
        assert!(!leads_to(whole, &below, true, queue));
        assert_eq!(
            name(&below, true, queue).as_deref(),
            Some("unix:/rua-milter/rua.sock")
        );
        assert_eq!(name(&below, false, queue).as_deref(), Some(whole));
    }

    #[test]
    fn a_port_is_found_by_address_or_name() {
        let queue = Path::new("/var/spool/postfix");
        let leads = |address, listen: &str| {
            let listen = ListenAddress::Tcp(listen.parse().expect("an address"));
            leads_to(address, &listen, true, queue)
        };
        assert!(leads("inet:127.0.0.1:8891", "127.0.0.1:8891"));
        assert!(leads("inet:localhost:8891", "127.0.0.1:8891"));
        assert!(leads("inet:[::1]:8891", "[::]:8891"));
        assert!(!leads("inet:127.0.0.1:8892", "127.0.0.1:8891"));
        assert!(!leads("inet:192.0.2.1:8891", "127.0.0.1:8891"));
        assert!(!leads("unix:/x", "127.0.0.1:8891"));
    }
}
