//! Jobs with Microsoft's packages, and with what the Azure command line sends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, HttpResponse, Hub, NodeClient, Service, eventually, sas};
use ferrohub_service::{
    DeviceJobStatus, ErrorKind, MethodInvocation, NewJob, ScheduledJobStatus as JobStatus, ServiceClient,
    Timestamp,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const VERSION: &str = "api-version=2021-04-12";

fn twin_job(id: &str, condition: &str) -> Value {
    json!({ "jobId": id, "type": "scheduleUpdateTwin", "queryCondition": condition,
        "updateTwin": { "etag": "*", "tags": { "floor": 7 }, "properties": { "desired": { "fan": 1 } } },
        "maxExecutionTimeInSeconds": 300 })
}

fn method_job(id: &str, condition: &str) -> Value {
    json!({ "jobId": id, "type": "scheduleDeviceMethod", "queryCondition": condition,
        "cloudToDeviceMethod": { "methodName": "echo", "payload": { "a": 1 }, "responseTimeoutInSeconds": 30 },
        "maxExecutionTimeInSeconds": 300 })
}

/// Waits until a job has ended, with the Python package.
#[track_caller]
fn ended(service: &Service, id: &str) -> Value {
    eventually("the job ends", LIMIT, || {
        let job = service.call("get_scheduled_job", &json!({ "job_id": id })).unwrap();
        let counts = &job["deviceJobStatistics"];
        let count = |name: &str| counts[name].as_u64().unwrap();
        let sum =
            count("failedCount") + count("succeededCount") + count("runningCount") + count("pendingCount");
        assert_eq!(count("deviceCount"), sum, "{counts}");
        matches!(job["status"].as_str(), Some("completed" | "failed" | "cancelled")).then_some(job)
    })
}

fn create(service: &Service, job: &Value) -> Value {
    service.call("create_scheduled_job", &json!({ "job_id": job["jobId"], "job": job })).unwrap()
}

/// Sends a request as the owner, with these headers.
fn send(
    hub: &Hub,
    service: &Service,
    verb: &str,
    path: &str,
    mut headers: Value,
    body: Option<&Value>,
) -> HttpResponse {
    headers["Authorization"] = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")).into();
    let path = format!("{path}{}{VERSION}", if path.contains('?') { "&" } else { "?" });
    service.http_with(verb, &path, headers, body.map(Value::to_string).as_deref())
}

fn rows(hub: &Hub, service: &Service, query: &str) -> Vec<Value> {
    let response = send(hub, service, "POST", "/devices/query", json!({}), Some(&json!({ "query": query })));
    assert_eq!((response.status, response.header("x-ms-item-type")), (200, "DeviceJob"), "{}", response.body);
    response.json().as_array().unwrap().clone()
}

#[test]
fn the_job_manager_of_the_python_package_works_whole() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d1");
    let _ = service.create_device("d2");
    let device = Device::with_identity(&identity).listen(&hub);
    let created = create(&service, &twin_job("twins", "deviceId IN ['d1', 'd2']"));
    assert_eq!((&created["jobId"], &created["type"]), (&json!("twins"), &json!("scheduleUpdateTwin")));
    assert_eq!(created["queryCondition"], "deviceId IN ['d1', 'd2']");
    assert_eq!(created["maxExecutionTimeInSeconds"], 300);
    assert_eq!(created["updateTwin"]["tags"], json!({ "floor": 7 }));
    assert!(created["createdTime"].is_string() && created["startTime"].is_string());
    let job = ended(&service, "twins");
    assert_eq!(
        (&job["status"], &job["deviceJobStatistics"]["succeededCount"]),
        (&json!("completed"), &json!(2))
    );
    assert!(job["endTime"].is_string());
    let twin = service.call("get_twin", &json!({ "device_id": "d2" })).unwrap();
    assert_eq!((&twin["tags"]["floor"], &twin["properties"]["desired"]["fan"]), (&json!(7), &json!(1)));

    create(&service, &method_job("methods", "*"));
    assert_eq!(device.next_request().name, "echo");
    eventually("the device has answered", LIMIT, || {
        let job = service.call("get_scheduled_job", &json!({ "job_id": "methods" })).unwrap();
        (job["deviceJobStatistics"]["succeededCount"] == 1).then_some(())
    });
    let query = |arguments: Value| {
        let found = service.call("query_scheduled_jobs", &arguments).unwrap();
        assert_eq!(found["type"], "jobResponse");
        let items = found["items"].as_array().unwrap().clone();
        items.iter().map(|job| job["jobId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(query(json!({})), ["methods", "twins"]);
    assert_eq!(query(json!({ "job_type": "scheduleUpdateTwin" })), ["twins"]);
    assert_eq!(query(json!({ "job_type": "scheduleDeviceMethod", "job_status": "running" })), ["methods"]);
    assert_eq!(query(json!({ "job_status": "failed" })), Vec::<String>::new());
    let cancelled = service.call("cancel_scheduled_job", &json!({ "job_id": "methods" })).unwrap();
    assert_eq!(cancelled["status"], "cancelled");
    let rows = rows(&hub, &service, "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'methods'");
    assert_eq!((&rows[0]["status"], &rows[1]["status"]), (&json!("completed"), &json!("canceled")));
    assert_eq!(rows[0]["outcome"]["deviceMethodResponse"], json!({ "status": 200, "payload": { "a": 1 } }));

    // Errors.
    let unknown = json!({ "job_id": "unknown" });
    assert_eq!(service.refusal("get_scheduled_job", &unknown), (404, "JobNotFound".to_owned()));
    assert_eq!(service.refusal("cancel_scheduled_job", &unknown), (404, "JobNotFound".to_owned()));
    let again = json!({ "job_id": "twins", "job": twin_job("twins", "*") });
    assert_eq!(service.refusal("create_scheduled_job", &again), (409, "JobAlreadyExists".to_owned()));
    let invalid = json!({ "job_id": "j", "job": twin_job("j", "SELECT * FROM devices") });
    assert_eq!(service.refusal("create_scheduled_job", &invalid), (400, "ArgumentInvalid".to_owned()));
    let odd = json!({ "job_status": "odd" });
    assert_eq!(service.refusal("query_scheduled_jobs", &odd), (400, "ArgumentInvalid".to_owned()));
    assert!(hub.metric("ferrohub_jobs_total", "outcome=\"cancelled\"") >= 1.0);
    assert!(hub.metric("ferrohub_job_devices_total", "outcome=\"succeeded\"") >= 3.0);
}

#[test]
fn the_job_client_of_node_works_whole() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d1");
    let device = Device::with_identity(&identity).listen(&hub);
    let node = NodeClient::service(&hub);
    let patch = json!({ "etag": "*", "tags": { "floor": 7 } });
    // An id that is a number, and no start and time.
    let job = node.ok("schedule_twin", &json!({ "job_id": 17, "condition": "*", "patch": patch }));
    assert_eq!((&job["jobId"], &job["maxExecutionTimeInSeconds"]), (&json!("17"), &json!(3600)));
    assert_eq!(ended(&service, "17")["status"], "completed");
    let method = json!({ "methodName": "echo", "payload": [1], "responseTimeoutInSeconds": 15 });
    let start = "2000-01-01T00:00:00Z";
    let arguments = json!({ "job_id": "m.1", "condition": "deviceId='d1'", "method": method, "start": start,
        "seconds": 60 });
    assert_eq!(node.ok("schedule_method", &arguments)["type"], "scheduleDeviceMethod");
    assert_eq!(device.next_request().name, "echo");
    assert_eq!(ended(&service, "m.1")["deviceJobStatistics"]["succeededCount"], 1);
    let got = node.ok("get_job", &json!({ "job_id": "m.1" }));
    assert_eq!(got["cloudToDeviceMethod"]["payload"], json!([1]));
    let later = json!({ "job_id": "later", "condition": "*", "patch": patch, "start": "2090-01-01T00:00:00Z",
        "seconds": 60 });
    assert!(node.call("schedule_twin", &later).is_err(), "more than ten years ahead");
    let later = json!({ "job_id": "later", "condition": "*", "patch": patch, "start": "2030-01-01T00:00:00Z",
        "seconds": 60 });
    assert_eq!(node.ok("schedule_twin", &later)["status"], "scheduled");
    assert_eq!(node.ok("cancel_job", &json!({ "job_id": "later" }))["status"], "cancelled");
    let pages = node.ok("query_jobs", &json!({ "page_size": 2 }));
    let pages = pages.as_array().unwrap();
    assert!(pages.iter().all(|page| page["type"] == "JobResponse"));
    let ids = |page: &Value| {
        page["items"].as_array().unwrap().iter().map(|job| job["jobId"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        pages.iter().map(ids).collect::<Vec<_>>(),
        [vec![json!("later"), json!("m.1")], vec![json!("17")]]
    );
    let completed = node.ok("query_jobs", &json!({ "type": "scheduleUpdateTwin", "status": "completed" }));
    assert_eq!(ids(&completed[0]), [json!("17")]);
}

#[test]
fn what_the_azure_command_line_sends_is_answered_as_it_reads_it() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("d1");
    let agent = "python/3.11.2 (Linux) msrest/0.7.1 iothubgatewayserviceapis/2021-04-12 IoTPlatformCliExtension/0.25.0";
    let headers = || json!({ "User-Agent": agent, "Accept": "application/json" });
    let create = |job: &Value| {
        let path = format!("/jobs/v2/{}", job["jobId"].as_str().unwrap());
        send(&hub, &service, "PUT", &path, headers(), Some(job))
    };
    // az iot hub job create --job-type scheduleUpdateTwin --twin-patch … --duration …
    let job = json!({ "jobId": "twin", "type": "scheduleUpdateTwin", "startTime": "2000-01-01T00:00:00",
        "maxExecutionTimeInSeconds": 300, "queryCondition": "deviceId in ['d1','d2']",
        "updateTwin": { "tags": { "deviceClass": "Class1" }, "etag": "*" } });
    let created = create(&job);
    assert_eq!(created.status, 200, "{}", created.body);
    assert_eq!(created.json()["updateTwin"], json!({ "etag": "*", "tags": { "deviceClass": "Class1" } }));
    assert!(!created.body.contains("null"), "Java reads what a member contains: {}", created.body);
    // --wait
    let get = || send(&hub, &service, "GET", "/jobs/v2/twin", headers(), None).json();
    eventually("the job ends", LIMIT, || (get()["status"] == "completed").then_some(()));
    let ended = get();
    assert_eq!(
        ended["deviceJobStatistics"],
        json!({ "deviceCount": 1, "failedCount": 0, "succeededCount": 1, "runningCount": 0, "pendingCount": 0 })
    );
    // In six days.
    let method = json!({ "jobId": "method", "type": "scheduleDeviceMethod", "queryCondition": "*",
        "startTime": "2030-01-07T00:00:00", "maxExecutionTimeInSeconds": 3600,
        "cloudToDeviceMethod": { "methodName": "reboot", "payload": "", "responseTimeoutInSeconds": 30,
            "connectTimeoutInSeconds": 30 } });
    assert_eq!(create(&method).json()["status"], "scheduled");
    // az iot hub job list
    let mut listing = headers();
    listing["Cache-Control"] = "no-cache, must-revalidate".into();
    let page = send(&hub, &service, "GET", "/jobs/v2/query?jobStatus=scheduled", listing.clone(), None);
    assert_eq!(page.json().as_array().unwrap().len(), 1);
    assert_eq!((page.header("x-ms-continuation"), page.header("x-ms-item-type")), ("", "JobResponse"));
    listing["x-ms-max-item-count"] = "1".into();
    let page = send(&hub, &service, "GET", "/jobs/v2/query", listing.clone(), None);
    assert_eq!(page.json()[0]["jobId"], "method");
    listing["x-ms-continuation"] = page.header("x-ms-continuation").into();
    let page = send(&hub, &service, "GET", "/jobs/v2/query", listing, None);
    assert_eq!((page.json()[0]["jobId"].as_str(), page.header("x-ms-continuation")), (Some("twin"), ""));
    // az iot hub job cancel
    let cancelled = send(&hub, &service, "POST", "/jobs/v2/method/cancel", headers(), None);
    assert_eq!(cancelled.json()["status"], "cancelled");
    // .NET asks with the names of its enum, and gets nothing of imports and exports.
    let of =
        |query: &str| send(&hub, &service, "GET", &format!("/jobs/v2/query?{query}"), json!({}), None).json();
    assert_eq!(of("jobType=ScheduleUpdateTwin&jobStatus=Completed")[0]["jobId"], "twin");
    assert_eq!(of("jobType=ExportDevices"), json!([]));
    assert_eq!(send(&hub, &service, "GET", "/jobs/v2/query?jobType=x", json!({}), None).status, 400);
}

#[test]
fn only_a_caller_with_the_right_has_jobs() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d1");
    let send = |connection_string: &str, verb: &str, path: &str, body: Option<&Value>| {
        let headers = json!({ "Authorization": sas::policy_token(connection_string) });
        let response = service.http_with(
            verb,
            &format!("{path}?{VERSION}"),
            headers,
            body.map(Value::to_string).as_deref(),
        );
        response.status
    };
    let _ = identity;
    let owner = hub.variable("IOTHUB_CONNECTION_STRING").to_owned();
    let other = |name: &str| {
        let policy = service
            .http_with(
                "GET",
                &format!("/ferrohub/policies/{name}"),
                json!({ "Authorization": sas::policy_token(&owner) }),
                None,
            )
            .json();
        let key = policy["primaryKey"].as_str().unwrap().to_owned();
        format!("HostName={};SharedAccessKeyName={name};SharedAccessKey={key}", hub.name())
    };
    let (twin, method) = (twin_job("t", "*"), method_job("m", "*"));
    for (policy, twin_status, method_status, get_status) in [
        ("service", 200, 200, 200),
        ("registryReadWrite", 409, 401, 200),
        ("registryRead", 401, 401, 401),
        ("device", 401, 401, 401),
    ] {
        let connection_string = other(policy);
        assert_eq!(send(&connection_string, "PUT", "/jobs/v2/t", Some(&twin)), twin_status, "{policy}");
        assert_eq!(send(&connection_string, "PUT", "/jobs/v2/m", Some(&method)), method_status, "{policy}");
        assert_eq!(send(&connection_string, "GET", "/jobs/v2/t", None), get_status, "{policy}");
        assert_eq!(send(&connection_string, "GET", "/jobs/v2/query", None), get_status, "{policy}");
        assert_eq!(send(&connection_string, "POST", "/jobs/v2/t/cancel", None), get_status, "{policy}");
    }
}

/// A hub that is killed again and again while two jobs run.
#[test]
fn jobs_end_as_they_should_although_the_hub_is_killed() {
    const DEVICES: usize = 400;
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let items: Vec<_> = (0..DEVICES).map(|number| json!({ "id": format!("t{number}") })).collect();
    for items in items.chunks(100) {
        service.call("bulk", &json!({ "devices": items })).unwrap();
    }
    let (slow, late) = (service.create_device("slow"), service.create_device("zlate"));
    let device = Device::with_identity(&slow).listen(&hub);
    let mut method = method_job("methods", "deviceId IN ['slow', 'zlate']");
    // Long enough that the hub is killed before the answer.
    method["cloudToDeviceMethod"]["methodName"] = "answer".into();
    method["cloudToDeviceMethod"]["payload"] = json!({ "seconds": 10, "status": 200 });
    create(&service, &method);
    let _ = device.next_request();
    create(&service, &twin_job("twins", "STARTSWITH(deviceId, 't')"));
    for _ in 0..3 {
        // A job over so many twins takes longer; a kill at each step is tested in core.
        std::thread::sleep(Duration::from_millis(20));
        hub.kill();
        hub.start_again();
    }
    let twins = ended(&service, "twins");
    assert_eq!(
        twins["deviceJobStatistics"],
        json!({ "deviceCount": DEVICES, "failedCount": 0, "succeededCount": DEVICES, "runningCount": 0,
            "pendingCount": 0 })
    );
    let changed = send(
        &hub,
        &service,
        "POST",
        "/devices/query",
        json!({}),
        Some(&json!({ "query": "SELECT COUNT() AS n FROM devices WHERE tags.floor = 7 AND \
            properties.desired.$version = 2" })),
    );
    assert_eq!(changed.json(), json!([{ "n": DEVICES }]), "each twin was changed once");
    let rows = |service: &Service| rows(&hub, service, "SELECT * FROM devices.jobs WHERE jobId = 'methods'");
    let cut = &rows(&service)[0];
    assert_eq!((&cut["status"], &cut["error"]["code"]), (&json!("failed"), &json!("ServerError")), "{cut}");
    assert!(cut["error"]["description"].as_str().unwrap().contains("may have run"), "{cut}");
    let other = Device::with_identity(&late).listen(&hub);
    let _ = other.next_request();
    let methods = ended(&service, "methods");
    assert_eq!(methods["status"], "completed");
    assert_eq!(rows(&service)[1]["status"], "completed");
    assert!(device.requests().is_empty(), "the call is not repeated");
}

#[test]
fn the_limit_of_active_jobs_is_a_setting_and_the_refusal_names_it() {
    let hub = Hub::builder().config("[jobs]\nmax_active = 1\n").start();
    let service = Service::owner(&hub);
    let _ = service.create_device("d1");
    create(&service, &method_job("first", "*"));
    // Not with the Python package, which would repeat it three times.
    let job = method_job("second", "*");
    let refused = send(&hub, &service, "PUT", "/jobs/v2/second", json!({}), Some(&job));
    assert_eq!((refused.status, refused.error_code()), (429, "ThrottlingMaxActiveJobCountExceeded"));
    assert_eq!(refused.header("retry-after"), "5");
    assert!(refused.body.contains("1 (jobs.max_active)"), "{}", refused.body);
}

#[test]
fn the_command_line_creates_shows_lists_and_cancels_jobs() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d1");
    let _ = service.create_device("d2");
    let device = Device::with_identity(&identity).listen(&hub);
    let command = |arguments: &[&str]| hub.command(arguments.iter().copied());
    let created = command(&["job", "create", "*", "--id", "twins", "--tags", r#"{"floor":7}"#, "--wait"]);
    assert!(
        created.stderr.contains("completed: 2 succeeded, 0 failed, 0 running, 0 pending of 2 devices"),
        "{created:?}"
    );
    let text = created.success();
    assert!(text.contains("Status") && text.contains("completed"), "{text}");
    let method =
        ["job", "create", "deviceId IN ['d1', 'd2']", "--id", "it's", "--method", "echo", "--payload", "[1]"];
    command(&[&method[..], &["--max-duration", "300", "--output", "json"]].concat()).success();
    assert_eq!(device.next_request().name, "echo");
    let show = || -> Value {
        serde_json::from_str(&command(&["job", "show", "it's", "--output", "json"]).success()).unwrap()
    };
    let shown = eventually("the device has answered", LIMIT, || {
        let shown = show();
        (shown["devices"][0]["status"] == "completed").then_some(shown)
    });
    assert_eq!(shown["devices"][0]["outcome"]["deviceMethodResponse"]["payload"], json!([1]));
    assert_eq!(shown["devices"][1]["status"], "scheduled");
    let cancelled = command(&["job", "cancel", "it's"]).success();
    assert!(cancelled.contains("cancelled"), "{cancelled}");
    let table = command(&["job", "show", "it's", "--wait"]).success();
    assert!(table.contains("200 [1]") && table.contains("canceled"), "{table}");
    let list = command(&["job", "list", "--type", "method", "--status", "cancelled"]).success();
    assert!(list.contains("it's") && !list.contains("twins"), "{list}");
    let all = command(&["job", "list", "--top", "1"]);
    assert!(all.stderr.contains("showing the first 1 job"), "{all:?}");
    let nothing = command(&["job", "create", "*"]);
    assert!(nothing.stderr.contains("--method"), "{nothing:?}");
    let unknown = command(&["job", "show", "unknown"]);
    assert!(unknown.stderr.contains("There is no job unknown"), "{unknown:?}");
}

#[tokio::test]
async fn the_rust_client_waits_for_a_job_and_streams_its_devices() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d1");
    let _ = service.create_device("d2");
    let device = Device::with_identity(&identity).listen(&hub);
    let client =
        ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
            .unwrap()
            .additional_root_certificates(std::fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
            .build()
            .unwrap();
    let change = serde_json::from_value(json!({ "tags": { "floor": 7 } })).unwrap();
    let twins = client.create_job(&NewJob::update_twin("twins", "*", change)).await.unwrap();
    let mut seen = 0;
    let ended = twins.wait_with(|_| seen += 1).await.unwrap();
    assert!(seen > 0);
    assert_eq!(
        (ended.status, ended.device_job_statistics.unwrap().succeeded_count),
        (JobStatus::Completed, 2)
    );
    let echo = MethodInvocation::new("echo").payload(&json!([1])).unwrap();
    // The device that is not connected fails when the time is over.
    let job = NewJob::invoke_method("it's a job", "*", &echo);
    assert_eq!(client.create_job(&job).await.unwrap_err().kind(), ErrorKind::BadRequest, "a blank in the id");
    let job = NewJob::invoke_method("it's", "*", &echo).max_duration(Duration::from_secs(3));
    let handle = client.create_job(&job).await.unwrap();
    let ended = handle.wait().await.unwrap();
    assert_eq!((ended.status, ended.device_job_statistics.unwrap().failed_count), (JobStatus::Completed, 1));
    assert_eq!(device.next_request().name, "echo");
    let mut devices = handle.devices();
    let first = devices.next().await.unwrap().unwrap();
    assert_eq!((first.device_id.as_str(), first.status), ("d1", DeviceJobStatus::Completed));
    assert_eq!(first.outcome.device_method_response.unwrap().payload, json!([1]));
    let second = devices.next().await.unwrap().unwrap();
    assert_eq!(second.error.unwrap().code, "JobRunPreconditionFailed");
    assert!(devices.next().await.is_none());
    assert_eq!(client.create_job(&job).await.unwrap_err().kind(), ErrorKind::Conflict);
    let mut jobs = client.jobs().status(JobStatus::Completed).page_size(1).rows();
    for id in ["it's", "twins"] {
        assert_eq!(jobs.next().await.unwrap().unwrap().job_id, id);
    }
    assert!(jobs.next().await.is_none());
    let start = Timestamp::parse("2030-01-01T00:00:00Z").unwrap();
    let later = client.create_job(&NewJob::invoke_method("later", "*", &echo).start(start)).await.unwrap();
    assert_eq!(later.get().await.unwrap().status, JobStatus::Scheduled);
    assert_eq!(later.cancel().await.unwrap().status, JobStatus::Cancelled);
    assert_eq!(later.wait().await.unwrap().status, JobStatus::Cancelled);
    assert_eq!(client.job("unknown").unwrap().get().await.unwrap_err().kind(), ErrorKind::NotFound);
}
