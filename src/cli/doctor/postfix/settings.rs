//! The texts of `postconf`, read: main.cf, the services of master.cf, and what they override.

use std::collections::HashMap;

/// The settings that are judged.
pub const NAMES: &[&str] = &[
    "compatibility_level",
    "default_process_limit",
    "default_transport",
    "local_transport",
    "mail_owner",
    "message_size_limit",
    "milter_default_action",
    "mydestination",
    "non_smtpd_milters",
    "queue_directory",
    "receive_override_options",
    "relay_domains",
    "relay_transport",
    "smtpd_client_connection_count_limit",
    "smtpd_forbid_bare_newline",
    "smtpd_milters",
    "smtpd_proxy_filter",
    "transport_maps",
    "virtual_alias_domains",
    "virtual_alias_maps",
    "virtual_mailbox_domains",
    "virtual_transport",
];

/// A Postfix's settings.
#[derive(Debug)]
pub struct Settings {
    main: HashMap<String, String>,
    pub services: Vec<Service>,
}

/// A line of master.cf.
#[derive(Debug)]
pub struct Service {
    /// The first two fields, such as `smtp/inet`.
    pub name: String,
    pub chroot: bool,
    /// Processes at a time; 0: as many as come.
    pub processes: usize,
    pub command: String,
    overrides: HashMap<String, String>,
}

impl Settings {
    /// From the output of `postconf -x NAMES`, `postconf -M` and `postconf -x -P`.
    pub fn read(main: &str, master: &str, overrides: &str) -> Self {
        let main: HashMap<_, _> = main
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let setting = |name: &str| main.get(name).map_or("", String::as_str);
        // master(5): since Postfix 3.0 services are not chrooted unless they say so, except under
        // the compatibility level 0.
        let level = setting("compatibility_level").split('.').next();
        let chroot = level.and_then(|level| level.parse().ok()).unwrap_or(0) < 1;
        let processes = setting("default_process_limit").parse().unwrap_or(100);
        let mut services: Vec<_> = master
            .lines()
            .filter_map(|line| service(line, chroot, processes))
            .collect();
        for line in overrides.lines() {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            // A service's own name may hold a slash.
            let Some((of, name)) = name.trim().rsplit_once('/') else {
                continue;
            };
            let service = services.iter_mut().find(|service| service.name == of);
            if let Some(service) = service {
                let value = value.trim().to_owned();
                service.overrides.insert(name.to_owned(), value);
            }
        }
        Self { main, services }
    }

    /// A setting of main.cf; empty if this Postfix has none of that name.
    pub fn main(&self, name: &str) -> &str {
        self.main.get(name).map_or("", String::as_str)
    }

    /// A setting as a service sees it.
    pub fn of<'a>(&'a self, service: &'a Service, name: &str) -> &'a str {
        let own = service.overrides.get(name);
        own.map_or_else(|| self.main(name), String::as_str)
    }

    /// The services that speak SMTP to clients.
    pub fn smtpds(&self) -> impl Iterator<Item = &Service> {
        let services = self.services.iter();
        services.filter(|service| service.command == "smtpd")
    }
}

impl Service {
    /// Where a client on this machine reaches it, if it is a port of its own.
    pub fn address(&self) -> Option<String> {
        let at = self.name.strip_suffix("/inet")?;
        let (host, port) = at.rsplit_once(':').unwrap_or(("127.0.0.1", at));
        let port = if port == "smtp" { "25" } else { port };
        port.parse::<u16>()
            .ok()
            .map(|port| format!("{host}:{port}"))
    }
}

/// service type private unpriv chroot wakeup maxproc command …
fn service(line: &str, chroot: bool, processes: usize) -> Option<Service> {
    let fields: Vec<_> = line.split_whitespace().take(8).collect();
    let [name, kind, _, _, chrooted, _, most, command] = fields.try_into().ok()?;
    Some(Service {
        name: format!("{name}/{kind}"),
        chroot: match chrooted {
            "y" => true,
            "n" => false,
            _ => chroot,
        },
        processes: most.parse().unwrap_or(processes),
        command: command.to_owned(),
        overrides: HashMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "smtpd_milters = inet:127.0.0.1:8891\nmessage_size_limit = 10240000\n\
                        default_process_limit = 100\ncompatibility_level = 3.6\nempty =\n";
    const MASTER: &str = "\
smtp       inet  n       -       y       -       -       smtpd
pickup     unix  n       -       -       60      1       pickup
127.0.0.1:2525 inet n    -       -       -       20      smtpd -o smtpd_milters=$x
";
    const OVERRIDES: &str = "127.0.0.1:2525/inet/smtpd_milters = { unix:/x, default_action=accept }
relay/unix/syslog_name = postfix/relay
";

    #[test]
    fn what_postconf_says_is_understood() {
        let settings = Settings::read(MAIN, MASTER, OVERRIDES);
        let smtpds: Vec<_> = settings.smtpds().collect();
        let [public, own] = smtpds[..] else {
            panic!("{smtpds:?}");
        };
        assert_eq!((public.chroot, public.processes), (true, 100));
        assert_eq!((own.chroot, own.processes), (false, 20));
        assert_eq!(settings.of(public, "smtpd_milters"), "inet:127.0.0.1:8891");
        assert_eq!(
            settings.of(own, "smtpd_milters"),
            "{ unix:/x, default_action=accept }"
        );
        assert_eq!(settings.of(own, "message_size_limit"), "10240000");
        assert_eq!(settings.main("empty"), "");
        assert_eq!(public.address().as_deref(), Some("127.0.0.1:25"));
        assert_eq!(own.address().as_deref(), Some("127.0.0.1:2525"));
    }

    #[test]
    fn an_old_level_means_a_chroot() {
        let settings = Settings::read("compatibility_level = 0\n", MASTER, "");
        assert!(settings.smtpds().all(|service| service.chroot));
    }
}
