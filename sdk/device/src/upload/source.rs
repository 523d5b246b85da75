//! What is uploaded.

use std::fmt;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

type Progress = Box<dyn FnMut(u64) + Send>;

/// A file to upload: its name, and its content, which is in memory or read piece by piece.
///
/// ```no_run
/// # use ferrohub_device::{DeviceClient, FileUpload};
/// # async fn example(client: DeviceClient) -> Result<(), Box<dyn std::error::Error>> {
/// let file = tokio::fs::File::open("/var/log/pump.log").await?;
/// let upload = FileUpload::from_reader("logs/pump.log", file)
///     .content_type("text/plain")
///     .on_progress(|bytes| eprintln!("{bytes} bytes are there"));
/// client.upload_file(upload).await?;
/// # Ok(())
/// # }
/// ```
pub struct FileUpload {
    pub(super) name: String,
    pub(super) content_type: Option<String>,
    source: Source,
    progress: Option<Progress>,
}

enum Source {
    Bytes(Bytes),
    Reader(Pin<Box<dyn AsyncRead + Send>>),
}

impl FileUpload {
    /// A file with these bytes. Its name may have slashes; the hub puts the device's id before it.
    #[must_use]
    pub fn new(name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self::of(name.into(), Source::Bytes(content.into()))
    }

    /// A file that is read to its end while it is sent. One block of 1 MiB is held in memory.
    #[must_use]
    pub fn from_reader(name: impl Into<String>, reader: impl AsyncRead + Send + 'static) -> Self {
        Self::of(name.into(), Source::Reader(Box::pin(reader)))
    }

    fn of(name: String, source: Source) -> Self {
        Self { name, content_type: None, source, progress: None }
    }

    /// The media type that the store keeps with it.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Called each time the store has more, with the number of bytes that it has.
    #[must_use]
    pub fn on_progress(mut self, progress: impl FnMut(u64) + Send + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    pub(super) fn report_progress(&mut self, bytes: u64) {
        if let Some(progress) = &mut self.progress {
            progress(bytes);
        }
    }

    /// The next piece: full, unless it is the last; empty at the end.
    pub(super) async fn read_block(&mut self, size: usize) -> io::Result<Bytes> {
        match &mut self.source {
            Source::Bytes(rest) => Ok(rest.split_to(size.min(rest.len()))),
            Source::Reader(reader) => {
                let mut piece = Vec::new();
                reader.take(size as u64).read_to_end(&mut piece).await?;
                Ok(piece.into())
            }
        }
    }
}

impl fmt::Debug for FileUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileUpload").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_are_full_but_for_the_last() {
        let pieces = async |mut upload: FileUpload| {
            let mut sizes = Vec::new();
            loop {
                sizes.push(upload.read_block(4).await.unwrap().len());
                if sizes.last() == Some(&0) {
                    return sizes;
                }
            }
        };
        assert_eq!(pieces(FileUpload::new("n", vec![0; 9])).await, [4, 4, 1, 0]);
        // A reader that gives less than it is asked for.
        let reader = tokio::io::AsyncReadExt::chain(&[0; 3][..], &[0; 5][..]);
        assert_eq!(pieces(FileUpload::from_reader("n", reader)).await, [4, 4, 0]);
        assert_eq!(pieces(FileUpload::new("n", "")).await, [0]);
    }
}
