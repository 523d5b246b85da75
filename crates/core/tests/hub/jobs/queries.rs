//! Queries on the rows of jobs.

use ferrohub_core::Operation;
use ferrohub_core::queries::{QueryItems, QueryRequest};
use ferrohub_model::{ErrorCode, Right, sas};
use serde_json::json;

use super::{method_job, twin_job};
use crate::test_hub::{EXPIRY, HOST, TestHub, key, pass, policy, seconds};

#[tokio::test(start_paused = true)]
async fn rows_are_found_by_device_type_state_and_time() {
    let hub = TestHub::start().await;
    for name in ["a", "b", "b/m"] {
        hub.create(name).await;
    }
    hub.create_job(twin_job("twins", "*")).await;
    pass(seconds(1)).await;
    hub.create_job(method_job("methods", "*")).await;
    hub.create_job(twin_job("modules", "FROM devices.modules")).await;
    for (condition, expected) in [
        ("devices.jobs.deviceId = 'a'", &["twins/a", "methods/a"][..]),
        ("jobId = 'modules'", &["modules/b/m"]),
        ("moduleId = 'm'", &["modules/b/m"]),
        ("NOT IS_DEFINED(moduleId) AND deviceId > 'a'", &["twins/b", "methods/b"]),
        (
            "devices.jobs.deviceId = 'b' AND devices.jobs.jobType = 'scheduleUpdateTwin' AND \
             devices.jobs.status = 'completed' AND devices.jobs.createdTimeUtc > '2016-09-01'",
            &["twins/b", "modules/b/m"],
        ),
        ("createdDateTimeUtc < '2016-09-01'", &[]),
        ("status IN ['scheduled', 'failed']", &["methods/a", "methods/b"]),
        ("jobId = 'no such' OR jobId = 'x'' OR 1 = 1'", &[]),
    ] {
        let rows = hub.query_jobs(&format!("SELECT * FROM devices.jobs WHERE {condition}")).await;
        let names: Vec<_> = rows
            .iter()
            .map(|row| {
                let module = row["moduleId"].as_str().map(|module| format!("/{module}")).unwrap_or_default();
                format!("{}/{}{module}", row["jobId"].as_str().unwrap(), row["deviceId"].as_str().unwrap())
            })
            .collect();
        assert_eq!(names, expected, "{condition}");
    }
    let row = &hub.query_jobs("SELECT * FROM devices.jobs").await[0];
    let keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "deviceId",
        "jobId",
        "jobType",
        "status",
        "startTimeUtc",
        "endTimeUtc",
        "createdDateTimeUtc",
        "lastUpdatedDateTimeUtc",
        "outcome",
    ];
    expected.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(row["outcome"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn the_pages_of_rows_have_each_row_once() {
    let hub = TestHub::start().await;
    for name in ["a", "b", "c"] {
        hub.create(name).await;
    }
    for id in ["x", "w"] {
        hub.create_job(twin_job(id, "*")).await;
    }
    let service = hub.service().await;
    let text = "SELECT * FROM devices.jobs".to_owned();
    for size in 1..8 {
        let (mut found, mut continuation) = (Vec::new(), None);
        loop {
            let request = QueryRequest { text: text.clone(), max_rows: Some(size), continuation };
            let page = service.query_twins(request).await.unwrap();
            let QueryItems::Rows(rows) = page.items else { panic!("not rows") };
            assert!(!rows.is_empty() && rows.len() <= size);
            found.extend(
                rows.iter().map(|row| format!("{}{}", row["jobId"], row["deviceId"]).replace('"', "")),
            );
            continuation = page.continuation;
            if continuation.is_none() {
                break;
            }
        }
        assert_eq!(found, ["xa", "xb", "xc", "wa", "wb", "wc"], "{size}");
    }
    for text in ["SELECT deviceId FROM devices.jobs", "SELECT COUNT() FROM devices.jobs"] {
        let request = QueryRequest { text: text.to_owned(), ..QueryRequest::default() };
        assert_eq!(service.query_twins(request).await.unwrap_err().code, ErrorCode::ArgumentInvalid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_may_only_write_the_registry_creates_twin_jobs_and_no_method_jobs() {
    let hub =
        TestHub::start_with(|settings| settings.policies.push(policy("writer", &[Right::RegistryWrite])))
            .await;
    hub.create("d").await;
    let token = sas::sign(HOST, &key(), Some("writer"), EXPIRY);
    let writer = hub.hub.authenticate_service(Some(&token), Operation::CreateJob).await.unwrap();
    writer.create_job(twin_job("twin", "*")).await.unwrap();
    let refused = writer.create_job(method_job("method", "*")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::IotHubUnauthorizedAccess);
    let request = QueryRequest { text: "SELECT * FROM devices.jobs".to_owned(), ..QueryRequest::default() };
    assert_eq!(writer.query_twins(request).await.unwrap_err().code, ErrorCode::IotHubUnauthorizedAccess);
    assert_eq!(writer.list_jobs(&ferrohub_core::jobs::JobFilter::default()).await.unwrap().jobs.len(), 1);
}
