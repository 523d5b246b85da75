//! Jobs that import and export devices and modules.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::configurations::ConfigurationId;
use ferrohub_core::files::{BlobError, BlobFolder as _, ByteStream, Condition, PutOptions};
use ferrohub_core::import_export::ImportExportStore as _;
use ferrohub_core::registry::{Authentication, RegistryStore as _};
use ferrohub_model::file::BlobName;
use ferrohub_model::import_export::{
    ContainerUrlRequest, ImportExportJob, ImportExportRequest, JobStatus, JobType, StorageAuthentication,
};
use ferrohub_model::{ErrorCode, HubError};
use serde_json::{Value, json};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::test_hub::{TestHub, id};

/// A body of one chunk.
struct Body(Option<Bytes>);

#[async_trait]
impl ByteStream for Body {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        Ok(self.0.take())
    }
}

/// Starts the task that runs jobs, as the program does.
fn start_worker(test: &TestHub) {
    let hub = test.hub.clone();
    test.hub.background().start("import and export", move |stop| hub.clone().run_import_export_jobs(stop));
}

async fn write(test: &TestHub, name: &str, content: &[u8]) {
    let mut body = Body(Some(Bytes::copy_from_slice(content)));
    let name = BlobName::in_container(name).unwrap();
    test.files.put(&name, PutOptions::default(), &mut body).await.unwrap();
}

async fn read(test: &TestHub, name: &str) -> Option<String> {
    let mut open = test.files.open(&BlobName::in_container(name).unwrap(), None).await.ok()?;
    let mut content = Vec::new();
    while let Some(chunk) = open.stream.next().await.unwrap() {
        content.extend_from_slice(&chunk);
    }
    Some(String::from_utf8(content).unwrap())
}

async fn container(test: &TestHub) -> String {
    test.service().await.create_container_url(&ContainerUrlRequest::default()).unwrap().url
}

async fn import(test: &TestHub) -> ImportExportRequest {
    let url = Some(container(test).await);
    ImportExportRequest {
        kind: Some(JobType::Import),
        input_blob_container_uri: url.clone(),
        output_blob_container_uri: url,
        ..ImportExportRequest::default()
    }
}

async fn export(test: &TestHub) -> ImportExportRequest {
    ImportExportRequest {
        kind: Some(JobType::Export),
        output_blob_container_uri: Some(container(test).await),
        ..ImportExportRequest::default()
    }
}

async fn create(test: &TestHub, request: &ImportExportRequest) -> Result<ImportExportJob, HubError> {
    test.service().await.create_import_export_job(request).await
}

async fn job(test: &TestHub, id: &str) -> ImportExportJob {
    test.service().await.get_import_export_job(id).await.unwrap()
}

/// Waits until a job has ended.
async fn ended(test: &TestHub, id: &str) -> ImportExportJob {
    loop {
        let job = job(test, id).await;
        if !job.status.is_active() {
            return job;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn run(test: &TestHub, request: &ImportExportRequest) -> ImportExportJob {
    let job = create(test, request).await.unwrap();
    assert_eq!((job.status, job.progress), (JobStatus::Enqueued, 0));
    ended(test, &job.job_id).await
}

/// Imports lines. Returns the job and the log of errors.
async fn import_lines(test: &TestHub, lines: &str) -> (ImportExportJob, Option<String>) {
    write(test, "devices.txt", lines.as_bytes()).await;
    let job = run(test, &import(test).await).await;
    (job, read(test, "importErrors.log").await)
}

/// What an export and import must keep of each identity.
async fn fleet(test: &TestHub) -> BTreeMap<String, Value> {
    let mut fleet = BTreeMap::new();
    let identities = test.store.identities_with_twins(None, 1000).await.unwrap();
    // A scope contains the generation of an edge device in its hub.
    let parent = |scope: &String| {
        let named = scope.trim_start_matches("ms-azure-iot-edge://").rsplit_once('-').unwrap();
        let (edge, _) = identities.iter().find(|(edge, _)| edge.id == id(named.0)).unwrap();
        assert_eq!(
            edge.device_scope.as_ref(),
            Some(scope),
            "the scope is that of the edge device in this hub"
        );
        named.0.to_owned()
    };
    for (identity, twin) in &identities {
        let keys = match &identity.authentication {
            Authentication::Sas { primary, secondary } => json!([primary.to_base64(), secondary.to_base64()]),
            other => json!(format!("{other:?}")),
        };
        let kept = json!({
            "keys": keys,
            "status": identity.status.name(),
            "reason": identity.status_reason,
            "edge": identity.iot_edge,
            "scope": identity.device_scope.as_ref().map(parent),
            "parents": identity.parent_scopes.iter().map(parent).collect::<Vec<_>>(),
            "managedBy": identity.managed_by,
            "tags": twin.tags,
            "desired": twin.desired.values,
        });
        fleet.insert(identity.id.to_string(), kept);
    }
    fleet
}

async fn create_fleet(test: &TestHub) {
    let service = test.service().await;
    let scope = async |device: &str| test.see(device).await.device_scope.unwrap();
    let bulk = async |items: Value| {
        let Value::Array(items) = items else { panic!("{items}") };
        let result = service.change_identities(items).await.unwrap();
        assert!(result.is_successful, "{result:?}");
    };
    let edge = json!({ "iotEdge": true });
    // Children come before their parents in the order of an export.
    bulk(json!([
        { "id": "z-edge", "capabilities": edge },
        { "id": "plain", "status": "disabled", "statusReason": "in repair", "tags": { "a": [1, { "b": "c" }] },
          "properties": { "desired": { "rate": 0.1, "big": 4_503_599_627_370_495_i64 } } },
        { "id": "certified", "authentication": { "type": "selfSigned",
          "x509Thumbprint": { "primaryThumbprint": "A".repeat(40), "secondaryThumbprint": "B".repeat(64) } } },
        { "id": "by-authority", "authentication": { "type": "certificateAuthority" } },
        { "id": "nobody", "authentication": { "type": "none" } },
    ]))
    .await;
    let top = scope("z-edge").await;
    bulk(json!([
        { "id": "m-edge", "capabilities": edge, "parentScopes": [top], "tags": { "level": 2 } },
        { "id": "a-leaf", "deviceScope": top },
        { "id": "plain", "moduleId": "m", "managedBy": "me", "tags": { "of": "module" },
          "properties": { "desired": { "x": { "y": "z" } } } },
        { "id": "z-edge", "moduleId": "$edgeAgent", "importMode": "updateTwin", "properties": { "desired": { "modules": {} } } },
    ]))
    .await;
    bulk(json!([
        { "id": "b-leaf", "deviceScope": scope("m-edge").await },
        { "id": "a-leaf", "moduleId": "m" },
    ]))
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fleet_is_exported_and_imported_into_another_hub() {
    let (old, new) = (TestHub::start().await, TestHub::start().await);
    start_worker(&old);
    start_worker(&new);
    create_fleet(&old).await;
    old.create("reporting").await;
    old.connect("reporting").await.patch_reported(br#"{"seen":true}"#, None).await.unwrap();
    let exported = run(&old, &export(&old).await).await;
    assert_eq!((exported.status, exported.progress), (JobStatus::Completed, 100));
    assert_eq!((exported.items_done, exported.items_failed), (15, 0));
    let text = read(&old, "devices.txt").await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 15);
    let plain = lines.iter().position(|line| line["id"] == "plain").unwrap();
    let reporting = lines.iter().find(|line| line["id"] == "reporting").unwrap();
    assert_eq!(reporting["properties"]["reported"], json!({ "seen": true }));
    assert_eq!(lines[plain + 1]["moduleId"], "m", "a module is the line after its device");
    assert!(!text.contains("$metadata"), "as in Azure");

    let (job, errors) = import_lines(&new, &text).await;
    assert_eq!((job.status, errors), (JobStatus::Completed, None));
    assert_eq!((job.items_done, job.items_failed), (15, 0));
    assert_eq!(fleet(&new).await, fleet(&old).await);

    // Once more: nothing changes.
    let (again, errors) = import_lines(&new, &text).await;
    assert_eq!((again.items_done, errors), (15, None));
    assert_eq!(fleet(&new).await, fleet(&old).await);

    let without_keys = ImportExportRequest {
        exclude_keys_in_export: Some(true),
        output_blob_name: Some("without-keys.txt".to_owned()),
        ..export(&old).await
    };
    let job = run(&old, &without_keys).await;
    assert!(job.exclude_keys_in_export && job.output_blob_name == "without-keys.txt");
    let text = read(&old, "without-keys.txt").await.unwrap();
    for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let keys = &line["authentication"]["symmetricKey"];
        assert_eq!(*keys, json!({ "primaryKey": null, "secondaryKey": null }));
    }
    assert!(text.contains(&"A".repeat(40)), "a thumbprint is no secret");
}

#[tokio::test(start_paused = true)]
async fn lines_that_fail_are_in_the_log_and_do_not_affect_the_others() {
    let test = TestHub::start().await;
    start_worker(&test);
    test.create("there").await;
    let lines = "\u{feff}# a comment\r\n\r\n{\"id\":\"a\",\"importMode\":\"create\"}\r\n{\"id\":\"there\",\"importMode\":\"create\"}\n\
        {\"id\":\"gone\",\"importMode\":\"delete\"}\n{\"id\":\"x\",\n{\"id\":\"bad id\"}\n\
        {\"id\":\"lost\",\"deviceScope\":\"ms-azure-iot-edge://nowhere-1\"}\n{\"id\":\"lost\",\"moduleId\":\"m\"}\n\
        {\"id\":\"a\",\"tags\":{\"n\":1}}\n{\"id\":\"a\",\"importMode\":\"updateTwin\",\"tags\":{\"n\":2}}";
    let (job, errors) = import_lines(&test, lines).await;
    assert_eq!((job.status, job.failure_reason.as_deref()), (JobStatus::Completed, None));
    assert_eq!((job.items_done, job.items_failed, job.progress), (3, 6, 100));
    let errors: Vec<Value> =
        errors.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<_> = errors
        .iter()
        .map(|error| (error["deviceId"].as_str().unwrap(), error["errorCode"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        failed,
        [
            ("", 400_006),
            ("bad id", 400_004),
            ("there", 409_001),
            ("gone", 404_001),
            ("lost", 400_028),
            ("lost", 404_001),
        ],
        "{errors:?}"
    );
    assert_eq!(errors[5]["moduleId"], "m");
    let twin = test.service().await.get_twin(&id("a")).await.unwrap();
    assert_eq!(
        serde_json::to_value(twin).unwrap()["tags"],
        json!({ "n": 2 }),
        "lines of one device are in order"
    );
}

#[tokio::test(start_paused = true)]
async fn no_line_is_applied_twice_however_often_the_hub_is_killed() {
    const DEVICES: usize = 250;
    let mut lines = String::new();
    for number in 0..DEVICES {
        // A mode that fails when it is applied again.
        lines += &format!(
            "{{\"id\":\"d{number}\",\"importMode\":\"create\"}}\n{{\"id\":\"d{number}\",\"moduleId\":\"m\",\"importMode\":\"create\"}}\n"
        );
    }
    lines += "{\"id\":\"a-leaf\",\"importMode\":\"create\",\"deviceScope\":\"ms-azure-iot-edge://z-edge-1\"}\n{\"id\":\"z-edge\",\"importMode\":\"create\",\"capabilities\":{\"iotEdge\":true}}\n{\"id\":\"d0\",\"importMode\":\"create\"}\n";
    let mut test = TestHub::start().await;
    write(&test, "devices.txt", lines.as_bytes()).await;
    let created = create(&test, &import(&test).await).await.unwrap();
    let mut crashes = 0;
    loop {
        start_worker(&test);
        // Each life gets a little farther, and ends anywhere.
        for _ in 0..100 + crashes * 37 % 301 {
            yield_now().await;
        }
        let job = job(&test, &created.job_id).await;
        if !job.status.is_active() {
            assert_eq!((job.status, job.failure_reason), (JobStatus::Completed, None));
            assert_eq!((job.items_done, job.items_failed), (2 * DEVICES as u64 + 2, 1));
            break;
        }
        crashes += 1;
        assert!(crashes < 1000, "{job:?}");
        test = test.crash().await;
    }
    assert!(crashes > 4, "{crashes}");
    let errors = read(&test, "importErrors.log").await.unwrap();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert_eq!(test.store.device_counts().await.unwrap().total, DEVICES as u64 + 2);
    assert_eq!(test.see("a-leaf").await.device_scope, test.see("z-edge").await.device_scope);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_not_one_of_identities_fails_with_a_reason() {
    let test = TestHub::start_with(|settings| {
        settings.limits.import_export.line_bytes = 1000;
        settings.limits.import_export.blob_bytes = 100_000;
    })
    .await;
    start_worker(&test);
    for (content, reason) in [
        ("not JSON\n".repeat(5), "has no identities"),
        ("not JSON\n".repeat(5000), "none of its first 1000 lines is a JSON object"),
        ("{ not JSON\n".repeat(5000), "has no identities"),
        ("[{\"id\":\"d\"}]".to_owned(), "has no identities"),
        (format!("{{\"id\":\"d\"}}\n{{\"id\":\"{}", "x".repeat(5000)), "line 2 is longer than 1000 bytes"),
        ("{\"id\":\"d\"}\n".repeat(10_000), "at most 100000 can be imported"),
    ] {
        let (job, _) = import_lines(&test, &content).await;
        let failure = job.failure_reason.clone().unwrap_or_default();
        assert!(job.status == JobStatus::Failed && failure.contains(reason), "{job:?}");
    }
    let missing = ImportExportRequest { input_blob_name: Some("missing".to_owned()), ..import(&test).await };
    let job = run(&test, &missing).await;
    assert!(job.failure_reason.unwrap().contains("it does not exist"));
    write(&test, "devices.txt", b"").await;
    let job = run(&test, &import(&test).await).await;
    assert_eq!(
        (job.status, job.items_done),
        (JobStatus::Completed, 0),
        "an empty blob has nothing to import"
    );
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_changes_while_it_is_imported_fails_the_job() {
    let mut test = TestHub::start().await;
    let lines: String = (0..1000).map(|number| format!("{{\"id\":\"d{number}\"}}\n")).collect();
    write(&test, "devices.txt", lines.as_bytes()).await;
    let created = create(&test, &import(&test).await).await.unwrap();
    start_worker(&test);
    while job(&test, &created.job_id).await.items_done < 100 {
        yield_now().await;
    }
    test = test.crash().await;
    write(&test, "devices.txt", lines.as_bytes()).await;
    start_worker(&test);
    let job = ended(&test, &created.job_id).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert!(job.failure_reason.unwrap().contains("was changed"));
}

#[tokio::test(start_paused = true)]
async fn one_job_runs_at_a_time_and_a_cancelled_one_changes_nothing_more() {
    let test = TestHub::start().await;
    let lines: String = (0..2000).map(|number| format!("{{\"id\":\"d{number}\"}}\n")).collect();
    write(&test, "devices.txt", lines.as_bytes()).await;
    let first = create(&test, &import(&test).await).await.unwrap();
    let second = create(&test, &export(&test).await).await.unwrap_err();
    assert_eq!(second.code, ErrorCode::JobQuotaExceeded);
    start_worker(&test);
    while job(&test, &first.job_id).await.items_done < 300 {
        yield_now().await;
    }
    let service = test.service().await;
    let cancelled = service.cancel_import_export_job(&first.job_id).await.unwrap();
    assert_eq!(cancelled.status, JobStatus::Cancelled);
    let devices = test.store.device_counts().await.unwrap().total;
    assert_eq!(devices, cancelled.items_done);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(test.store.device_counts().await.unwrap().total, devices, "nothing more is written");
    assert_eq!(service.cancel_import_export_job(&first.job_id).await.unwrap(), cancelled);
    let job = run(&test, &export(&test).await).await;
    assert_eq!((job.status, job.items_done), (JobStatus::Completed, devices));
    let listed = service.list_import_export_jobs().await.unwrap();
    assert_eq!(listed, [job, cancelled], "newest first");
    let unknown = service.get_import_export_job("x").await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::JobNotFound);
    assert_eq!(service.cancel_import_export_job("x").await.unwrap_err().code, ErrorCode::JobNotFound);
    sleep(Duration::from_secs(31 * 24 * 3600)).await;
    assert!(service.list_import_export_jobs().await.unwrap().is_empty(), "old jobs are removed");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_work_is_refused_at_once() {
    let test = TestHub::start().await;
    let good = import(&test).await;
    let url = good.input_blob_container_uri.clone().unwrap();
    let code = async |request: ImportExportRequest| create(&test, &request).await.unwrap_err().code;
    use ErrorCode::{ArgumentInvalid, BlobContainerValidationError as BadContainer};
    let with_input =
        |uri: &str| ImportExportRequest { input_blob_container_uri: Some(uri.to_owned()), ..good.clone() };
    for (request, expected) in [
        (ImportExportRequest { kind: None, ..good.clone() }, ArgumentInvalid),
        (ImportExportRequest { input_blob_container_uri: None, ..good.clone() }, BadContainer),
        (
            ImportExportRequest { output_blob_container_uri: Some(" ".to_owned()), ..good.clone() },
            BadContainer,
        ),
        (with_input("https://account.blob.core.windows.net/c?sig=x"), BadContainer),
        (with_input("https://127.0.0.1/c?sig=x"), BadContainer),
        (with_input("x"), BadContainer),
        (with_input(url.split('?').next().unwrap()), BadContainer),
        (with_input(&url.replace("sp=rcwdl", "sp=rcw")), BadContainer),
        (with_input(&url.replace("ferrohub-import-export", "ferrohub-uploads")), BadContainer),
        (ImportExportRequest { input_blob_name: Some("../x".to_owned()), ..good.clone() }, ArgumentInvalid),
        (
            ImportExportRequest {
                storage_authentication_type: Some(StorageAuthentication::IdentityBased),
                ..good.clone()
            },
            ErrorCode::ManagedIdentityNotEnabled,
        ),
    ] {
        assert_eq!(code(request.clone()).await, expected, "{request:?}");
    }
    sleep(Duration::from_secs(3601)).await;
    assert_eq!(code(good).await, BadContainer, "the URL has expired");
    let service = test.service().await;
    assert!(service.list_import_export_jobs().await.unwrap().is_empty());
    for seconds in [0, 7 * 24 * 3600 + 1] {
        let request = ContainerUrlRequest { expires_in_seconds: Some(seconds) };
        assert_eq!(service.create_container_url(&request).unwrap_err().code, ArgumentInvalid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_cannot_read_exported_keys_as_a_file() {
    let test = TestHub::start().await;
    test.create("d").await;
    write(&test, "devices.txt", b"keys").await;
    let device = BlobName::new("d", "f").unwrap();
    test.files.put(&device, PutOptions::default(), &mut Body(None)).await.unwrap();
    let service = test.service().await;
    let names: Vec<String> =
        service.list_files(None, None, 10).await.unwrap().iter().map(|blob| blob.name.to_string()).collect();
    assert_eq!(names, ["d/f"]);
    assert!(service.list_files(Some("~"), None, 10).await.unwrap().is_empty());
    assert!(BlobName::parse("~/devices.txt").is_err());
    let blob = BlobName::in_container("devices.txt").unwrap();
    assert!(service.open_file(&blob).await.is_err() && service.delete_file(&blob).await.is_err());
    assert!(test.files.delete(&blob, &Condition::default()).await.is_ok());
}

fn configuration(id: &str, condition: &str) -> Value {
    json!({ "id": id, "schemaVersion": "1.0", "labels": { "of": "test" }, "targetCondition": condition, "priority": 3,
        "content": { "deviceContent": { "properties.desired.fan": 1 } },
        "metrics": { "queries": { "all": "SELECT deviceId FROM devices" } } })
}

fn with_configurations(request: ImportExportRequest) -> ImportExportRequest {
    ImportExportRequest { include_configurations: Some(true), ..request }
}

#[tokio::test(start_paused = true)]
async fn configurations_move_with_the_devices() {
    let old = TestHub::start().await;
    start_worker(&old);
    old.create("d").await;
    let service = old.service().await;
    for (id, condition) in [("b", "tags.site = 'north'"), ("a", "*")] {
        let new = serde_json::from_value(configuration(id, condition)).unwrap();
        let id = ConfigurationId::parse(id).unwrap();
        service.put_configuration(&id, new, None).await.unwrap();
    }
    let exported = run(&old, &with_configurations(export(&old).await)).await;
    assert_eq!((exported.status, exported.items_done), (JobStatus::Completed, 3));
    assert_eq!(exported.configurations_blob_name.as_deref(), Some("configurations.txt"));
    let text = read(&old, "configurations.txt").await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| &line["id"]).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(lines[1]["content"], configuration("b", "")["content"]);
    assert_eq!(lines[1]["targetCondition"], "tags.site = 'north'");

    let new = TestHub::start().await;
    start_worker(&new);
    write(&new, "devices.txt", read(&old, "devices.txt").await.unwrap().as_bytes()).await;
    write(&new, "configurations.txt", text.as_bytes()).await;
    let request = with_configurations(import(&new).await);
    let imported = run(&new, &request).await;
    assert_eq!((imported.status, imported.items_done, imported.items_failed), (JobStatus::Completed, 3, 0));
    let service = new.service().await;
    let all = service.list_configurations(10).await.unwrap();
    for (stored, line) in all.iter().zip(&lines) {
        let stored = serde_json::to_value(stored).unwrap();
        for member in ["id", "schemaVersion", "labels", "content", "targetCondition", "priority", "metrics"] {
            let results = if member == "metrics" { &stored[member]["queries"] } else { &stored[member] };
            let expected = if member == "metrics" { &line[member]["queries"] } else { &line[member] };
            assert_eq!(results, expected, "{member}");
        }
    }
    // Once more: nothing changes, although the etags are those of the other hub.
    let again = run(&new, &request).await;
    assert_eq!((again.items_done, again.items_failed), (3, 0));
    let etags = async || {
        let all = service.list_configurations(10).await.unwrap();
        all.into_iter().map(|configuration| configuration.etag).collect::<Vec<_>>()
    };
    assert_eq!(etags().await, all.iter().map(|configuration| configuration.etag.clone()).collect::<Vec<_>>());
    // Without includeConfigurations, the blob is not looked at.
    write(&new, "configurations.txt", b"{").await;
    assert_eq!(run(&new, &import(&new).await).await.items_failed, 0);
    assert_eq!(read(&new, "importConfigErrors.log").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_cannot_be_imported_leaves_a_line_in_a_log_of_its_own() {
    let test = TestHub::start().await;
    start_worker(&test);
    write(&test, "devices.txt", br#"{"id":"d"}"#).await;
    let line = |change: Value| {
        let mut line = configuration("c", "*");
        line.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        line.to_string()
    };
    let changed = json!({ "priority": 7, "importMode": "CreateOrUpdateIfMatchEtag" });
    for (lines, done, expected) in [
        (format!("{}\n\n", line(json!({}))), 2, json!([])),
        (line(changed), 2, json!([])),
        (line(json!({ "priority": 8, "etag": "*" })), 2, json!([])),
        (
            [
                line(json!({ "priority": 9, "etag": "other" })),
                line(json!({ "content": { "deviceContent": { "properties.desired.fan": 2 } } })),
                line(json!({ "id": "Upper" })),
                line(json!({ "id": "e", "importMode": "delete" })),
                line(json!({ "id": "e", "targetCondition": "nonsense" })),
                "{".to_owned(),
                "[]".to_owned(),
                line(json!({ "id": "good" })),
            ]
            .join("\n"),
            2,
            json!([
                ["c", ErrorCode::PreconditionFailed.number()],
                ["c", ErrorCode::CannotModifyImmutableConfigurationContent.number()],
                ["Upper", ErrorCode::ArgumentInvalid.number()],
                ["e", ErrorCode::IotHubFormatError.number()],
                ["e", ErrorCode::InvalidConfigurationTargetCondition.number()],
                ["", ErrorCode::IotHubFormatError.number()],
                ["", ErrorCode::IotHubFormatError.number()],
            ]),
        ),
    ] {
        write(&test, "configurations.txt", lines.as_bytes()).await;
        let job = run(&test, &with_configurations(import(&test).await)).await;
        assert_eq!((job.status, job.items_done), (JobStatus::Completed, done), "{lines}");
        let log = read(&test, "importConfigErrors.log").await.unwrap_or_default();
        let logged: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| json!([line["configurationId"], line["errorCode"]]))
            .collect();
        assert_eq!((json!(logged), job.items_failed), (expected, logged.len() as u64), "{log}");
    }
    let c = test.service().await.get_configuration(&ConfigurationId::parse("c").unwrap()).await.unwrap();
    assert_eq!(c.priority, Some(8));

    let failed = async |lines: &str| {
        write(&test, "configurations.txt", lines.as_bytes()).await;
        let job = run(&test, &with_configurations(import(&test).await)).await;
        assert_eq!(job.status, JobStatus::Failed);
        job.failure_reason.unwrap()
    };
    assert!(failed(&"\n".repeat(1001)).await.contains("more than 1000 lines"));
    let missing = ImportExportRequest {
        configurations_blob_name: Some("missing.txt".to_owned()),
        ..with_configurations(import(&test).await)
    };
    assert!(run(&test, &missing).await.failure_reason.unwrap().contains("missing.txt"));
}
