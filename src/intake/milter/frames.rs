//! Stands between a peer and indymilter, which believes the length of a frame before it has read
//! one, and gives half a frame as long as an idle connection.
//!
//! A frame is its length in four octets, and so many octets, the first of which says what it is.
//! A peer whose frame is longer than any MTA's, or does not come to its end in time, is gone; so is
//! one that never begins. No octet is changed or held back but in the frame that names the client:
//! it is given on whole, without the label that Sendmail writes in front of an IPv6 address.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::limits;

/// What Sendmail writes in front of an IPv6 address, as SMTP does (RFC 5321 section 4.1.3).
/// libmilter takes it away, indymilter does not, and would end the session.
const LABEL: &[u8] = b"IPv6:";

/// A connection whose frames are looked at.
pub struct Frames<S> {
    stream: S,
    frame: Frame,
    /// What is here and not given on yet: the frame that names the client, and what came behind it.
    held: Vec<u8>,
    /// How long a frame may take.
    patience: Duration,
    /// Until when the frame that was begun has to be here. The first one begins with the connection:
    /// an MTA negotiates at once.
    due: Option<Pin<Box<Sleep>>>,
}

impl<S> Frames<S> {
    /// Looks at the frames of `stream` from now on.
    pub fn of(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            frame: Frame::default(),
            held: Vec::new(),
            patience,
            due: Some(Box::pin(tokio::time::sleep(patience))),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let whole = loop {
            let whole = this.held.len() - this.frame.unfinished();
            if whole > 0 {
                break whole;
            }
            let before = buf.filled().len();
            let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buf) else {
                if let Some(due) = &mut this.due {
                    ready!(due.as_mut().poll(cx));
                    return Poll::Ready(Err(ErrorKind::TimedOut.into()));
                }
                return Poll::Pending;
            };
            read?;
            let came = &buf.filled()[before..];
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let taken = this.frame.take(came, &mut this.held)?;
            buf.set_filled(before + taken.given);
            if taken.ended {
                this.due = None;
            }
            if this.frame.is_begun() && this.due.is_none() {
                this.due = Some(Box::pin(tokio::time::sleep(this.patience)));
            }
            if taken.given > 0 {
                return Poll::Ready(Ok(()));
            }
        };
        let here = whole.min(buf.remaining());
        buf.put_slice(&this.held[..here]);
        this.held.drain(..here);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How far the frame is that is coming in.
#[derive(Default)]
struct Frame {
    /// Its length and its letter.
    head: [u8; 5],
    /// How much of `head` is there.
    known: usize,
    /// How much follows.
    left: usize,
    /// How many strings it has had.
    strings: usize,
}

/// What became of octets that came.
#[derive(Default)]
struct Taken {
    /// How many are given on as they are; what follows them is held.
    given: usize,
    /// Whether a frame ended in them.
    ended: bool,
}

impl Frame {
    /// Follows the octets that came.
    fn take(&mut self, mut bytes: &[u8], held: &mut Vec<u8>) -> io::Result<Taken> {
        let mut taken = Taken::default();
        while !bytes.is_empty() {
            let holds = !held.is_empty() || self.names_client();
            let here = if self.known < self.head.len() {
                let here = bytes.len().min(self.head.len() - self.known);
                self.head[self.known..self.known + here].copy_from_slice(&bytes[..here]);
                self.known += here;
                if self.known == self.head.len() {
                    self.begin()?;
                }
                here
            } else {
                let here = bytes.len().min(self.left);
                self.left -= here;
                self.count(&bytes[..here])?;
                here
            };
            if holds {
                held.extend_from_slice(&bytes[..here]);
            } else {
                taken.given += here;
            }
            bytes = &bytes[here..];
            if self.known == self.head.len() && self.left == 0 {
                let start = held.len() - self.unfinished();
                without_label(&mut held[start..]);
                *self = Self::default();
                taken.ended = true;
            }
        }
        Ok(taken)
    }

    fn is_begun(&self) -> bool {
        self.known > 0
    }

    fn begin(&mut self) -> io::Result<()> {
        self.left = self.length();
        let most = if self.is_of_the_message() {
            limits::MAX_FRAME
        } else {
            limits::MAX_COMMAND
        };
        if self.left > most {
            return Err(ErrorKind::InvalidData.into());
        }
        // Without a letter there is no frame; indymilter takes the next octet for it.
        self.left = self.left.saturating_sub(1);
        Ok(())
    }

    /// What the frame says of itself: the octets of its letter and of what follows.
    fn length(&self) -> usize {
        let [length @ .., _] = self.head;
        usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX)
    }

    fn names_client(&self) -> bool {
        self.known == self.head.len() && self.head[4] == b'C'
    }

    /// How much of the frame that names the client is here, as long as it is not all there.
    fn unfinished(&self) -> usize {
        if self.names_client() {
            self.length().saturating_sub(1) - self.left
        } else {
            0
        }
    }

    /// A header field, a piece of the body, or its last one.
    fn is_of_the_message(&self) -> bool {
        matches!(self.head[4], b'L' | b'B' | b'E')
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_of_the_message() {
            return Ok(());
        }
        self.strings += bytes.split(|&byte| byte == 0).count() - 1;
        if self.strings > limits::MAX_COMMAND_STRINGS {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

/// Takes the label from the address of a client: its name, NUL, family, port in two octets, address,
/// NUL. The frame stays as long as it said; nobody reads what is behind the address.
fn without_label(client: &mut [u8]) {
    let mut parts = client.splitn_mut(2, |&byte| byte == 0).skip(1);
    let Some([b'6', _, _, address @ ..]) = parts.next() else {
        return;
    };
    if let Some(label) = address.get(..LABEL.len())
        && label.eq_ignore_ascii_case(LABEL)
    {
        address.rotate_left(LABEL.len());
        let behind = address.len() - LABEL.len();
        address[behind..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(letter: u8, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len() + 1).expect("short");
        [&length.to_be_bytes()[..], &[letter], data].concat()
    }

    fn is_taken(bytes: &[u8]) -> bool {
        // However it comes in.
        let by_size = |size| {
            let mut frame = Frame::default();
            let take = |chunk| frame.take(chunk, &mut Vec::new()).is_ok();
            bytes.chunks(size).all(take)
        };
        let taken = by_size(usize::MAX);
        for size in [1, 3, 5, 4_096] {
            assert_eq!(by_size(size), taken, "in pieces of {size}");
        }
        taken
    }

    #[test]
    fn what_an_mta_sends_is_taken() {
        let session = [
            frame(b'O', &[0; 12]),
            frame(b'D', &b"M{mail_addr}\0a@reporter.example\0".repeat(10)),
            frame(b'M', b"<a@reporter.example>\0SIZE=1000\0"),
            frame(b'T', b""),
            // Postfix sends a field of header_size_limit octets whole.
            frame(b'L', &vec![b'x'; 102_400]),
            frame(b'B', &vec![0; 65_535]),
            frame(b'E', &vec![0; 65_535]),
        ];
        assert!(is_taken(&session.concat()));
    }

    #[test]
    fn what_no_mta_sends_is_not() {
        assert!(!is_taken(b"GET / HTTP/1.1\r\n"));
        assert!(!is_taken(b"\xff\xff\xff\xffB"));
        assert!(!is_taken(b"\x00\x10\x00\x00B"));
        assert!(!is_taken(b"\x00\x01\x00\x00R"));
        assert!(!is_taken(&frame(b'D', &[0; 1_000])));
        // It waits for the letter that the length leaves no room for.
        let mut nothing = Frame::default();
        let mut ends = |bytes| nothing.take(bytes, &mut Vec::new()).expect("taken").ended;
        assert!(!ends(&[0; 4]) && ends(b"T"));
    }

    /// What is given on of `bytes` that come so many at a time.
    async fn given(bytes: &[u8], at_a_time: usize) -> Vec<u8> {
        let (mut peer, stream) = tokio::io::duplex(at_a_time);
        let mut frames = Frames::of(stream, limits::FRAME);
        let mut given = Vec::new();
        let send = async move {
            peer.write_all(bytes).await.expect("sent");
        };
        let ((), read) = tokio::join!(send, frames.read_to_end(&mut given));
        read.expect("read");
        given
    }

    #[tokio::test]
    async fn the_label_of_an_ipv6_address_is_taken_away() {
        let session = |connect: &[u8]| {
            let before = frame(b'D', b"Cj\0mx.reports.example\0");
            let behind = [frame(b'H', b"mx.reporter.example\0"), frame(b'C', connect)].concat();
            [before, frame(b'C', connect), behind, frame(b'Q', b"")].concat()
        };
        for (told, wanted) in [
            // Port 6 x 256: a NUL, and the letter of the family.
            (
                &b"mx.reporter.example\x006\x06\0IPv6:2001:db8::1\0"[..],
                &b"mx.reporter.example\x006\x06\x002001:db8::1\0\0\0\0\0\0"[..],
            ),
            (
                b"[IPv6:::1]\x006\0\x19ipv6:::1\0",
                b"[IPv6:::1]\x006\0\x19::1\0\0\0\0\0\0",
            ),
            // Postfix, IPv4, a socket's path, no address, and what is none of these.
            (b"a\x006\0\x192001:db8::1\0", b"a\x006\0\x192001:db8::1\0"),
            (b"a\x004\0\x19192.0.2.1\0", b"a\x004\0\x19192.0.2.1\0"),
            (b"a\x00L\0\0IPv6:::1\0", b"a\x00L\0\0IPv6:::1\0"),
            (b"a\x00U", b"a\x00U"),
            (b"a\x006\0\x19IPv6", b"a\x006\0\x19IPv6"),
            (b"", b""),
        ] {
            for at_a_time in [1, 2, 3, 7, 30, 4_096] {
                let given = given(&session(told), at_a_time).await;
                let wanted = session(wanted);
                assert_eq!(
                    given.escape_ascii().to_string(),
                    wanted.escape_ascii().to_string(),
                    "{at_a_time} at a time"
                );
            }
        }
    }

    #[tokio::test]
    async fn frames_that_name_clients_one_behind_the_other_are_not_heaped_up() {
        let (mut peer, stream) = tokio::io::duplex(1_000);
        let mut frames = Frames::of(stream, limits::FRAME);
        let client = frame(b'C', &[b'x'; 600]);
        let send = async move {
            for _ in 0..1_000 {
                peer.write_all(&client).await.expect("sent");
            }
        };
        let read = async {
            let (mut most, mut here) = (0, [0; 100]);
            while frames.read(&mut here).await.expect("read") > 0 {
                most = most.max(frames.held.len());
            }
            most
        };
        let ((), most) = tokio::join!(send, read);
        assert!(most < 2_000, "{most}");
    }

    #[tokio::test]
    async fn a_frame_has_its_time_and_a_pause_between_two_has_not() {
        let patience = Duration::from_millis(200);
        let (mut peer, stream) = tokio::io::duplex(100);
        let mut frames = Frames::of(stream, patience);
        let mut five = [0; 5];
        peer.write_all(&frame(b'T', b"")).await.expect("sent");
        frames.read_exact(&mut five).await.expect("a frame");
        let pause = tokio::time::timeout(2 * patience, frames.read_exact(&mut five)).await;
        assert!(pause.is_err(), "an idle connection stays");
        peer.write_all(&[0, 0]).await.expect("sent");
        let half = frames
            .read_exact(&mut five)
            .await
            .expect_err("half a frame");
        assert_eq!(half.kind(), ErrorKind::TimedOut);

        let (_silent, stream) = tokio::io::duplex(100);
        let never = Frames::of(stream, patience).read_u8().await;
        assert_eq!(never.expect_err("nothing").kind(), ErrorKind::TimedOut);
    }
}
