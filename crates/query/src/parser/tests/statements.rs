use super::*;
use crate::plan::{Aggregate, Column, GroupValue, ItemType, Output, Path, Root};

#[test]
fn keywords_collections_and_members_of_the_hub_have_any_case() {
    assert_eq!(
        canonical(
            "sElEcT DEVICEID, tags.Floor from DEVICES.Modules wHeRe ModuleID = 'Fan' aNd nOt FALSE gRoUp"
                .trim_end_matches(" gRoUp")
        ),
        "SELECT deviceId, tags.Floor FROM devices.modules WHERE moduleId = 'Fan' AND NOT false"
    );
    assert_eq!(
        canonical("select TAGS.Floor, count() from devices group by Tags.Floor;"),
        "SELECT tags.Floor, COUNT() FROM devices GROUP BY tags.Floor"
    );
}

#[test]
fn a_query_returns_documents_columns_totals_or_groups() {
    let output = |text| parse(text).unwrap().output;
    assert_eq!(output("SELECT * FROM devices"), Output::Documents);
    let status = || Path::new(Root::Status, vec![]);
    let column = |key: &str, value| Column { key: key.to_owned(), value };
    assert_eq!(
        output("SELECT status, STATUS AS State FROM devices"),
        Output::Columns(vec![column("status", status()), column("State", status())])
    );
    let column = |key: &str, value| Column { key: key.to_owned(), value };
    assert_eq!(
        output("SELECT COUNT(), count(*) AS n, Count(1), MAX(version) FROM devices"),
        Output::Totals(vec![
            column("_1", Aggregate::Count),
            column("n", Aggregate::Count),
            column("_3", Aggregate::Count),
            column("_4", Aggregate::Maximum(Path::new(Root::Version, vec![]))),
        ])
    );
    let column = |key: &str, value| Column { key: key.to_owned(), value };
    assert_eq!(
        output("SELECT devices.status, AVG(version) AS mean FROM devices GROUP BY Status"),
        Output::Groups {
            by: status(),
            columns: vec![
                column("status", GroupValue::Key),
                column("mean", GroupValue::Aggregate(Aggregate::Average(Path::new(Root::Version, vec![])))),
            ]
        }
    );
}

#[test]
fn the_type_of_the_rows_follows_from_the_output() {
    for (text, item_type) in [
        ("SELECT * FROM devices", ItemType::Twin),
        ("SELECT TOP 3 * FROM devices.modules", ItemType::Twin),
        ("SELECT * FROM devices.jobs", ItemType::DeviceJob),
        ("SELECT deviceId FROM devices", ItemType::Raw),
        ("SELECT COUNT() FROM devices", ItemType::Raw),
        ("SELECT status FROM devices GROUP BY status", ItemType::Raw),
    ] {
        assert_eq!(parse(text).unwrap().item_type(), item_type, "{text}");
    }
}

#[test]
fn a_column_has_the_name_after_as_or_that_of_its_last_member() {
    let keys = |text: &str| match parse(text).unwrap().output {
        Output::Columns(columns) => columns.into_iter().map(|column| column.key).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        keys("SELECT DeviceID, id, properties.desired, tags.[[a b]], tags['c.d'], x.y, z FROM devices"),
        ["deviceId", "deviceId", "desired", "a b", "c.d", "y", "z"]
    );
    assert_eq!(
        keys("SELECT tags.a AS select, tags.list[0], tags.list[1] AS second FROM devices"),
        ["select", "_2", "second"]
    );
}

#[test]
fn top_limits_the_rows_and_is_a_path_without_a_number() {
    assert_eq!(parse("SELECT TOP 0 * FROM devices").unwrap().top, Some(0));
    assert_eq!(canonical("select top 5 COUNT() from devices"), "SELECT TOP 5 COUNT() FROM devices");
    assert_eq!(canonical("SELECT top, top.a FROM devices"), "SELECT [[top]], [[top]].a FROM devices");
}

#[test]
fn a_condition_stands_alone_or_after_from() {
    for (text, expected) in [
        ("*", "FROM devices"),
        (" tags.hall = 7 ", "FROM devices WHERE tags.hall = 7"),
        ("from devices.modules where moduleid='Fan'", "FROM devices.modules WHERE moduleId = 'Fan'"),
        ("FROM devices.modules", "FROM devices.modules"),
        ("FROM devices WHERE true", "FROM devices WHERE true"),
        ("edgeDeviceVM", "FROM devices WHERE [[edgeDeviceVM]]"),
    ] {
        assert_eq!(parse_filter(text).unwrap().to_string(), expected, "{text}");
    }
}

#[test]
fn rows_of_jobs_are_returned_whole() {
    assert_eq!(
        canonical(
            "SELECT TOP 2 * FROM devices.jobs WHERE devices.jobs.createdTimeUtc > '2026' AND Error.code = 'x'"
        ),
        "SELECT TOP 2 * FROM devices.jobs WHERE createdDateTimeUtc > '2026' AND error.code = 'x'"
    );
    for text in [
        "SELECT jobId FROM devices.jobs",
        "SELECT COUNT() FROM devices.jobs",
        "SELECT * FROM devices.jobs GROUP BY status",
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.reason, error.position.offset), (Reason::JobColumns, 7), "{text}");
    }
    let error = parse("SELECT * FROM devices.jobs WHERE status = 'failed' AND tags.hall = 7").unwrap_err();
    assert_eq!((error.reason, error.position.offset), (Reason::TwinPathInJobs("tags"), 55));
}

#[test]
fn the_old_name_of_a_job_type_is_replaced() {
    for (old, new) in [
        ("jobType = 'scheduleTwinUpdate'", "jobType = 'scheduleUpdateTwin'"),
        ("'scheduleTwinUpdate' != jobType", "'scheduleUpdateTwin' != jobType"),
        ("jobType IN ['scheduleTwinUpdate', 'a']", "jobType IN ['a', 'scheduleUpdateTwin']"),
        ("jobId = 'scheduleTwinUpdate'", "jobId = 'scheduleTwinUpdate'"),
    ] {
        let filter = parse_filter(&format!("FROM devices.jobs WHERE {old}")).unwrap();
        assert_eq!(filter.condition.unwrap().to_string(), new);
    }
}
