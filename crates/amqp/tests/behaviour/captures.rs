//! The captured sessions under `tests/golden`: one file per scenario, one frame or protocol header per line.

use std::{fs, path::Path};

use ferrohub_amqp::frame::ProtocolHeader;

/// Who sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Peer,
}

/// One line of a capture.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) from: From,
    pub(crate) bytes: Vec<u8>,
    /// Where it stands, for messages.
    pub(crate) place: String,
}

impl Line {
    pub(crate) fn is_header(&self) -> bool {
        self.bytes.first_chunk().is_some_and(|bytes| ProtocolHeader::from_bytes(*bytes).is_some())
    }
}

/// A file, in the sections that the capture is divided into.
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) sections: Vec<Vec<Line>>,
}

/// Reads every capture, in the order of their names.
pub(crate) fn all() -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let captures: Vec<_> = paths.iter().map(|path| read(path)).collect();
    assert_eq!(captures.len(), 31);
    for capture in &captures {
        assert!(!capture.sections.is_empty(), "{} has no frames", capture.name);
    }
    captures
}

fn read(path: &Path) -> Capture {
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut sections = vec![Vec::new()];
    for (at, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
        let (from, hex) = match line.split_at_checked(2) {
            Some(("> ", hex)) => (From::Client, hex),
            Some(("< ", hex)) => (From::Peer, hex),
            Some(("##", _)) => {
                sections.push(Vec::new());
                continue;
            }
            _ => continue,
        };
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        let place = format!("{name}, line {}", at + 1);
        sections.last_mut().unwrap().push(Line { from, bytes, place });
    }
    sections.retain(|section| !section.is_empty());
    Capture { name, sections }
}
