//! Postfix as it is configured, by what `postconf` and `postmap` say of it; nothing is changed.

mod attach;
mod bounds;
mod milters;
mod settings;
mod sink;

use std::path::PathBuf;

use super::{check::Check, program, reach};
use crate::config::{Config, Listen, Peer, address::Recipient};
use attach::Attached;
use settings::Settings;

/// A Postfix that was found, and where it is configured.
pub struct Postfix {
    /// Arguments of every tool.
    place: Vec<String>,
    settings: Settings,
}

impl Postfix {
    /// Reads the settings of the instance at `dir`, or of the default one.
    pub fn find(dir: Option<&str>) -> Result<Self, Check> {
        let place: Vec<_> = dir
            .into_iter()
            .flat_map(|dir| ["-c".into(), dir.into()])
            .collect();
        let ask = |arguments: &[&str]| {
            let mut all: Vec<_> = place.iter().map(String::as_str).collect();
            all.extend(arguments);
            match program::ask("postconf", &all) {
                Ok(said) if said.succeeded => Ok(said.text),
                Ok(_) => Err("postconf finds no configuration".to_owned()),
                Err(error) => Err(format!("postconf cannot be asked: {error}")),
            }
        };
        let read = || {
            // With what other settings say in their place.
            let main = ask(&[&["-x"], settings::NAMES].concat())?;
            Ok(Settings::read(&main, &ask(&["-M"])?, &ask(&["-x", "-P"])?))
        };
        match read() {
            Ok(settings) => Ok(Self { place, settings }),
            Err(why) => {
                let why: String = why;
                Err(Check::unknown(
                    "postfix",
                    format!("nothing is known of a Postfix: {why}"),
                    "name its configuration with --postfix-config DIR; other MTAs: rua-milter(8) \
                     says how they are set up",
                ))
            }
        }
    }

    /// The first smtpd that asks us, as a client reaches it.
    pub fn smtp_address(&self, config: &Config) -> Option<String> {
        let attached = self.attached(config);
        attached
            .iter()
            .find_map(|attached| attached.service.address())
    }

    /// Judges all that concerns us.
    pub fn look(&self, config: &Config, addresses: &[Recipient]) -> Vec<Check> {
        let settings = &self.settings;
        let attached = self.attached(config);
        let mut checks = attach::judge(settings, &listeners(config), &attached);
        checks.extend(self.sockets(config, &attached));
        checks.extend(bounds::judge(settings, config, &attached));
        let exists = |path: &std::path::Path| path.exists();
        let mut sinks = Vec::new();
        for address in addresses {
            let found = sink::find(settings, address, &exists, &mut |map, key| {
                self.look_up(map, key)
            });
            // Addresses of one host mostly share their fate.
            if !sinks
                .iter()
                .any(|other: &sink::Destination| other.is_like(&found))
            {
                sinks.push(found);
            }
        }
        checks.extend(sinks.iter().map(|found| {
            sink::judge(
                found,
                config.milter.after,
                attach::fails_open(settings, &attached),
            )
        }));
        checks
    }

    fn attached(&self, config: &Config) -> Vec<Attached<'_>> {
        attach::find(&self.settings, &listeners(config))
    }

    /// Whether Postfix gets to the unix sockets that it is told to use.
    fn sockets(&self, config: &Config, attached: &[Attached<'_>]) -> Vec<Check> {
        let settings = &self.settings;
        let who = reach::Who::named(settings.main("mail_owner"));
        let queue = PathBuf::from(settings.main("queue_directory"));
        let look = |listen: &Listen| {
            let by = attached.iter().find(|by| by.listen == listen.address);
            let root = match by {
                Some(by) if by.service.chroot => queue.as_path(),
                _ => std::path::Path::new("/"),
            };
            reach::look(&listen.address, root, who.as_ref())
        };
        listeners(config).into_iter().filter_map(look).collect()
    }

    /// One lookup, as Postfix does it. `Err`: the table cannot be read.
    fn look_up(&self, map: &str, key: &str) -> Result<Option<String>, ()> {
        let mut arguments: Vec<_> = self.place.iter().map(String::as_str).collect();
        arguments.extend(["-q", key, map]);
        let said = program::ask("postmap", &arguments).map_err(|_| ())?;
        match said.text.lines().next() {
            Some(line) if said.succeeded => Ok(Some(line.trim().to_owned())),
            // A key that is not there fails as well, and in silence.
            _ if said.complained => Err(()),
            _ => Ok(None),
        }
    }
}

/// Those that are for Postfix.
fn listeners(config: &Config) -> Vec<&Listen> {
    let listeners = config.listen.iter();
    listeners
        .filter(|listen| listen.peer == Peer::Mta)
        .collect()
}
