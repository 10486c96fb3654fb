//! Whether the MTA takes mail for our addresses: an SMTP dialogue that ends before any DATA.

use std::io::{self, ErrorKind};

use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::TcpStream,
};

use super::{check::Check, listen::within};
use crate::{config::address::Recipient, domain::Domain, limits};

/// What the MTA said to the last line of a reply, and to which command.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    to: String,
    code: u16,
    text: String,
}

impl Reply {
    fn is_yes(&self) -> bool {
        matches!(self.code, 200..=299)
    }
}

/// Asks the MTA at `at` about `addresses`. Where it is only supposed to be (`certain` is false), its
/// absence is no problem.
pub async fn look(at: &str, certain: bool, node: &str, addresses: &[Recipient]) -> Vec<Check> {
    let dialogue = async {
        let stream = within(TcpStream::connect(at)).await?;
        let (from, to) = stream.into_split();
        // A bound for all that it says.
        let from = BufReader::new(from.take(limits::DOCTOR_HEARD));
        converse(from, to, node, addresses).await
    };
    match dialogue.await {
        Ok(replies) => judge(at, &replies),
        Err(error) if certain => vec![Check::problem(
            "smtp",
            format!("the MTA at {at} cannot be spoken to: {error}"),
            "start the MTA, or name it with --smtp HOST:PORT",
        )],
        Err(error) => vec![Check::unknown(
            "smtp",
            format!("no MTA at {at}: {error}"),
            "name it with --smtp HOST:PORT",
        )],
    }
}

/// The replies that matter: the first that is a refusal, before recipients are named; or the ones to
/// the recipients.
async fn converse(
    mut from: impl AsyncBufRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    node: &str,
    addresses: &[Recipient],
) -> io::Result<Vec<Reply>> {
    let name = Domain::parse(node).map_or("[127.0.0.1]".to_owned(), |name| name.to_string());
    let greeting = within(read(&mut from, "the connection")).await?;
    let mut replies = vec![greeting];
    for command in [format!("EHLO {name}"), "MAIL FROM:<>".to_owned()] {
        if replies[0].is_yes() {
            replies = vec![within(ask(&mut from, &mut to, &command)).await?];
        }
    }
    if replies[0].is_yes() {
        replies.clear();
        for address in addresses {
            let command = format!("RCPT TO:<{address}>");
            replies.push(within(ask(&mut from, &mut to, &command)).await?);
        }
    }
    // The answers are known; a farewell that goes wrong changes none.
    for command in ["RSET", "QUIT"] {
        if within(ask(&mut from, &mut to, command)).await.is_err() {
            break;
        }
    }
    Ok(replies)
}

async fn ask(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    command: &str,
) -> io::Result<Reply> {
    to.write_all(format!("{command}\r\n").as_bytes()).await?;
    read(from, command).await
}

/// Reads a reply, of which all lines but the last have a hyphen (RFC 5321 section 4.2.1).
async fn read(from: &mut (impl AsyncBufRead + Unpin), to: &str) -> io::Result<Reply> {
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line);
        let code = line.get(..3).and_then(|code| code.parse().ok());
        let code = code.ok_or(ErrorKind::InvalidData)?;
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(Reply {
                to: to.to_owned(),
                code,
                text: line.trim_end().to_owned(),
            });
        }
    }
}

fn judge(at: &str, replies: &[Reply]) -> Vec<Check> {
    let judge = |reply: &Reply| {
        let says = format!("the MTA at {at} says to {}: {}", reply.to, reply.text);
        match reply.code {
            200..=299 => Check::ok("smtp", says),
            400..=499 => Check::problem(
                "smtp",
                says,
                "reports wait outside: see in the logs of MTA and rua-milter why it is \
                 put off (milter away, spool without room, greylisting)",
            ),
            _ => Check::problem(
                "smtp",
                says,
                "make the address a valid recipient of the MTA (relay_recipient_maps, \
                 virtual_mailbox_maps, local_recipient_maps), and one of a configured domain",
            ),
        }
    };
    replies.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Health;

    /// What is heard from a server that says all of this at once, and what it hears.
    async fn talk(said: &str) -> (io::Result<Vec<Reply>>, String) {
        let address = Recipient::parse(b"rua@reports.example").expect("an address");
        let mut heard = Vec::new();
        let replies = converse(said.as_bytes(), &mut heard, "mx.example", &[address]).await;
        (replies, String::from_utf8(heard).expect("text"))
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_asked_about_and_no_mail_is_sent() {
        let (replies, heard) = talk(
            "220 mx ESMTP\r\n250-mx\r\n250 SIZE\r\n250 ok\r\n250 2.1.5 Ok\r\n250 ok\r\n221 bye\r\n",
        )
        .await;
        let checks = judge("mx:25", &replies.expect("a dialogue"));
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].state, Health::Ok);
        assert_eq!(
            heard,
            "EHLO mx.example\r\nMAIL FROM:<>\r\nRCPT TO:<rua@reports.example>\r\nRSET\r\nQUIT\r\n"
        );
    }

    #[tokio::test]
    async fn the_first_refusal_is_the_answer() {
        for (said, to) in [
            ("554 no\r\n221 bye\r\n", "the connection"),
            ("220 mx\r\n250 mx\r\n451 4.7.1 away\r\n", "MAIL FROM:<>"),
            (
                "220 mx\r\n250 mx\r\n250 ok\r\n550 5.1.1 unknown\r\n",
                "RCPT TO:<rua@reports.example>",
            ),
        ] {
            let replies = talk(said).await.0.expect("a dialogue");
            assert_eq!(replies.len(), 1);
            assert_eq!(replies[0].to, to);
            assert_eq!(judge("mx:25", &replies)[0].state, Health::Problem);
        }
    }

    #[tokio::test]
    async fn what_is_no_smtp_is_an_error() {
        assert!(talk("").await.0.is_err());
        assert!(talk("hello\r\n").await.0.is_err());
        assert!(talk("220").await.0.is_err());
    }
}
