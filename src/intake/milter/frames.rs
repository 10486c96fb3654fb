//! Stands between a peer and indymilter, which believes the length of a frame before it has read
//! one, and gives half a frame as long as an idle connection.
//!
//! A frame is its length in four octets, and so many octets, the first of which says what it is.
//! No octet is changed or held back. A peer whose frame is longer than any MTA's, or does not come
//! to its end in time, is gone; so is one that never begins.

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

/// A connection whose frames are looked at.
pub struct Frames<S> {
    stream: S,
    frame: Frame,
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
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            read?;
            if self.frame.take(&buf.filled()[before..])? {
                self.due = None;
            }
            if self.frame.is_begun() && self.due.is_none() {
                self.due = Some(Box::pin(tokio::time::sleep(self.patience)));
            }
            return Poll::Ready(Ok(()));
        }
        if let Some(due) = &mut self.due {
            ready!(due.as_mut().poll(cx));
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        Poll::Pending
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

impl Frame {
    /// Follows the octets that came; whether a frame ended in them.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        let mut ended = false;
        while !bytes.is_empty() {
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
            bytes = &bytes[here..];
            if self.known == self.head.len() && self.left == 0 {
                *self = Self::default();
                ended = true;
            }
        }
        Ok(ended)
    }

    fn is_begun(&self) -> bool {
        self.known > 0
    }

    fn begin(&mut self) -> io::Result<()> {
        let [length @ .., _] = self.head;
        let length = u32::from_be_bytes(length);
        self.left = usize::try_from(length).unwrap_or(usize::MAX);
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
            bytes.chunks(size).all(|chunk| frame.take(chunk).is_ok())
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
        assert!(!nothing.take(&[0; 4]).expect("taken") && nothing.is_begun());
        assert!(nothing.take(b"T").expect("taken") && !nothing.is_begun());
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
