//! Writes and reads the members of an archive.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, Read, Write};

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};
use tar::EntryType;

use super::error::ArchiveError;
use super::format::{FORMAT, Header, Member};

/// Size of the pieces that are read and written.
const CHUNK_BYTES: usize = 256 * 1024;

/// Writes an archive, member by member.
pub struct ArchiveWriter<W: Write, S: Write> {
    tar: tar::Builder<W>,
    /// Gets the lines of the checksums.
    checksums: S,
    checksum_bytes: u64,
    modified: u64,
}

impl<W: Write, S: Write> ArchiveWriter<W, S> {
    /// Begins an archive with its header. `checksums` keeps the lines of the last member until [`ArchiveWriter::finish`].
    ///
    /// # Errors
    /// Those of the outputs, as in all functions here.
    pub fn new(output: W, checksums: S, header: &Header) -> io::Result<Self> {
        let modified = u64::try_from(header.created.unix_millis() / 1000).unwrap_or(0);
        let mut archive = Self { tar: tar::Builder::new(output), checksums, checksum_bytes: 0, modified };
        let mut text = serde_json::to_vec_pretty(header)?;
        text.push(b'\n');
        archive.append(&Member::Header, text.len() as u64, &mut &text[..], &mut |_| {})?;
        Ok(archive)
    }

    /// Appends a member with exactly `bytes` bytes of `content`. Tells `progress` the size of each piece.
    pub fn append(
        &mut self,
        member: &Member,
        bytes: u64,
        content: &mut dyn Read,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        let mut header = self.header(bytes);
        let mut reader =
            DigestReader { content: content.take(bytes), digest: Context::new(&SHA256), read: 0, progress };
        self.tar.append_data(&mut header, member.to_string(), &mut reader)?;
        if reader.read != bytes {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{member} became shorter while it was read"),
            ));
        }
        let line = checksum_line(reader.digest, member);
        self.checksum_bytes += line.len() as u64;
        self.checksums.write_all(line.as_bytes())
    }

    /// Appends the checksums, which `read_back` returns, and ends the archive. Returns the output.
    pub fn finish<R: Read>(mut self, read_back: impl FnOnce(S) -> io::Result<R>) -> io::Result<W> {
        let mut header = self.header(self.checksum_bytes);
        let lines = read_back(self.checksums)?;
        self.tar.append_data(&mut header, Member::Checksums.to_string(), lines)?;
        self.tar.into_inner()
    }

    fn header(&self, bytes: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(self.modified);
        header
    }
}

/// Digests what is read.
struct DigestReader<'a, R> {
    content: R,
    digest: Context,
    read: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for DigestReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.digest.update(buffer.get(..read).unwrap_or_default());
        self.read += read as u64;
        (self.progress)(read as u64);
        Ok(read)
    }
}

/// Returns the line of a member as `sha256sum` writes it.
fn checksum_line(digest: Context, member: &Member) -> String {
    let mut line = HEXLOWER.encode(digest.finish().as_ref());
    let _ = writeln!(line, "  {member}");
    line
}

/// Reads an archive and trusts nothing in it.
pub struct ArchiveReader<'a> {
    secrets: &'a [&'static str],
    header: Header,
}

/// The members of an archive after its header, to be written somewhere.
pub trait Members {
    /// The error of a place that cannot be written.
    type Error: From<ArchiveError>;

    /// Looks at the header before anything else is read.
    ///
    /// # Errors
    /// Ends the read.
    fn header(&mut self, header: &Header) -> Result<(), Self::Error>;

    /// Writes one member, which is not the header or the checksums. Must read `content` to its end.
    ///
    /// # Errors
    /// Ends the read.
    fn member(&mut self, member: &Member, bytes: u64, content: &mut dyn Read) -> Result<(), Self::Error>;
}

impl<'a> ArchiveReader<'a> {
    /// Reads a whole archive. `secrets` are the names of the secret files that it may have. Everything that `members` got is
    /// part of a complete and undamaged archive only when this returns without an error.
    ///
    /// # Errors
    /// [`ArchiveError`] if it is not an archive that this version can restore; those of `members`.
    pub fn read<M: Members>(
        input: impl Read,
        secrets: &'a [&'static str],
        members: &mut M,
    ) -> Result<Header, M::Error> {
        let at_end = Cell::new(false);
        let read_error = |error| read_error(error, at_end.get());
        let mut tar = tar::Archive::new(NoticesEnd { input, at_end: &at_end });
        // Raw: extensions, such as long names, are members of other types, and are refused as such.
        let entries = tar.entries().map_err(read_error)?.raw(true);
        let mut reader: Option<Self> = None;
        let mut expected = Context::new(&SHA256);
        let mut last: Option<Member> = None;
        for entry in entries {
            let mut entry = entry.map_err(|error| match &reader {
                Some(_) => read_error(error),
                None => ArchiveError::NotABackup("it is not a tar file"),
            })?;
            let name = entry.path_bytes().into_owned();
            let shown = || String::from_utf8_lossy(&name).into_owned();
            if entry.header().entry_type() != EntryType::Regular {
                return Err(ArchiveError::NotAFile(shown()).into());
            }
            let secrets = reader.as_ref().map_or(secrets, |reader| reader.secrets);
            let member = Member::from_name(&name, secrets);
            let bytes = entry.header().entry_size().map_err(read_error)?;
            let Some(member) = member else {
                return Err(match reader {
                    Some(_) => ArchiveError::UnknownMember(shown()),
                    None => ArchiveError::NotABackup("it does not begin with ferrohub-backup.json"),
                }
                .into());
            };
            check_order(last.as_ref(), &member)?;
            if bytes > member.max_bytes() {
                return Err(ArchiveError::TooLarge(member.to_string()).into());
            }
            let mut content = DigestReader {
                content: &mut entry,
                digest: Context::new(&SHA256),
                read: 0,
                progress: &mut |_| {},
            };
            match (&member, &reader) {
                (Member::Header, _) => {
                    let mut text = Vec::new();
                    content.read_to_end(&mut text).map_err(read_error)?;
                    check_length(content.read, bytes)?;
                    let header = parse_header(&text)?;
                    members.header(&header)?;
                    reader = Some(Self { secrets, header });
                }
                (_, None) => {
                    return Err(
                        ArchiveError::NotABackup("it does not begin with ferrohub-backup.json").into()
                    );
                }
                (Member::Checksums, Some(_)) => {
                    let mut buffer = vec![0; CHUNK_BYTES];
                    while content.read(&mut buffer).map_err(read_error)? > 0 {}
                    check_length(content.read, bytes)?;
                    if content.digest.clone().finish().as_ref() != expected.clone().finish().as_ref() {
                        return Err(ArchiveError::Checksum.into());
                    }
                }
                (_, Some(_)) => {
                    members.member(&member, bytes, &mut content)?;
                    check_length(content.read, bytes)?;
                }
            }
            expected.update(checksum_line(content.digest, &member).as_bytes());
            last = Some(member);
        }
        let Some(reader) = reader else {
            return Err(ArchiveError::NotABackup("it is empty, or not a tar file").into());
        };
        match last {
            Some(Member::Checksums) => Ok(reader.header),
            _ => Err(ArchiveError::Incomplete("before its last member, SHA256SUMS").into()),
        }
    }
}

/// Notices the end of the input.
struct NoticesEnd<'a, R> {
    input: R,
    at_end: &'a Cell<bool>,
}

impl<R: Read> Read for NoticesEnd<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.at_end.set(read == 0 && !buffer.is_empty());
        Ok(read)
    }
}

/// Converts an error of reading. Most likely, the archive was cut.
fn read_error(error: io::Error, at_end: bool) -> ArchiveError {
    match at_end {
        true => ArchiveError::Incomplete("in the middle of a member"),
        false => ArchiveError::Read(error),
    }
}

fn check_length(read: u64, bytes: u64) -> Result<(), ArchiveError> {
    if read == bytes { Ok(()) } else { Err(ArchiveError::Incomplete("in the middle of a member")) }
}

/// Checks that a member may follow another one. There are several secrets and stored files; the writer of the members
/// notices one that is there twice.
fn check_order(last: Option<&Member>, member: &Member) -> Result<(), ArchiveError> {
    let Some(last) = last else { return Ok(()) };
    if *last == Member::Checksums {
        return Err(ArchiveError::Trailing);
    }
    let are_several = matches!(member, Member::Secret(_) | Member::Blob(_));
    if member.rank() < last.rank() || (member.rank() == last.rank() && !are_several) {
        return Err(ArchiveError::Order(member.to_string()));
    }
    Ok(())
}

/// Parses the header. One of a newer format may have other fields, so its version is read first.
fn parse_header(text: &[u8]) -> Result<Header, ArchiveError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        format: u32,
        #[serde(default)]
        hub_version: String,
    }
    const NOT_A_HEADER: ArchiveError = ArchiveError::NotABackup("its first member is not a header");
    let Version { format, hub_version } = serde_json::from_slice(text).map_err(|_| NOT_A_HEADER)?;
    if format > FORMAT {
        return Err(ArchiveError::TooNew { hub_version, what: "the format", found: format, known: FORMAT });
    }
    serde_json::from_slice(text).map_err(|_| NOT_A_HEADER)
}
