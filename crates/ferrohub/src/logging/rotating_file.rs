//! A log file of a limited size. When it is full, it becomes `NAME.1`, in place of an older one, and a new one begins.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// Maximum size of the file, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A file that is open as standard error.
#[derive(Debug)]
pub(super) struct RotatingFile {
    file: File,
    path: PathBuf,
    bytes: u64,
    max_bytes: u64,
    /// Whether the last write ended inside a line, which must not be divided.
    mid_line: bool,
}

impl RotatingFile {
    /// `file` is another descriptor of standard error, which is the file `path`.
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        Self { file, path, bytes, max_bytes: MAX_BYTES, mid_line: false }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        fs::rename(&self.path, old)?;
        self.file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let is_full = self.bytes > 0 && self.bytes.saturating_add(lines.len() as u64) > self.max_bytes;
        if is_full && !self.mid_line {
            // If it fails, the old file is used until it has grown by the same size again.
            self.bytes = 0;
            if self.rotate().is_ok() {
                redirect_output(&self.file);
            }
        }
        let written = self.file.write(lines)?;
        self.bytes = self.bytes.saturating_add(written as u64);
        self.mid_line = written > 0 && lines.get(written - 1) != Some(&b'\n');
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes the new file standard output and standard error as well: for what the process writes there without the log, and
/// so that a removed file takes no space.
fn redirect_output(file: &File) {
    if cfg!(not(test)) {
        let _ = rustix::stdio::dup2_stdout(file.as_fd());
        let _ = rustix::stdio::dup2_stderr(file.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_kept_once_and_lines_stay_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.log");
        fs::write(&path, "before\n").unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let mut log = RotatingFile { max_bytes: 20, ..RotatingFile::new(file, path.clone()) };
        for part in ["one\n", "two", " and more than fits\n", "three\n"] {
            log.write_all(part.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("hub.log.1"), "before\none\ntwo and more than fits\n");
        assert_eq!(read("hub.log"), "three\n");
        log.write_all(b"as long as the file may be\n").unwrap();
        log.write_all(b"last\n").unwrap();
        assert_eq!(read("hub.log.1"), "as long as the file may be\n");
        assert_eq!(read("hub.log"), "last\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        // A folder that is gone: nothing is lost but the lines.
        fs::remove_dir_all(folder.path()).unwrap();
        log.write_all(b"more lines than fit into it\n").unwrap();
    }
}
