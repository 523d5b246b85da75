//! Writes log lines on a thread of its own, so that a slow or broken log never blocks or ends the hub.
//!
//! A line that cannot be written is dropped and counted: because the buffer is full (the reader of a pipe does not
//! read), or because the write fails (the reader is gone, the disk is full). Later lines are written again as soon as
//! that is possible.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ferrohub_core::metrics::{LogMetrics, count};
use tracing_subscriber::fmt::MakeWriter;

/// Maximum size of the lines that wait to be written, in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// How long the thread waits after a panic before it writes again.
const PANIC_PAUSE: Duration = Duration::from_millis(100);

/// The log's buffer. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread when there are lines, and [`LogWriter::flush`] when they are written.
    changed: Condvar,
    metrics: LogMetrics,
}

#[derive(Debug, Default)]
struct State {
    /// Complete lines.
    waiting: Vec<u8>,
    /// Whether the thread is writing lines that it took from the buffer.
    writing: bool,
}

impl Shared {
    /// Locks the state. Ignores poisoning: the state stays valid if a thread panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogWriter {
    /// Starts the thread, which writes to `sink`.
    pub(super) fn start(sink: impl Write + Send + 'static, metrics: LogMetrics) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), metrics });
        let writer = Self(shared.clone());
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || run(&shared, sink))?;
        Ok(writer)
    }

    pub(super) fn metrics(&self) -> &LogMetrics {
        &self.0.metrics
    }

    /// Adds a line to the buffer, or drops and counts it.
    fn push(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > BUFFER_BYTES {
            drop(state);
            return count(&self.0.metrics.lines_dropped, "buffer_full");
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits until all lines are written, at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.0.lock();
        while state.writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let wait = self.0.changed.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(self)
    }
}

/// Receives a formatted line. Never fails.
#[derive(Debug)]
pub(super) struct LineWriter<'a>(&'a LogWriter);

impl Write for LineWriter<'_> {
    /// The formatter passes each line in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(shared: &Shared, sink: impl Write) {
    let mut output = Output { sink, mid_line: false };
    let mut lines = Vec::new();
    let mut state = shared.lock();
    loop {
        while state.waiting.is_empty() {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut lines, &mut state.waiting);
        state.writing = true;
        drop(state);
        let dropped = match catch_unwind(AssertUnwindSafe(|| output.write(&lines))) {
            Ok(dropped) => dropped,
            Err(_) => {
                // The panic adds a line to the log, whose write may panic again.
                thread::sleep(PANIC_PAUSE);
                count_lines(&lines)
            }
        };
        if dropped > 0 {
            shared.metrics.record_write_failed(dropped);
        }
        lines.clear();
        state = shared.lock();
        state.writing = false;
        shared.changed.notify_all();
    }
}

/// The destination of the log.
struct Output<W> {
    sink: W,
    /// Whether the last write ended inside a line.
    mid_line: bool,
}

impl<W: Write> Output<W> {
    /// Writes complete lines. Returns the number of lines that were dropped, a partly written one included.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if self.mid_line {
            // The rest of the previous line was dropped: end it, so that the next line stays readable.
            match self.sink.write(b"\n") {
                Ok(1) => self.mid_line = false,
                _ => return count_lines(lines),
            }
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.sink.write(rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return count_lines(rest),
                Ok(written) => {
                    let (done, remaining) = rest.split_at(written.min(rest.len()));
                    self.mid_line = done.last() != Some(&b'\n');
                    rest = remaining;
                }
            }
        }
        0
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for some bytes.
    #[derive(Default)]
    struct Disk {
        content: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = bytes.len().min(self.room);
            self.room -= written;
            self.content.extend_from_slice(&bytes[..written]);
            if written == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(written) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_on_a_full_disk_are_dropped_and_later_lines_stay_whole() {
        let mut output = Output { sink: Disk { room: 6, ..Disk::default() }, mid_line: false };
        assert_eq!(output.write(b"one\ntwo\nthree\n"), 2, "a part of `two`, and `three`");
        assert_eq!(output.write(b"four\n"), 1);
        output.sink.room = 100;
        assert_eq!(output.write(b"five\n"), 0);
        assert_eq!(String::from_utf8(output.sink.content).unwrap(), "one\ntw\nfive\n");
    }

    /// A pipe that nobody reads.
    struct Stalled(std::sync::mpsc::Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_log_drops_lines_instead_of_blocking() {
        let (resume, stalled) = std::sync::mpsc::sync_channel(1);
        let metrics = LogMetrics::default();
        let log = LogWriter::start(Stalled(stalled), metrics.clone()).unwrap();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // The buffer is filled at most twice: the thread may have taken the first lines.
        let lines = 2 * BUFFER_BYTES / line.len() + 1;
        for _ in 0..lines {
            log.make_writer().write_all(&line).unwrap();
        }
        let dropped = ferrohub_core::metrics::counter(&metrics.lines_dropped, "buffer_full");
        assert!(dropped.get() > 0);
        log.flush(Duration::from_millis(1));
        drop(resume);
        log.flush(Duration::from_secs(60));
        assert!(log.0.lock().waiting.is_empty());
    }

    /// Panics in its first write.
    struct Panicking(bool);

    impl Write for Panicking {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(std::mem::replace(&mut self.0, true), "planted");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_that_panics_drops_its_lines_and_later_lines_are_written() {
        let metrics = LogMetrics::default();
        let log = LogWriter::start(Panicking(false), metrics.clone()).unwrap();
        for _ in 0..2 {
            log.make_writer().write_all(b"line\n").unwrap();
            log.flush(Duration::from_secs(60));
        }
        let dropped = ferrohub_core::metrics::counter(&metrics.lines_dropped, "write_failed");
        assert_eq!(dropped.get(), 1);
        assert!(log.0.lock().waiting.is_empty() && !log.0.lock().writing);
    }
}
