//! The requests of the Azure CLI, byte for byte: recorded from azure-cli 2.70.0 with the extension azure-iot 0.25.0 (commit
//! a42f57ae), where it gives them to TLS. Only the host, the token, the ids and the URL of the container are those of the
//! test. What is checked is what the extension reads in the responses.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, RawResponse, Service, eventually, sas};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// Sends the requests of the Azure CLI.
struct AzureCli<'a> {
    hub: &'a Hub,
    token: String,
}

impl<'a> AzureCli<'a> {
    fn new(hub: &'a Hub) -> Self {
        Self { hub, token: sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")) }
    }

    /// Sends a request. `special` are the headers that depend on the command, `body` is none for a GET.
    #[track_caller]
    fn send(&self, line: &str, special: &str, body: Option<&str>) -> RawResponse {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
        let request = format!(
            "{line} HTTP/1.1\r\n\
             Host: {}\r\n\
             User-Agent: python/3.11.7 (Linux-6.1.0-x86_64-with-glibc2.36) msrest/0.7.1 \
             msrest_azure/0.6.4.post1 iothubgatewayserviceapis/2024-03-31 Azure-SDK-For-Python \
             IoTPlatformCliExtension/0.25.0\r\n\
             Accept-Encoding: gzip, deflate\r\n\
             Accept: application/json\r\n\
             Connection: keep-alive\r\n\
             Authorization: {}\r\n\
             Content-Type: application/json; charset=utf-8\r\n\
             x-ms-client-request-id: f6659418-eaa0-11f1-aca7-9bf30e38165f\r\n\
             {special}accept-language: en-US\r\n\
             {length}\r\n{}",
            self.hub.name(),
            self.token,
            body.unwrap_or_default()
        );
        RawResponse::to(self.hub, &request)
    }

    /// Sends a query, and reads its page and its continuation token.
    #[track_caller]
    fn query(&self, special: &str, query: &str) -> (Value, Option<String>) {
        let special = format!("Cache-Control: no-cache, must-revalidate\r\n{special}");
        let body = format!("{{\"query\": \"{query}\"}}");
        let response = self.send("POST /devices/query?api-version=2024-03-31", &special, Some(&body));
        assert_eq!(response.status, 200, "{response:?}");
        let token = response.header("x-ms-continuation").map(str::to_owned);
        (response.json(), token)
    }

    #[track_caller]
    fn renew(&self, body: &str) -> Value {
        let line = "POST /devices/keys/regenerate?api-version=2024-03-31";
        let response = self.send(line, "", Some(body));
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// Reads a device or module.
    #[track_caller]
    fn keys(&self, path: &str) -> Value {
        let response = self.send(&format!("GET {path}?api-version=2024-03-31"), "", None);
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["authentication"]["symmetricKey"].clone()
    }
}

fn ids(page: &Value) -> Vec<&str> {
    page.as_array().unwrap().iter().map(|row| row["deviceId"].as_str().unwrap()).collect()
}

/// `az iot hub query`, `az iot hub device-identity list`, `az iot hub device-twin list`.
#[test]
fn queries_and_lists() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let items: Vec<Value> =
        (0..100).map(|n| json!({ "id": format!("n{n:03}"), "importMode": "create" })).collect();
    service.call("bulk", &json!({ "devices": items })).unwrap();
    service.call("create_edge_device", &json!({ "device_id": "edge" })).unwrap();
    let az = AzureCli::new(&hub);
    // az iot hub query -q "select deviceId from devices"
    let query = "select deviceId from devices";
    let (first, token) = az.query("", query);
    assert_eq!((first.as_array().unwrap().len(), &first[0]), (100, &json!({ "deviceId": "edge" })));
    let (second, end) = az.query(&format!("x-ms-continuation: {}\r\n", token.unwrap()), query);
    assert_eq!((ids(&second), end), (vec!["n099"], None));
    // az iot hub query -q "SELECT * FROM devices" --top 1
    let (twins, _) = az.query("x-ms-max-item-count: 1\r\n", "SELECT * FROM devices");
    assert_eq!(ids(&twins), ["edge"]);
    // az iot hub device-identity list, az iot hub device-twin list
    let (twins, end) = az.query("x-ms-max-item-count: 1000\r\n", "select * from devices");
    assert_eq!((twins.as_array().unwrap().len(), end), (101, None));
    for member in
        ["authenticationType", "capabilities", "connectionState", "deviceEtag", "properties", "tags"]
    {
        assert!(!twins[0][member].is_null(), "{member}");
    }
    // az iot hub device-identity list --edge-enabled
    let query = "select * from devices where capabilities.iotEdge = true";
    let (twins, _) = az.query("x-ms-max-item-count: 1000\r\n", query);
    assert_eq!(ids(&twins), ["edge"]);
}

/// `az iot hub device-identity export` and `import`, `az iot hub job list`, `show` and `cancel`.
#[test]
fn export_and_import() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("d1");
    let az = AzureCli::new(&hub);
    let printed = hub.command(["files", "container-url", "--output", "json"]).success();
    let url = serde_json::from_str::<Value>(&printed).unwrap()["url"].as_str().unwrap().to_owned();
    let create = |body: &str| {
        let created = az.send("POST /jobs/create?api-version=2024-03-31", "", Some(body));
        assert_eq!(created.status, 200, "{created:?}");
        let job = created.json();
        let id = job["jobId"].as_str().unwrap().to_owned();
        let path = format!("GET /jobs/{id}?api-version=2024-03-31");
        eventually("the job ends", LIMIT, || {
            let job = az.send(&path, "", None).json();
            (job["status"] == "completed").then_some(())
        });
        (id, job)
    };
    // az iot hub device-identity export --bcu URL --ik true
    let (exported, job) = create(&format!(
        "{{\"type\": \"export\", \"outputBlobContainerUri\": \"{url}\", \"excludeKeysInExport\": false, \
         \"storageAuthenticationType\": \"keyBased\"}}"
    ));
    assert_eq!((&job["type"], &job["excludeKeysInExport"]), (&json!("export"), &json!(false)));
    // az iot hub device-identity import --ibcu URL --obcu URL
    let (imported, job) = create(&format!(
        "{{\"type\": \"import\", \"inputBlobContainerUri\": \"{url}\", \"outputBlobContainerUri\": \"{url}\", \
         \"storageAuthenticationType\": \"keyBased\"}}"
    ));
    assert_eq!(job["type"], "import");
    // az iot hub job list: jobs on many devices, and then these.
    let no_cache = "Cache-Control: no-cache, must-revalidate\r\n";
    let scheduled = az.send("GET /jobs/v2/query?api-version=2024-03-31", no_cache, None);
    assert_eq!(scheduled.json(), json!([]));
    let jobs = az.send("GET /jobs?api-version=2024-03-31", "", None).json();
    let mut found: Vec<_> = jobs.as_array().unwrap().iter().map(|job| job["jobId"].clone()).collect();
    found.sort_by_key(Value::to_string);
    let mut expected = [json!(exported), json!(imported)];
    expected.sort_by_key(Value::to_string);
    assert_eq!(found, expected);
    // az iot hub job show, cancel: first as a job on many devices, whose status is then unknown.
    let shown = az.send(&format!("GET /jobs/v2/{exported}?api-version=2024-03-31"), "", None);
    assert_eq!((shown.status, &shown.json()["status"]), (200, &json!("unknown")));
    let cancelled = az.send(&format!("DELETE /jobs/{exported}?api-version=2024-03-31"), "", Some(""));
    assert_eq!((cancelled.status, &cancelled.json()["jobId"]), (200, &json!(exported)));
}

/// `az iot hub digital-twin show`, `update`, `invoke-command`.
#[test]
fn digital_twins() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("d1")).listen(&hub);
    let az = AzureCli::new(&hub);
    let show = || az.send("GET /digitaltwins/d1?api-version=2024-03-31", "", None).json();
    assert_eq!(show()["$dtId"], "d1");
    let update =
        |body: &str| az.send("PATCH /digitaltwins/d1?api-version=2024-03-31", "If-Match: *\r\n", Some(body));
    // --json-patch '{"op":"add","path":"/targetTemperature","value":54}'
    let one = r#"[{"op": "add", "path": "/targetTemperature", "value": 54}]"#;
    let changed = update(one);
    assert_eq!((changed.status, changed.body.as_str()), (202, ""));
    let several = "[{\"op\": \"add\", \"path\": \"/thermostat1\", \"value\": {\"$metadata\": {}, \
        \"targetTemperature\": 1}}, {\"op\": \"replace\", \"path\": \"/targetTemperature\", \"value\": 55}]";
    assert_eq!(update(several).status, 202);
    let metadata = &show()["$metadata"];
    assert_eq!(metadata["targetTemperature"]["desiredValue"], 55);
    let unknown = r#"[{"op": "add", "path": "/thermostat2/targetTemperature", "value": 54}]"#;
    let refused = update(unknown);
    assert_eq!((refused.status, refused.error_name()), (400, "InvalidDigitalTwinPatchPath"));
    // The extension shows the text of the error.
    assert!(refused.json()["Message"].as_str().unwrap().contains("thermostat2"), "{refused:?}");
    // --cn echo --payload '{"a":1}'
    let line = "POST /digitaltwins/d1/commands/echo?api-version=2024-03-31";
    let answer = az.send(line, "", Some("{\"a\": 1}"));
    assert_eq!((answer.status, answer.header("x-ms-command-statuscode")), (200, Some("200")));
    assert_eq!(answer.json(), json!({ "a": 1 }));
    // --cn getMaxMinReport --payload '"2026-01-01"' --component-path thermostat1 --cto 1 --rto 5
    let line = "POST /digitaltwins/d1/components/thermostat1/commands/getMaxMinReport\
        ?api-version=2024-03-31&connectTimeoutInSeconds=1&responseTimeoutInSeconds=5";
    let answer = az.send(line, "", Some("\"2026-01-01\""));
    assert_eq!((answer.status, answer.header("x-ms-command-statuscode")), (200, Some("404")));
    assert!(answer.json().is_object(), "the extension reads the body as JSON in every case");
    let _ = device.request_of("thermostat1*getMaxMinReport");
}

/// `az iot hub device-identity renew-key`, `az iot hub module-identity renew-key`.
#[test]
fn renew_key() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let old = service.create_device("d1");
    let _ = (service.create_device("d2"), service.create_module("d1", "m1"));
    let az = AzureCli::new(&hub);
    // -d d1 --kt primary
    let renewed = az.renew(r#"{"policyKey": "primaryKey", "devices": [{"id": "d1"}]}"#);
    let keys = az.keys("/devices/d1");
    let expected = json!([{ "id": "d1", "primaryKey": keys["primaryKey"] }]);
    assert_eq!(
        (&renewed["policyKey"], &renewed["errors"], &renewed["rotatedKeys"]),
        (&json!("primaryKey"), &json!([]), &expected)
    );
    assert_ne!(keys["primaryKey"], old.primary_key);
    assert_eq!(keys["secondaryKey"], old.secondary_key);
    // -d d1 d2 --kt both
    let renewed = az.renew(r#"{"policyKey": "both", "devices": [{"id": "d1"}, {"id": "d2"}]}"#);
    for (device, rotated) in ["d1", "d2"].iter().zip(renewed["rotatedKeys"].as_array().unwrap()) {
        let keys = az.keys(&format!("/devices/{device}"));
        assert_eq!(rotated["id"], *device);
        for key in ["primaryKey", "secondaryKey"] {
            assert_eq!(rotated[key], keys[key], "{device} {key}");
        }
    }
    // module-identity renew-key -d d1 -m m1 --kt secondary
    let body = r#"{"policyKey": "secondaryKey", "devices": [{"id": "d1", "moduleId": "m1"}]}"#;
    let renewed = az.renew(body);
    let keys = az.keys("/devices/d1/modules/m1");
    let expected = json!([{ "id": "d1", "moduleId": "m1", "secondaryKey": keys["secondaryKey"] }]);
    assert_eq!(renewed["rotatedKeys"], expected);
    // --kt swap: the extension reads the device, and writes it back with all members that it has read.
    let read = az.send("GET /devices/d1?api-version=2024-03-31", "", None).json();
    let text = |path: &str| read.pointer(path).unwrap().as_str().unwrap().to_owned();
    let body = format!(
        "{{\"deviceId\": \"d1\", \"generationId\": \"{}\", \"etag\": \"{}\", \"connectionState\": \
         \"Disconnected\", \"status\": \"enabled\", \"connectionStateUpdatedTime\": \
         \"0001-01-01T00:00:00.000Z\", \"statusUpdatedTime\": \"0001-01-01T00:00:00.000Z\", \
         \"lastActivityTime\": \"0001-01-01T00:00:00.000Z\", \"cloudToDeviceMessageCount\": 0, \
         \"authentication\": {{\"symmetricKey\": {{\"primaryKey\": \"{}\", \"secondaryKey\": \"{}\"}}, \
         \"type\": \"sas\"}}, \"capabilities\": {{\"iotEdge\": false}}, \"parentScopes\": []}}",
        text("/generationId"),
        text("/etag"),
        text("/authentication/symmetricKey/secondaryKey"),
        text("/authentication/symmetricKey/primaryKey"),
    );
    let line = "PUT /devices/d1?api-version=2024-03-31";
    let swapped = az.send(line, "If-Match: \"*\"\r\n", Some(&body));
    assert_eq!(swapped.status, 200, "{swapped:?}");
    let keys = az.keys("/devices/d1");
    assert_eq!(keys["primaryKey"], read["authentication"]["symmetricKey"]["secondaryKey"]);
    assert_eq!(keys["secondaryKey"], read["authentication"]["symmetricKey"]["primaryKey"]);
}
