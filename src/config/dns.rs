//! `[dns]`: whom to ask, how often and how fast, and for how long an answer may be kept.

use std::net::SocketAddr;

use super::{
    Dns,
    file::{ConfigError, SECS, Source, secs, within},
    raw::RawDns,
};

impl Source<'_> {
    pub(super) fn dns(&self, raw: &RawDns) -> Result<Dns, ConfigError> {
        let default = Dns::default();
        let servers = raw
            .servers
            .iter()
            .map(|server| {
                self.value(server, "an address, with or without port", |text| {
                    let bare = || text.parse().ok().map(|ip| SocketAddr::new(ip, 53));
                    text.parse().ok().or_else(bare)
                })
            })
            .collect::<Result<_, _>>()?;
        let suffixes = raw.public_suffix_list.as_ref();
        let suffixes = suffixes.map(|path| {
            self.value(path, "a file that can be read", |path| {
                std::fs::File::open(path).is_ok().then(|| path.clone())
            })
        });
        Ok(Dns {
            watch: raw.watch.unwrap_or(default.watch),
            servers,
            public_suffix_list: suffixes.transpose()?,
            timeout: self.or(raw.timeout_secs.as_ref(), default.timeout, SECS, |n| {
                secs(*n)
            })?,
            interval: self.or(raw.interval_secs.as_ref(), default.interval, SECS, |n| {
                secs(*n)
            })?,
            queries_per_second: self.or(
                raw.queries_per_second.as_ref(),
                default.queries_per_second,
                "queries, from 1 to 10,000",
                |n| within(*n, 1, 10_000),
            )?,
            propagation: self.or(
                raw.propagation_secs.as_ref(),
                default.propagation,
                SECS,
                |n| secs(*n),
            )?,
        })
    }
}
