//! Holds the table of operations as a golden file: who may use each of them is a contract, and no change of it may go
//! unnoticed.
//!
//! If a change is intended, run this test with `UPDATE_GOLDEN=1` to rewrite the file.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fmt::Write as _;

use ferrohub_core::Operation;
use ferrohub_core::operations::{Identities, OperationGroup};
use ferrohub_model::IdentityId;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/operations.txt");

/// Returns a paragraph per operation and a line per group.
fn table() -> String {
    let mut text = String::new();
    for operation in Operation::ALL {
        writeln!(text, "{} ({})", operation.name(), operation.group().name()).unwrap();
        writeln!(text, "  {}", operation.description()).unwrap();
        writeln!(text, "  policies: {:?}", operation.rights()).unwrap();
        writeln!(text, "  entra: {:?}", operation.data_actions()).unwrap();
        writeln!(text, "  identities: {:?}", operation.identities()).unwrap();
        writeln!(text, "  signed URL: {:?}", operation.url_rights()).unwrap();
        writeln!(text, "  fault point: {:?}", operation.fault_point()).unwrap();
    }
    for group in OperationGroup::ALL {
        writeln!(text, "{}: {}", group.name(), group.description()).unwrap();
    }
    text
}

#[test]
fn the_table_of_operations_matches_the_golden_file() {
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &table).unwrap();
    }
    let expected = std::fs::read_to_string(GOLDEN).expect("the golden file");
    assert!(table == expected, "the table has changed; see the documentation of this test:\n{table}");
}

#[test]
fn identities_include_devices_or_modules() {
    let device = IdentityId::parse("d").unwrap();
    let module = IdentityId::parse("d/m").unwrap();
    for (identities, includes) in [
        (Identities::None, (false, false)),
        (Identities::Devices, (true, false)),
        (Identities::Modules, (false, true)),
        (Identities::All, (true, true)),
    ] {
        assert_eq!((identities.include(&device), identities.include(&module)), includes, "{identities:?}");
    }
}
