//! The file to upload.

use std::fmt;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

type Progress = Box<dyn FnMut(u64) + Send>;

/// A file to upload: its name and its content, which is in memory or read from a reader.
///
/// ```no_run
/// # use ferrohub_device::{DeviceClient, FileUpload};
/// # async fn example(client: DeviceClient) -> Result<(), Box<dyn std::error::Error>> {
/// let file = tokio::fs::File::open("/var/log/pump.log").await?;
/// let upload = FileUpload::from_reader("logs/pump.log", file)
///     .content_type("text/plain")
///     .on_progress(|bytes| eprintln!("{bytes} bytes stored"));
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
    /// A file with these bytes. The name has 1 to 1024 bytes and may contain slashes; the hub prefixes it with the
    /// device id.
    #[must_use]
    pub fn new(name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self::with_source(name.into(), Source::Bytes(content.into()))
    }

    /// A file that is read while it is sent. One block of 1 MiB is in memory at a time.
    #[must_use]
    pub fn from_reader(name: impl Into<String>, reader: impl AsyncRead + Send + 'static) -> Self {
        Self::with_source(name.into(), Source::Reader(Box::pin(reader)))
    }

    fn with_source(name: String, source: Source) -> Self {
        Self { name, content_type: None, source, progress: None }
    }

    /// Sets the media type that is stored with the file. Default `application/octet-stream`.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets a function that is called after each stored block with the number of bytes stored so far.
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

    /// Reads the next block: full unless it is the last, empty at the end.
    pub(super) async fn read_block(&mut self, size: usize) -> io::Result<Bytes> {
        match &mut self.source {
            Source::Bytes(rest) => Ok(rest.split_to(size.min(rest.len()))),
            Source::Reader(reader) => {
                let mut block = Vec::new();
                reader.take(size as u64).read_to_end(&mut block).await?;
                Ok(block.into())
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
    async fn all_blocks_but_the_last_are_full() {
        let blocks = async |mut upload: FileUpload| {
            let mut sizes = Vec::new();
            loop {
                sizes.push(upload.read_block(4).await.unwrap().len());
                if sizes.last() == Some(&0) {
                    return sizes;
                }
            }
        };
        assert_eq!(blocks(FileUpload::new("n", vec![0; 9])).await, [4, 4, 1, 0]);
        // A reader that returns less than requested.
        let reader = tokio::io::AsyncReadExt::chain(&[0; 3][..], &[0; 5][..]);
        assert_eq!(blocks(FileUpload::from_reader("n", reader)).await, [4, 4, 0]);
        assert_eq!(blocks(FileUpload::new("n", "")).await, [0]);
    }
}
