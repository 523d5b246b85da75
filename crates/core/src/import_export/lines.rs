//! The lines of a blob that is read as a stream.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::ContainerError;
use crate::files::{BlobError, ByteStream};

/// A line of a blob, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: Bytes,
    /// The offset in the blob of the byte after the line and its end.
    pub(super) end: u64,
}

/// Why the next line cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// The line is longer than this limit in bytes.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
    /// The blob cannot be read.
    #[error(transparent)]
    Read(#[from] ContainerError),
}

/// Splits a stream of bytes into lines, which end with `\n` or `\r\n`.
pub(super) struct Lines {
    stream: Box<dyn ByteStream>,
    buffer: BytesMut,
    /// How much of the buffer has no end of a line.
    searched: usize,
    /// The offset in the blob of the first byte in the buffer.
    offset: u64,
    /// How many bytes the stream must have in total.
    end: u64,
    is_ended: bool,
    max_bytes: usize,
    idle_timeout: Duration,
}

impl Lines {
    /// `offset` is where the stream begins, and `end` the size of the whole blob.
    pub(super) fn new(
        stream: Box<dyn ByteStream>,
        offset: u64,
        end: u64,
        max_bytes: usize,
        idle_timeout: Duration,
    ) -> Self {
        let (buffer, searched, is_ended) = (BytesMut::new(), 0, false);
        Self { stream, buffer, searched, offset, end, is_ended, max_bytes, idle_timeout }
    }

    /// Returns the next line, or `None` at the end of the blob.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, LineError> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(position) = unsearched.iter().position(|byte| *byte == b'\n') {
                let length = self.searched + position;
                if length > self.max_bytes {
                    return Err(LineError::TooLong(self.max_bytes));
                }
                return Ok(Some(self.take(length, 1)));
            }
            self.searched = self.buffer.len();
            if self.searched > self.max_bytes {
                return Err(LineError::TooLong(self.max_bytes));
            }
            if self.is_ended {
                let rest = self.buffer.len();
                return Ok((rest > 0).then(|| self.take(rest, 0)));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), ContainerError> {
        let chunk = timeout(self.idle_timeout, self.stream.next()).await.map_err(|_| {
            let seconds = self.idle_timeout.as_secs();
            ContainerError::Unavailable(format!("it sent nothing for {seconds} seconds"))
        })??;
        let received = self.offset + self.buffer.len() as u64;
        match chunk {
            Some(chunk) if received + chunk.len() as u64 > self.end => {
                Err(ContainerError::Refused("it sent more bytes than the size of the blob".to_owned()))
            }
            Some(chunk) => {
                self.buffer.extend_from_slice(&chunk);
                Ok(())
            }
            None if received < self.end => Err(BlobError::IncompleteBody("the connection ended").into()),
            None => {
                self.is_ended = true;
                Ok(())
            }
        }
    }

    /// Takes a line of this length and its end from the buffer.
    fn take(&mut self, length: usize, end: usize) -> Line {
        let mut text = self.buffer.split_to(length).freeze();
        drop(self.buffer.split_to(end));
        self.offset += (length + end) as u64;
        self.searched = 0;
        if text.last() == Some(&b'\r') {
            text.truncate(length - 1);
        }
        Line { text, end: self.offset }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    struct Chunks(Vec<&'static [u8]>);

    #[async_trait]
    impl ByteStream for Chunks {
        async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
            if self.0.is_empty() { Ok(None) } else { Ok(Some(Bytes::from_static(self.0.remove(0)))) }
        }
    }

    struct Silent;

    #[async_trait]
    impl ByteStream for Silent {
        async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
            std::future::pending().await
        }
    }

    fn lines(chunks: &[&'static [u8]], offset: u64) -> Lines {
        let end = offset + chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        Lines::new(Box::new(Chunks(chunks.to_vec())), offset, end, 8, Duration::from_secs(60))
    }

    async fn all(mut lines: Lines) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push((String::from_utf8(line.text.to_vec()).unwrap(), line.end));
        }
        found
    }

    fn owned(lines: &[(&str, u64)]) -> Vec<(String, u64)> {
        lines.iter().map(|(text, end)| ((*text).to_owned(), *end)).collect()
    }

    #[tokio::test]
    async fn lines_end_anywhere_and_know_where() {
        assert_eq!(all(lines(&[], 0)).await, owned(&[]));
        assert_eq!(
            all(lines(&[b"a\r", b"\nb", b"", b"c\n\n", b"12345678\nd"], 10)).await,
            owned(&[("a", 13), ("bc", 16), ("", 17), ("12345678", 26), ("d", 27)])
        );
        assert_eq!(all(lines(&[b"a\n"], 0)).await, owned(&[("a", 2)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_does_not_end_and_a_stream_that_ends_too_early_are_errors() {
        let mut long = lines(&[b"123", b"456", b"789"], 0);
        assert!(matches!(long.next().await, Err(LineError::TooLong(8))));
        let mut short = Lines::new(Box::new(Chunks(vec![b"a\nb"])), 0, 4, 8, Duration::from_secs(60));
        assert_eq!(short.next().await.unwrap().unwrap().end, 2);
        assert!(matches!(short.next().await, Err(LineError::Read(error)) if error.is_temporary()));
        let mut more = Lines::new(Box::new(Chunks(vec![b"a\nb"])), 0, 2, 8, Duration::from_secs(60));
        assert!(matches!(more.next().await, Err(LineError::Read(error)) if !error.is_temporary()));
        let mut silent = Lines::new(Box::new(Silent), 0, 4, 8, Duration::from_secs(60));
        assert!(matches!(silent.next().await, Err(LineError::Read(error)) if error.is_temporary()));
    }
}
