//! Jobs that import and export a fleet, as Microsoft's packages and the Azure CLI use them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::Duration;

use ferrohub_acceptance::{Azurite, Device, Hub, NodeClient, Service, Storage, eventually, sas};
use ferrohub_service::{ErrorKind, ImportExportRequest, JobStatus, ServiceClient};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
/// The environment variable with the number of lines of the large import. `cargo xtask test --full` sets it.
const LINES_VARIABLE: &str = "IMPORT_LINES";
/// The number of lines in the gate.
const LINES_IN_GATE: usize = 100_000;

fn keys() -> Value {
    json!({ "type": "sas", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } })
}

fn container_url(hub: &Hub) -> String {
    let printed = hub.command(["files", "container-url", "--output", "json"]).success();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    printed["url"].as_str().unwrap().to_owned()
}

fn owner(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"))
}

/// Creates a job with a plain request.
fn create(service: &Service, token: &str, body: &Value) -> ferrohub_acceptance::HttpResponse {
    service.http("POST", "/jobs/create?api-version=2021-04-12", Some(token), Some(&body.to_string()))
}

fn job(service: &Service, token: &str, id: &str) -> Value {
    let path = format!("/jobs/{id}?api-version=2021-04-12");
    service.http("GET", &path, Some(token), None).json()
}

fn lines() -> usize {
    let number = std::env::var(LINES_VARIABLE).ok();
    number.map_or(LINES_IN_GATE, |number| number.parse().expect("a number of lines"))
}

/// Waits until a job has ended.
fn ended(service: &Service, token: &str, id: &str) -> Value {
    // A slow machine in the debug build takes some milliseconds for a line.
    let limit = Duration::from_secs(100) + Duration::from_millis(10) * lines() as u32;
    eventually("the job ends", limit, || {
        let job = job(service, token, id);
        (!matches!(job["status"].as_str(), Some("enqueued" | "running"))).then_some(job)
    })
}

fn run(service: &Service, token: &str, body: &Value) -> Value {
    let created = create(service, token, body);
    assert_eq!(created.status, 200, "{}", created.body);
    ended(service, token, created.json()["jobId"].as_str().unwrap())
}

fn import_of(url: &str) -> Value {
    json!({ "type": "import", "inputBlobContainerUri": url, "outputBlobContainerUri": url })
}

#[test]
fn a_fleet_moves_from_one_hub_to_another_with_its_keys() {
    let (old, new) = (Hub::start(), Hub::start());
    let (from, to) = (Service::owner(&old), Service::owner(&new));
    from.call("create_edge_device", &json!({ "device_id": "z-edge" })).unwrap();
    let scope = from.call("get_device", &json!({ "device_id": "z-edge" })).unwrap()["deviceScope"].clone();
    from.call("create_leaf_device", &json!({ "device_id": "a-leaf", "device_scope": scope })).unwrap();
    let created = from.call(
        "bulk",
        &json!({ "devices": [
            { "id": "plain", "importMode": "create", "status": "enabled", "authentication": keys(),
              "tags": { "site": "north" }, "properties": { "desired": { "interval": 5 } } },
        ] }),
    );
    assert_eq!(created.unwrap()["isSuccessful"], true);
    let _module = from.create_module("plain", "m");
    let content = r#"{"deviceContent":{"properties.desired.fan":1}}"#;
    let arguments =
        ["configuration", "create", "fans", "--target-condition", "tags.site = 'north'", "--content"];
    old.command([&arguments[..], &[content]].concat()).success();
    let [file, configurations] = ["fleet.txt", "configurations.txt"].map(|name| {
        let path = old.folder().join(name);
        path.to_str().unwrap().to_owned()
    });
    let (file, configurations) = (file.as_str(), configurations.as_str());
    let arguments = ["device", "export", file, "--configurations", configurations, "--output", "json"];
    let exported = old.command(arguments).success();
    let exported: Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(exported["itemsDone"], 7, "with two system modules and a configuration");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "the file contains keys");
    let imported = new.command(["device", "import", file, "--configurations", configurations]);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert!(imported.stderr.contains("imported 7 lines"), "{imported:?}");
    eventually("the configuration works in the new hub", LIMIT, || {
        let twin = to.call("get_twin", &json!({ "device_id": "plain" })).unwrap();
        (twin["properties"]["desired"]["fan"] == 1).then_some(())
    });

    for device in ["z-edge", "a-leaf", "plain"] {
        let [old, new] = [&from, &to].map(|hub| {
            let device = hub.call("get_device", &json!({ "device_id": device })).unwrap();
            json!([device["authentication"], device["status"], device["capabilities"]])
        });
        assert_eq!(old, new, "{device}");
        let [old, new] = [&from, &to].map(|hub| {
            let twin = hub.call("get_twin", &json!({ "device_id": device })).unwrap();
            json!([twin["tags"], twin["properties"]["desired"]["interval"]])
        });
        assert_eq!(old, new, "{device}");
    }
    for module in [("plain", "m"), ("z-edge", "$edgeAgent"), ("z-edge", "$edgeHub")] {
        let arguments = json!({ "device_id": module.0, "module_id": module.1 });
        let [old, new] =
            [&from, &to].map(|hub| hub.call("get_module", &arguments).unwrap()["authentication"].clone());
        assert_eq!(old, new, "{module:?}");
    }
    let edge = to.call("get_device", &json!({ "device_id": "z-edge" })).unwrap();
    let leaf = to.call("get_device", &json!({ "device_id": "a-leaf" })).unwrap();
    assert_eq!(
        (&leaf["deviceScope"], &leaf["parentScopes"][0]),
        (&edge["deviceScope"], &edge["deviceScope"])
    );
    assert_ne!(edge["deviceScope"], scope, "the generation is another one");
    let device = Device::with_connection_string(&format!(
        "HostName={};DeviceId=plain;SharedAccessKey={KEY}",
        new.name()
    ));
    device.start(&new).connect().unwrap();

    // Nothing with keys remains in a hub.
    let storage = Storage::start(&old);
    let names = storage.call("list_names", &json!({ "container_url": container_url(&old) })).unwrap();
    assert_eq!(names.as_array().unwrap().concat_len(), 0, "{names}");

    let again = new.command(["device", "import", file, "--output", "json"]).success();
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["itemsFailed"], 0);
    fs::write(file, "{\"id\":\"plain\",\"importMode\":\"create\"}\n{\"id\":\"other\"}\n").unwrap();
    let failed = new.command(["device", "import", file]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stdout.contains("409001") && failed.stderr.contains("1 of 2 lines failed"), "{failed:?}");
    fs::write(configurations, "{\"id\":\"Upper\"}\n").unwrap();
    let failed = new.command(["device", "import", file, "--configurations", configurations]);
    assert!(failed.stdout.contains("Upper") && failed.stderr.contains("2 of 3 lines failed"), "{failed:?}");
    fs::write(file, "nothing\n").unwrap();
    let failed = new.command(["device", "import", file]);
    assert!(failed.code == 1 && failed.stderr.contains("has no identities"), "{failed:?}");
}

/// Counts the elements of lists in a list.
trait ConcatLen {
    fn concat_len(&self) -> usize;
}

impl ConcatLen for Vec<Value> {
    fn concat_len(&self) -> usize {
        self.iter().map(|list| list.as_array().map_or(0, Vec::len)).sum()
    }
}

#[test]
fn a_python_back_end_manages_jobs() {
    let hub = Hub::start();
    let (service, storage) = (Service::owner(&hub), Storage::start(&hub));
    let url = container_url(&hub);
    let lines =
        "{\"id\":\"a\"}\n{\"id\":\"a\",\"moduleId\":\"m\"}\n{\"id\":\"a\",\"importMode\":\"create\"}\n";
    storage
        .call(
            "put_text",
            &json!({ "container_url": url, "name": "devices.txt", "text": lines, "max_block": 16 }),
        )
        .unwrap();
    let created = service
        .call(
            "create_job",
            &json!({ "type": "import", "input_blob_container_uri": url, "output_blob_container_uri": url }),
        )
        .unwrap();
    let base = url.split('?').next().unwrap();
    assert_eq!(
        (&created["type"], &created["status"], &created["progress"]),
        (&json!("import"), &json!("enqueued"), &json!(0))
    );
    assert_eq!(
        (&created["inputBlobContainerUri"], &created["inputBlobName"]),
        (&json!(base), &json!("devices.txt"))
    );
    assert!(created["startTimeUtc"].is_string() && created.get("endTimeUtc").is_none(), "{created}");
    let id = created["jobId"].as_str().unwrap();
    let done = ended(&service, &owner(&hub), id);
    assert_eq!((&done["itemsDone"], &done["itemsFailed"]), (&json!(2), &json!(1)));
    let done = service.call("get_job", &json!({ "job_id": id })).unwrap();
    assert_eq!(
        (&done["status"], &done["progress"], &done["jobId"]),
        (&json!("completed"), &json!(100), &json!(id))
    );
    assert!(done["endTimeUtc"].is_string(), "{done}");
    let errors =
        storage.call("get_text", &json!({ "container_url": url, "name": "importErrors.log" })).unwrap();
    let error: Value = serde_json::from_str(errors.as_str().unwrap().trim()).unwrap();
    assert_eq!((&error["deviceId"], &error["errorCode"]), (&json!("a"), &json!(409_001)));
    let listed = service.call("list_jobs", &json!({})).unwrap();
    assert_eq!(listed, json!([done]));
    let cancelled = service.call("cancel_job", &json!({ "job_id": id })).unwrap();
    assert_eq!(cancelled["status"], "completed", "an ended job stays as it is");
    assert_eq!(service.refusal("get_job", &json!({ "job_id": "x" })), (404, "JobNotFound".to_owned()));

    let new = json!({ "id": "c", "schemaVersion": "1.0", "targetCondition": "*", "priority": 1,
        "content": { "deviceContent": { "properties.desired.fan": 1 } }, "importMode": "createOrUpdateIfMatchETag" });
    let blob = json!({ "container_url": url, "name": "devices.txt", "text": "{\"id\":\"a\"}\n" });
    storage.call("put_text", &blob).unwrap();
    let blob = json!({ "container_url": url, "name": "some.txt", "text": format!("{new}\n") });
    storage.call("put_text", &blob).unwrap();
    let import = json!({ "type": "import", "input_blob_container_uri": url, "output_blob_container_uri": url,
        "include_configurations": true, "configurations_blob_name": "some.txt" });
    let created = service.call("create_job", &import).unwrap();
    assert_eq!(
        (&created["includeConfigurations"], &created["configurationsBlobName"]),
        (&json!(true), &json!("some.txt"))
    );
    let done = ended(&service, &owner(&hub), created["jobId"].as_str().unwrap());
    assert_eq!((&done["itemsDone"], &done["itemsFailed"]), (&json!(2), &json!(0)));

    let export = json!({ "type": "export", "output_blob_container_uri": url, "output_blob_name": "out.txt",
        "exclude_keys_in_export": true, "include_configurations": true });
    let created = service.call("create_job", &export).unwrap();
    assert_eq!(created["excludeKeysInExport"], true);
    let done = ended(&service, &owner(&hub), created["jobId"].as_str().unwrap());
    assert_eq!((&done["status"], &done["itemsDone"]), (&json!("completed"), &json!(3)));
    let text =
        storage.call("get_text", &json!({ "container_url": url, "name": "configurations.txt" })).unwrap();
    let exported: Value = serde_json::from_str(text.as_str().unwrap().trim()).unwrap();
    assert_eq!((&exported["id"], &exported["content"]), (&json!("c"), &new["content"]));
    let text = storage.call("get_text", &json!({ "container_url": url, "name": "out.txt" })).unwrap();
    assert!(!text.as_str().unwrap().contains("primaryKey\":\""), "{text}");
    let names = storage.call("list_names", &json!({ "container_url": url, "page": 2 })).unwrap();
    assert_eq!(
        names,
        json!([["configurations.txt", "devices.txt"], ["importErrors.log", "out.txt"], ["some.txt"]])
    );
    let names = storage.call("list_names", &json!({ "container_url": url, "prefix": "imp" })).unwrap();
    assert_eq!(names.as_array().unwrap().concat_len(), 1, "{names}");
}

#[test]
fn a_node_back_end_manages_jobs() {
    let hub = Hub::start();
    let service = NodeClient::service(&hub);
    let (url, storage) = (container_url(&hub), Storage::start(&hub));
    let wait = |job: &Value| {
        let id = job["jobId"].clone();
        eventually("the job ends", LIMIT, || {
            let job = service.ok("get_import_export_job", &json!({ "job_id": id }));
            (job["status"] != "enqueued" && job["status"] != "running").then_some(job)
        })
    };
    service.ok("create_device", &json!({ "device": { "deviceId": "a" } }));
    let created = service.ok("export_devices", &json!({ "container": url, "exclude_keys": false }));
    assert_eq!((&created["type"], &created["status"]), (&json!("export"), &json!("enqueued")));
    let exported = wait(&created);
    assert_eq!((&exported["status"], &exported["excludeKeysInExport"]), (&json!("completed"), &json!(false)));
    let text = storage.call("get_text", &json!({ "container_url": url, "name": "devices.txt" })).unwrap();
    assert!(text.as_str().unwrap().contains("\"primaryKey\":\""), "{text}");
    service.ok("delete_device", &json!({ "device_id": "a" }));
    let imported = wait(&service.ok("import_devices", &json!({ "input": url, "output": url })));
    assert_eq!((&imported["type"], &imported["itemsDone"]), (&json!("import"), &json!(1)));
    service.ok("get_device", &json!({ "device_id": "a" }));
    assert_eq!(service.ok("list_import_export_jobs", &json!({})), json!([imported, exported]));
    assert_eq!(service.ok("cancel_import_export_job", &json!({ "job_id": imported["jobId"] })), imported);
}

#[test]
fn the_azure_cli_exports_and_imports() {
    let hub = Hub::start();
    let (service, token, url) = (Service::owner(&hub), owner(&hub), container_url(&hub));
    let storage = Storage::start(&hub);
    let _device = service.create_device("d1");
    let send = |verb: &str, path: &str, body: Option<&str>| {
        let headers = json!({
            "Authorization": token, "Content-Type": "application/json; charset=utf-8", "accept-language": "en-US",
            "User-Agent": "azext_iot/0.25.0 msrest_azure/0.6.4 AZURECLI/2.60.0", "Accept": "application/json",
        });
        service.http_with(verb, &format!("{path}?api-version=2021-04-12"), headers, body)
    };
    let export = format!(
        r#"{{"type": "export", "outputBlobContainerUri": "{url}", "excludeKeysInExport": true, "storageAuthenticationType": "keyBased"}}"#
    );
    let created = send("POST", "/jobs/create", Some(&export));
    assert_eq!(created.status, 200, "{}", created.body);
    let id = created.json()["jobId"].as_str().unwrap().to_owned();
    assert_eq!(ended(&service, &token, &id)["status"], "completed");
    let text = storage.call("get_text", &json!({ "container_url": url, "name": "devices.txt" })).unwrap();
    let line: Value = serde_json::from_str(text.as_str().unwrap().trim()).unwrap();
    assert_eq!(
        line["authentication"],
        json!({ "symmetricKey": { "primaryKey": null, "secondaryKey": null },
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null }, "type": "sas" })
    );
    let members: Vec<&str> = text
        .as_str()
        .unwrap()
        .split('"')
        .filter(|word| {
            [
                "id",
                "eTag",
                "status",
                "statusReason",
                "authentication",
                "twinETag",
                "tags",
                "properties",
                "capabilities",
            ]
            .contains(word)
        })
        .collect();
    assert_eq!(
        members,
        [
            "id",
            "eTag",
            "status",
            "statusReason",
            "authentication",
            "twinETag",
            "tags",
            "properties",
            "capabilities"
        ],
        "the order of Azure"
    );
    let import = format!(
        r#"{{"type": "import", "inputBlobContainerUri": "{url}", "outputBlobContainerUri": "{url}", "storageAuthenticationType": "keyBased"}}"#
    );
    let created = send("POST", "/jobs/create", Some(&import)).json();
    let done = ended(&service, &token, created["jobId"].as_str().unwrap());
    assert_eq!((&done["status"], &done["itemsDone"]), (&json!("completed"), &json!(1)));
    let listed = send("GET", "/jobs", None).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let unknown = send("GET", &format!("/jobs/v2/{id}"), None).json();
    assert_eq!(unknown, json!({ "jobId": id, "type": "export", "status": "unknown" }), "it asks here first");
    let shown = send("GET", &format!("/jobs/{id}"), None).json();
    assert_eq!((&shown["jobId"], &shown["type"]), (&json!(id), &json!("export")));
    let cancelled = send("DELETE", &format!("/jobs/{id}"), None);
    assert_eq!((cancelled.status, cancelled.json()), (200, shown));
    let identity = import.replace("keyBased", "identityBased");
    let refused = send("POST", "/jobs/create", Some(&identity));
    assert_eq!((refused.status, refused.error_code()), (400, "ManagedIdentityNotEnabled"));
}

#[test]
fn jobs_need_rights_and_a_container_that_the_hub_may_use() {
    let hub = Hub::start();
    let (service, url) = (Service::owner(&hub), container_url(&hub));
    let reader = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    let body = import_of(&url);
    assert_eq!(create(&service, &reader, &body).status, 401);
    for (verb, path) in [("GET", "/jobs"), ("GET", "/jobs/x"), ("DELETE", "/jobs/x")] {
        assert_eq!(service.http(verb, path, Some(&reader), None).status, 401, "{verb} {path}");
    }
    let path = "/ferrohub/import-export/container-url";
    assert_eq!(service.http("POST", path, Some(&reader), Some("{}")).status, 401);
    let token = owner(&hub);
    for uri in [
        "https://account.blob.core.windows.net/c?sv=1&sig=x",
        "http://169.254.169.254/latest/meta-data?sig=x",
        "https://127.0.0.1/c?sig=x",
        &url.replace("sp=rcwdl", "sp=rcwdlx"),
        "",
    ] {
        let refused = create(&service, &token, &import_of(uri));
        assert_eq!((refused.status, refused.error_code()), (400, "BlobContainerValidationError"), "{uri}");
        assert!(!refused.body.contains("sig="), "{}", refused.body);
    }
    // The container is not open to anybody, nor is a device's file with its signature.
    let base = url.split('?').next().unwrap().replace(&hub.url(), "");
    let query = url.split_once('?').unwrap().1;
    for target in [
        format!("{base}/devices.txt"),
        format!("{base}?restype=container&comp=list"),
        format!("/ferrohub-uploads/d/f?{query}"),
        format!("{base}/devices.txt?{}", query.replace("sp=rcwdl", "sp=rcwdl&sp=r")),
    ] {
        let refused = service.http("GET", &target, None, None);
        assert!(matches!(refused.status, 401 | 403), "{target}: {} {}", refused.status, refused.body);
    }
    assert!(!hub.log().contains("sig="), "the log contains no signature");
}

#[test]
fn a_killed_hub_continues_an_import_and_applies_no_line_twice() {
    let mut hub = Hub::start();
    let (service, storage, url, token) =
        (Service::owner(&hub), Storage::start(&hub), container_url(&hub), owner(&hub));
    let lines = lines();
    // A mode that fails for a line that is applied again.
    let blob = json!({ "container_url": url, "name": "devices.txt", "count": lines, "mode": "create" });
    storage.call("put_lines", &blob).unwrap();
    let created = create(&service, &token, &import_of(&url));
    assert_eq!(created.status, 200, "{}", created.body);
    let id = created.json()["jobId"].as_str().unwrap().to_owned();
    let second = create(&service, &token, &import_of(&url));
    assert_eq!((second.status, second.error_code()), (403, "JobQuotaExceeded"));
    for part in [10, 25, 50] {
        let limit = LIMIT + Duration::from_millis(10) * lines as u32;
        eventually("a part is imported", limit, || {
            let job = job(&service, &token, &id);
            assert_eq!(job["failureReason"], Value::Null);
            (job["progress"].as_u64().unwrap() >= part).then_some(())
        });
        hub.kill();
        hub.start_again();
    }
    let done = ended(&service, &token, &id);
    assert_eq!(
        (&done["status"], &done["itemsDone"], &done["itemsFailed"]),
        (&json!("completed"), &json!(lines), &json!(0))
    );
    let counts = service.call("get_device_registry_statistics", &json!({})).unwrap();
    assert_eq!(counts["totalDeviceCount"], lines);
    assert!(hub.resident_kib() < 1024 * 1024, "{} KiB", hub.resident_kib());
    assert_eq!(hub.metric("ferrohub_import_export_jobs", "completed"), 1.0);
    let log = hub.log();
    assert!(log.contains("import goes on") && !log.contains("identity created"), "{log}");
}

#[test]
fn jobs_use_an_allowed_storage_account() {
    let azurite = Azurite::start();
    let account = azurite.connection_string();
    let host = account.split("BlobEndpoint=").nth(1).unwrap().rsplit_once('/').unwrap().0;
    let hub = Hub::builder().config(&format!("[files]\nimport_hosts = [\"{host}\"]")).start();
    let (service, storage, token) = (Service::owner(&hub), Storage::start(&hub), owner(&hub));
    storage.call("create_container", &json!({ "connection_string": account, "name": "fleet" })).unwrap();
    let sign = |permission: &str| {
        let arguments = json!({ "connection_string": account, "name": "fleet", "permission": permission });
        storage.call("sign_container", &arguments).unwrap().as_str().unwrap().to_owned()
    };
    let url = sign("rwl");
    // More than one block.
    let lines: String = (0..3000)
        .map(|number| {
            let text = "x".repeat(1500);
            format!("{}\n", json!({ "id": format!("d{number}"), "tags": { "text": text } }))
        })
        .collect();
    storage.call("put_text", &json!({ "container_url": url, "name": "devices.txt", "text": lines })).unwrap();
    let done = run(&service, &token, &import_of(&url));
    assert_eq!((&done["status"], &done["itemsDone"]), (&json!("completed"), &json!(3000)), "{done}");
    let export =
        json!({ "type": "export", "outputBlobContainerUri": url, "outputBlobName": "folder/out 1.txt" });
    let done = run(&service, &token, &export);
    assert_eq!((&done["status"], &done["itemsDone"]), (&json!("completed"), &json!(3000)), "{done}");
    let out = json!({ "container_url": url, "name": "folder/out 1.txt" });
    let text = storage.call("get_text", &out).unwrap();
    assert_eq!(text.as_str().unwrap().lines().count(), 3000);
    assert!(text.as_str().unwrap().len() > 4 * 1024 * 1024);
    storage.call("put_text", &json!({ "container_url": url, "name": "devices.txt", "text": "{\"id\":\"d0\",\"importMode\":\"create\"}" })).unwrap();
    assert_eq!(run(&service, &token, &import_of(&url))["itemsFailed"], 1);
    let errors =
        storage.call("get_text", &json!({ "container_url": url, "name": "importErrors.log" })).unwrap();
    assert!(errors.as_str().unwrap().contains("409001"), "{errors}");

    let unreadable = sign("w");
    let mut body = import_of(&url);
    body["inputBlobContainerUri"] = unreadable.into();
    let refused = run(&service, &token, &body);
    let reason = refused["failureReason"].as_str().unwrap();
    assert!(refused["status"] == "failed" && reason.contains("refused the signature"), "{refused}");
    let mut body = import_of(&url);
    body["inputBlobName"] = "missing.txt".into();
    let missing = run(&service, &token, &body);
    assert!(missing["failureReason"].as_str().unwrap().contains("does not exist"), "{missing}");
    assert!(!hub.log().contains("sig="), "the log contains no signature");
}

#[tokio::test]
async fn the_rust_sdk_waits_for_jobs() {
    let hub = Hub::start();
    let client = ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_CONNECTION_STRING"))
        .unwrap()
        .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        .build()
        .unwrap();
    let container = client.create_container_url(Some(Duration::from_secs(60))).await.unwrap();
    let lines = b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n";
    let mut sent = 0;
    container.put_blob("devices.txt", &lines[..], |bytes| sent = bytes).await.unwrap();
    assert_eq!(sent, lines.len() as u64);
    let request = ImportExportRequest::import(container.url(), container.url());
    let job = client.create_import_export_job(&request).await.unwrap();
    let id = job.id().to_owned();
    let mut states = Vec::new();
    let done = job.wait(|job| states.push(job.status)).await.unwrap();
    assert_eq!(
        (done.status, done.items_done, states.last()),
        (JobStatus::Completed, 2, Some(&JobStatus::Completed))
    );
    assert_eq!(client.get_import_export_job(&id).await.unwrap(), done);
    let job = client.create_import_export_job(&ImportExportRequest::export(container.url())).await.unwrap();
    let exported = job.wait(|_| ()).await.unwrap();
    assert_eq!(client.list_import_export_jobs().await.unwrap(), [exported, done]);
    let mut content = container.open_blob("devices.txt").await.unwrap();
    let mut text = Vec::new();
    while let Some(bytes) = content.next().await {
        text.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2);
    container.delete_blob("devices.txt").await.unwrap();
    assert_eq!(container.delete_blob("devices.txt").await.unwrap_err().kind(), ErrorKind::NotFound);
    let request = ImportExportRequest::import(container.url(), container.url());
    let missing = client.create_import_export_job(&request).await.unwrap().wait(|_| ()).await.unwrap_err();
    assert!(
        missing.kind() == ErrorKind::BadRequest && missing.message().contains("does not exist"),
        "{missing}"
    );
    let other = ImportExportRequest::export("https://storage.example/c?sig=x");
    let refused = client.create_import_export_job(&other).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.code_name()),
        (ErrorKind::BadRequest, Some("BlobContainerValidationError"))
    );
    assert_eq!(client.cancel_import_export_job("x").await.unwrap_err().kind(), ErrorKind::NotFound);
    let job = client.create_import_export_job(&ImportExportRequest::export(container.url())).await.unwrap();
    assert!(!job.cancel().await.unwrap().status.is_active());
}
