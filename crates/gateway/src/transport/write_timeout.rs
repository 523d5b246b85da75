//! Ends a connection whose peer does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::transport::tls::TlsStream;

/// A stream that knows how many bytes its transport has not accepted yet.
pub(crate) trait Unsent {
    fn unsent(&self) -> usize;
}

impl<T> Unsent for TlsStream<T> {
    fn unsent(&self) -> usize {
        self.unsent_bytes()
    }
}

/// A socket does not buffer: a write that waits has sent nothing.
impl Unsent for TcpStream {
    fn unsent(&self) -> usize {
        0
    }
}

/// A stream whose writes fail when the transport accepts no byte for a time.
pub(crate) struct WriteTimeout<S> {
    stream: S,
    limit: Duration,
    /// Set while a write waits for the transport. Boxed, because most connections never wait.
    stalled: Option<Box<Stall>>,
}

struct Stall {
    deadline: Pin<Box<Sleep>>,
    unsent: usize,
}

impl<S: Unsent> WriteTimeout<S> {
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, stalled: None }
    }

    /// Called after each write with its result.
    fn check<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let unsent = self.stream.unsent();
        let limit = self.limit;
        let stall =
            self.stalled.get_or_insert_with(|| Box::new(Stall { deadline: Box::pin(sleep(limit)), unsent }));
        if unsent < stall.unsent {
            stall.deadline.as_mut().reset(Instant::now() + limit);
        }
        stall.unsent = unsent;
        ready!(stall.deadline.as_mut().poll(cx));
        let text = format!("the peer read nothing for {} s", limit.as_secs_f32());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unsent + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.check(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.check(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.check(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Has a buffer, like a TLS connection that holds an encrypted record.
    struct Buffered {
        transport: DuplexStream,
        buffer: Vec<u8>,
    }

    impl Unsent for Buffered {
        fn unsent(&self) -> usize {
            self.buffer.len()
        }
    }

    impl AsyncWrite for Buffered {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            ready!(self.as_mut().poll_flush(cx))?;
            self.buffer = data.to_vec();
            Poll::Ready(Ok(data.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Self { transport, buffer } = self.get_mut();
            while !buffer.is_empty() {
                let written = ready!(Pin::new(&mut *transport).poll_write(cx, buffer))?;
                buffer.drain(..written);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    fn stream() -> (WriteTimeout<Buffered>, DuplexStream) {
        let (transport, peer) = duplex(10);
        (WriteTimeout::new(Buffered { transport, buffer: Vec::new() }, LIMIT), peer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_to_a_peer_that_does_not_read_fails_after_the_time_out() {
        let (mut stream, _peer) = stream();
        stream.write_all(&[0; 100]).await.unwrap();
        let began = Instant::now();
        let error = stream.flush().await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_that_reads_is_not_cut_off() {
        let (mut stream, mut peer) = stream();
        stream.write_all(&[0; 100]).await.unwrap();
        let reader = tokio::spawn(async move {
            let mut received = 0;
            while received < 100 {
                tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
                received += peer.read(&mut [0; 5]).await.unwrap();
            }
        });
        stream.flush().await.unwrap();
        reader.await.unwrap();
        // An idle connection has no deadline.
        tokio::time::sleep(LIMIT * 10).await;
        assert!(stream.stalled.is_none());
        stream.write_all(&[0; 5]).await.unwrap();
    }
}
