//! An archive is untrusted: whatever is wrong with it, it is refused and leaves nothing behind.

use std::io::Read as _;

use ferrohub_store::OpenError;
use ferrohub_store::backup::{ArchiveError, ArchiveWriter, BackupError, Header, Member, SchemaVersions};
use proptest::prelude::*;
use rusqlite::Connection;
use tar::EntryType;
use tempfile::tempdir;

use crate::fixture::{back_up, data_folder, names, seconds, try_restore};

/// A member as it stands in the archive.
#[derive(Debug, Clone)]
struct RawMember {
    name: Vec<u8>,
    kind: EntryType,
    content: Vec<u8>,
}

fn plain(name: &str, content: &[u8]) -> RawMember {
    RawMember { name: name.into(), kind: EntryType::Regular, content: content.to_vec() }
}

fn unpack(archive: &[u8]) -> Vec<RawMember> {
    let mut archive = tar::Archive::new(archive);
    let members = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        RawMember { name: entry.path_bytes().into_owned(), kind: entry.header().entry_type(), content }
    });
    members.collect()
}

fn pack(members: &[RawMember]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..member.name.len()].copy_from_slice(&member.name);
        header.set_entry_type(member.kind);
        header.set_size(member.content.len() as u64);
        if !matches!(member.kind, EntryType::Regular) {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        archive.append(&header, &member.content[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Writes an archive with correct checksums.
fn write(header: &Header, members: &[(Member, Vec<u8>)]) -> Vec<u8> {
    let mut archive = ArchiveWriter::new(Vec::new(), Vec::new(), header).unwrap();
    for (member, content) in members {
        archive.append(member, content.len() as u64, &mut &content[..], &mut |_| {}).unwrap();
    }
    archive.finish(|lines| Ok(std::io::Cursor::new(lines))).unwrap()
}

/// Restores an archive that must be refused, and checks that nothing is left.
#[track_caller]
fn refused(archive: &[u8]) -> BackupError {
    let outer = tempdir().unwrap();
    let target = outer.path().join("data");
    let error = try_restore(archive, &target, 200).unwrap_err();
    assert_eq!(names(&target), [""; 0], "{error}");
    assert_eq!(names(outer.path()), ["data"], "{error}");
    error
}

#[track_caller]
fn refused_archive(archive: &[u8]) -> ArchiveError {
    match refused(archive) {
        BackupError::Archive(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn members_that_no_backup_has_are_refused() {
    let members = unpack(&back_up(data_folder().await.path(), 100));
    assert!(try_restore(&pack(&members), &tempdir().unwrap().path().join("data"), 200).is_ok());
    for name in
        ["../evil", "/tmp/evil", "blobs/data/../../../evil", "blobs/parts/x", "hub.db-wal", "tls/x", ""]
    {
        let mut changed = members.clone();
        changed.insert(1, plain(name, b"x"));
        let error = refused_archive(&pack(&changed));
        assert!(matches!(error, ArchiveError::UnknownMember(_)), "{name}: {error}");
    }
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Directory,
        EntryType::Char,
        EntryType::Fifo,
        EntryType::GNUSparse,
        EntryType::GNULongName,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
    ] {
        let mut changed = members.clone();
        changed.insert(1, RawMember { name: "tls/ca.key".into(), kind, content: Vec::new() });
        let error = refused_archive(&pack(&changed));
        assert!(matches!(error, ArchiveError::NotAFile(_)), "{kind:?}: {error}");
    }
}

#[tokio::test]
async fn members_that_are_missing_twice_there_or_at_another_place_are_refused() {
    let members = unpack(&back_up(data_folder().await.path(), 100));
    let count = members.len();
    for index in 1..count {
        let mut twice = members.clone();
        twice.insert(index, members[index].clone());
        let error = refused_archive(&pack(&twice));
        assert!(matches!(error, ArchiveError::Order(_) | ArchiveError::Trailing), "{index}: {error}");
        let mut without = members.clone();
        without.remove(index);
        let error = refused_archive(&pack(&without));
        let expected = if index == count - 1 {
            matches!(error, ArchiveError::Incomplete(_))
        } else {
            matches!(error, ArchiveError::Checksum)
        };
        assert!(expected, "{index}: {error}");
    }
    let mut trailing = members.clone();
    trailing.push(plain("hub.db", b""));
    assert!(matches!(refused_archive(&pack(&trailing)), ArchiveError::Trailing));
    let mut swapped = members.clone();
    swapped.swap(count - 2, count - 3);
    assert!(matches!(refused_archive(&pack(&swapped)), ArchiveError::Order(_)));
    for archive in [pack(&members[1..]), pack(&[]), b"hello".to_vec(), vec![b'x'; 4096], Vec::new()] {
        assert!(matches!(refused_archive(&archive), ArchiveError::NotABackup(_)));
    }
}

#[tokio::test]
async fn a_backup_that_was_cut_is_incomplete_wherever_it_was_cut() {
    let archive = back_up(data_folder().await.path(), 100);
    // The end of a tar file is two empty blocks, which nothing depends on.
    let last = archive.len() - 1024;
    for length in (0..last).step_by(last / 40).chain([last - 1, last - 512]) {
        let error = refused_archive(&archive[..length]);
        assert!(
            matches!(error, ArchiveError::Incomplete(_) | ArchiveError::NotABackup(_)),
            "{length}: {error}"
        );
    }
    assert!(try_restore(&archive[..last], &tempdir().unwrap().path().join("data"), 200).is_ok());
}

#[tokio::test]
async fn a_newer_backup_is_refused_with_the_version_that_made_it() {
    let folder = data_folder().await;
    let members = unpack(&back_up(folder.path(), 100));
    let content =
        |name: &str| members.iter().find(|member| member.name == name.as_bytes()).unwrap().content.clone();
    let with_header = |json: &str| {
        let mut changed = members.clone();
        changed[0].content = json.into();
        pack(&changed)
    };
    let error = refused_archive(&with_header(r#"{"format":2,"hubVersion":"9.8.7","somethingNew":1}"#));
    assert!(matches!(error, ArchiveError::TooNew { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("Ferrohub 9.8.7, which is newer"), "{error}");
    for (hub, events) in [(99, 4), (11, 99)] {
        let header = Header {
            format: 1,
            hub_version: "9.8.7".to_owned(),
            created: seconds(1),
            schema_versions: SchemaVersions { hub, events },
        };
        let error = refused_archive(&with_header(&serde_json::to_string(&header).unwrap()));
        assert!(matches!(error, ArchiveError::TooNew { found: 99, .. }), "{error}");
    }
    // The header lies, and the database is newer.
    let file = folder.path().join("hub.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let mut header: Header = serde_json::from_slice(&content("ferrohub-backup.json")).unwrap();
    let archive = |header: &Header| {
        write(header, &[(Member::Events, content("events.db")), (Member::Hub, std::fs::read(&file).unwrap())])
    };
    let error = refused(&archive(&header));
    assert!(matches!(error, BackupError::Open(OpenError::TooNew { found: 99, .. })), "{error}");
    // A header that is not that of the databases.
    Connection::open(&file).unwrap().pragma_update(None, "user_version", header.schema_versions.hub).unwrap();
    header.schema_versions.hub -= 1;
    assert!(matches!(refused_archive(&archive(&header)), ArchiveError::Mixed(_)));
}

#[tokio::test]
async fn databases_with_foreign_triggers_or_damaged_pages_are_refused_although_their_checksums_are_right() {
    let folder = data_folder().await;
    let members = unpack(&back_up(folder.path(), 100));
    let header: Header = serde_json::from_slice(&members[0].content).unwrap();
    let events = || members.iter().find(|member| member.name == b"events.db").unwrap().content.clone();
    let blobs = || {
        let blob = |name: &str, member| {
            (member, members.iter().find(|found| found.name == name.as_bytes()).unwrap().content.clone())
        };
        let file = "00000000000000000000000000000007";
        [
            blob("blobs/instance", Member::BlobsInstance),
            blob(&format!("blobs/data/{file}"), Member::Blob(file.to_owned())),
        ]
    };
    let file = folder.path().join("hub.db");
    let with_hub = |hub: Vec<u8>, files: &[(Member, Vec<u8>)]| {
        let mut all = files.to_vec();
        all.extend([(Member::Events, events()), (Member::Hub, hub)]);
        write(&header, &all)
    };
    let good = std::fs::read(&file).unwrap();
    assert!(try_restore(&with_hub(good.clone(), &blobs()), &tempdir().unwrap().path().join("d"), 9).is_ok());
    assert!(
        matches!(refused_archive(&with_hub(good.clone(), &[])), ArchiveError::Mixed(_)),
        "a file is missing"
    );
    let mut more = blobs().to_vec();
    more.push((Member::Blob("0".repeat(32)), b"unknown".to_vec()));
    assert!(matches!(refused_archive(&with_hub(good.clone(), &more)), ArchiveError::Mixed(_)));
    let mut other = blobs().to_vec();
    other[0].1 = b"00112233445566778899aabbccddeeff".to_vec();
    assert!(
        matches!(refused_archive(&with_hub(good.clone(), &other)), ArchiveError::Mixed(_)),
        "another hub"
    );

    let mut torn = good.clone();
    let length = torn.len();
    torn[4096..length - 4096].fill(0x5a);
    let error = refused(&with_hub(torn, &blobs()));
    assert!(error.to_string().contains("corrupt"), "{error}");
    let error = refused(&with_hub(b"no database at all".to_vec(), &blobs()));
    assert!(error.to_string().contains("corrupt"), "{error}");

    for statement in [
        "CREATE TRIGGER evil AFTER INSERT ON identity BEGIN DELETE FROM policy; END",
        "DROP TRIGGER device_added; \
         CREATE TRIGGER device_added AFTER INSERT ON identity BEGIN DELETE FROM policy; END",
        "CREATE TABLE evil (x)",
        "CREATE VIEW evil AS SELECT 1",
        "DROP TABLE secret",
    ] {
        std::fs::write(&file, &good).unwrap();
        let db = Connection::open(&file).unwrap();
        db.execute_batch(statement).unwrap();
        db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        db.close().unwrap();
        let error = refused_archive(&with_hub(std::fs::read(&file).unwrap(), &blobs()));
        assert!(matches!(error, ArchiveError::Schema { .. }), "{statement}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_byte_is_noticed_or_has_no_meaning(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let header = Header {
            format: 1,
            hub_version: "0.1.0".to_owned(),
            created: seconds(1),
            schema_versions: SchemaVersions { hub: 1, events: 1 },
        };
        let members = [(Member::Secret("tls/ca.key"), vec![7; 700]), (Member::Blob("a".repeat(32)), vec![8; 10])];
        let good = write(&header, &members);
        let mut changed = good.clone();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        let read = |archive: &[u8]| read_all(archive);
        let expected = read(&good).unwrap();
        if let Ok(found) = read(&changed) {
            // Padding, the time of a member or the empty blocks at the end.
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn any_bytes_are_an_archive_or_not(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read_all(&bytes);
    }
}

/// The names and contents of members.
type Contents = Vec<(String, Vec<u8>)>;

/// Reads all members of an archive.
fn read_all(archive: &[u8]) -> Result<(Header, Contents), ArchiveError> {
    struct All(Contents);
    impl ferrohub_store::backup::Members for All {
        type Error = ArchiveError;
        fn header(&mut self, _: &Header) -> Result<(), ArchiveError> {
            Ok(())
        }
        fn member(
            &mut self,
            member: &Member,
            _: u64,
            content: &mut dyn std::io::Read,
        ) -> Result<(), ArchiveError> {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
            self.0.push((member.to_string(), bytes));
            Ok(())
        }
    }
    let mut all = All(Vec::new());
    let header = ferrohub_store::backup::ArchiveReader::read(archive, &crate::fixture::SECRETS, &mut all)?;
    Ok((header, all.0))
}
