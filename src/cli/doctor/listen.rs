//! Whether somebody answers where the MTA, or Prometheus, is to find us.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::check::Check;
use crate::{
    config::{Config, Listen, ListenAddress},
    limits,
};

/// An MTA's offer: version 6, all actions, all of the protocol that Postfix 3.7 offers.
const OFFER: [u8; 17] = [
    0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff,
];
/// Its farewell.
const QUIT: [u8; 5] = [0, 0, 0, 1, b'Q'];

/// Looks at every socket that the configuration names.
pub async fn look(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for listen in &config.listen {
        let version = within(negotiate(&listen.address)).await;
        checks.push(judge_milter(listen, version));
        checks.extend(exposed(listen));
    }
    if let Some(hook) = &config.hook {
        let there = within(connect(&hook.address)).await;
        checks.push(judge(&format!("hook at {}", hook.address), there));
    }
    if let Some(address) = config.metrics.prometheus {
        let address = ListenAddress::Tcp(address);
        let there = within(connect(&address)).await;
        checks.push(judge(&format!("Prometheus page at {address}"), there));
    }
    checks
}

/// What `look` came to, or that it took too long.
pub async fn within<T>(look: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let looked = timeout(limits::DOCTOR_WAIT, look).await;
    looked.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

async fn connect(address: &ListenAddress) -> io::Result<()> {
    match address {
        ListenAddress::Tcp(at) => TcpStream::connect(reachable(*at)).await.map(drop),
        ListenAddress::Unix { path, .. } => UnixStream::connect(path).await.map(drop),
    }
}

/// The version of the milter protocol that is agreed on.
async fn negotiate(address: &ListenAddress) -> io::Result<u32> {
    match address {
        ListenAddress::Tcp(at) => greet(TcpStream::connect(reachable(*at)).await?).await,
        ListenAddress::Unix { path, .. } => greet(UnixStream::connect(path).await?).await,
    }
}

async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u32> {
    stream.write_all(&OFFER).await?;
    // The length is that of an answer to an offer, or it is no milter; what follows the version
    // does not matter.
    let length = stream.read_u32().await?;
    if !(13..=limits::MAX_COMMAND as u64).contains(&length.into())
        || stream.read_u8().await? != b'O'
    {
        return Err(ErrorKind::InvalidData.into());
    }
    let version = stream.read_u32().await?;
    stream.write_all(&QUIT).await?;
    Ok(version)
}

/// Who listens everywhere listens on the loopback.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

fn judge_milter(listen: &Listen, version: io::Result<u32>) -> Check {
    let what = format!("listener {:?} at {}", listen.name, listen.address);
    match version {
        Ok(version) => Check::ok(
            "listen",
            format!("{what} answers (milter protocol {version})"),
        ),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            Check::problem(
                "listen",
                format!("{what}: whoever answers there is no milter"),
                "see whose it is (ss -lp), and give one of the two another address",
            )
        }
        Err(error) => judge(&what, Err(error)),
    }
}

fn judge(what: &str, there: io::Result<()>) -> Check {
    let Err(error) = there else {
        return Check::ok("listen", format!("{what} answers"));
    };
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Check::problem(
            "listen",
            format!("{what}: nobody listens"),
            "systemctl start rua-milter; if it does not stay: journalctl -u rua-milter",
        ),
        ErrorKind::PermissionDenied => Check::unknown(
            "listen",
            format!("{what} may not be opened by this user"),
            "run it as root",
        ),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Check::problem(
            "listen",
            format!("{what} does not answer in time"),
            "see in the log what keeps it, and whether milter.max_connections are open",
        ),
        _ => Check::problem(
            "listen",
            format!("{what} cannot be reached: {error}"),
            "see what the log says: journalctl -u rua-milter",
        ),
    }
}

/// A milter believes whoever speaks to it.
fn exposed(listen: &Listen) -> Option<Check> {
    let ListenAddress::Tcp(at) = &listen.address else {
        return None;
    };
    (!at.ip().is_loopback()).then(|| {
        Check::warning(
            "socket",
            format!("{}: whoever reaches it can make reports up", listen.address),
            "let the firewall admit the MTA only, or listen on the loopback",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Health;

    fn at(address: &str) -> Listen {
        Listen {
            address: ListenAddress::Tcp(address.parse().expect("an address")),
            ..Listen::default()
        }
    }

    #[test]
    fn what_did_not_answer_is_told_apart() {
        let state = |kind: ErrorKind| judge_milter(&at("127.0.0.1:1"), Err(kind.into())).state;
        assert_eq!(state(ErrorKind::ConnectionRefused), Health::Problem);
        assert_eq!(state(ErrorKind::TimedOut), Health::Problem);
        assert_eq!(state(ErrorKind::InvalidData), Health::Problem);
        assert_eq!(state(ErrorKind::PermissionDenied), Health::Unknown);
        assert_eq!(judge_milter(&at("127.0.0.1:1"), Ok(6)).state, Health::Ok);
    }

    #[test]
    fn a_listener_beyond_the_loopback_is_worth_a_word() {
        assert!(exposed(&at("127.0.0.1:8891")).is_none());
        assert!(exposed(&at("[::1]:8891")).is_none());
        assert!(exposed(&at("0.0.0.0:8891")).is_some());
        let everywhere = "0.0.0.0:8891".parse().expect("an address");
        assert_eq!(reachable(everywhere).to_string(), "127.0.0.1:8891");
    }

    #[tokio::test]
    async fn a_server_that_speaks_otherwise_is_no_milter() {
        for said in [&b"220 mx.example ESMTP\r\n"[..], b"", b"\0\0\0\x0dX"] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let spoken = tokio::spawn(async move {
                let _ = theirs.write_all(said).await;
            });
            let kind = greet(ours).await.expect_err("no milter").kind();
            assert!(
                matches!(
                    kind,
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe
                ),
                "{kind}"
            );
            spoken.await.expect("to end");
        }
    }
}
