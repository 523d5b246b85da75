//! Health and metrics: the admin listener, who may use it, and the health endpoints of the HTTPS listener.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use ferrohub_acceptance::raw_tls::RawTls;
use ferrohub_acceptance::{Address, Device, Hub, RunningProgram, Service, eventually, program};
use serde_json::Value;

fn host(hub: &Hub) -> String {
    format!("Host: {}\r\n", hub.name())
}

#[test]
fn the_admin_listener_refuses_names_of_other_hosts() {
    let hub = Hub::start();
    let status = |headers: &str| {
        let response = hub.admin_request("/metrics", headers);
        response.split(' ').nth(1).unwrap().to_owned()
    };
    for own in ["localhost", "localhost:9464", "127.0.0.1:9464", "[::1]:9464", hub.name()] {
        assert_eq!(status(&format!("Host: {own}\r\n")), "200", "{own}");
    }
    for other in ["attacker.example", "attacker.example:9464", "127.0.0.1.attacker.example", "192.0.2.1"] {
        assert_eq!(status(&format!("Host: {other}\r\n")), "421", "{other}");
    }
    assert_eq!(status("Host: localhost\r\nHost: attacker.example\r\n"), "421");
}

/// The sample lines without their values.
fn samples(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn metrics_are_text_unless_openmetrics_is_requested() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.connect().unwrap();
    let text = hub.admin_request("/metrics", &host(&hub));
    assert!(text.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{text}");
    let (_, text) = text.split_once("\r\n\r\n").unwrap();
    assert!(!text.contains("# EOF"), "{text}");
    let accept = format!("{}Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n", host(&hub));
    let openmetrics = hub.admin_request("/metrics", &accept);
    let (head, openmetrics) = openmetrics.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/openmetrics-text"), "{head}");
    assert!(openmetrics.ends_with("# EOF\n"), "{openmetrics}");
    assert_eq!(samples(text), samples(openmetrics));

    // Every sample has a HELP and a TYPE line, and only counters end with `_total`.
    let mut kinds = std::collections::BTreeMap::new();
    let mut described = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                assert!(!help.trim().is_empty() && described.insert(name), "{line}");
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                assert!(described.contains(name), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                kinds.insert(name, kind);
            }
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
                    name.strip_suffix(suffix).filter(|family| kinds.get(family) == Some(&"histogram"))
                });
                assert!(kinds.contains_key(family.unwrap_or(name)), "{line}");
            }
        }
    }

    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().unwrap()
    };
    assert_eq!(value("ferrohub_devices"), 1.0);
    assert!(value("ferrohub_database_bytes{database=\"hub\"}") > 4096.0);
    assert!(value("ferrohub_database_bytes{database=\"events\"}") > 4096.0);
    assert!(value("ferrohub_disk_free_bytes") > 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") > 5.0 && value("process_open_fds") <= value("process_max_fds"));
    assert!(value("process_cpu_seconds_total") > 0.0);
    let now = time::OffsetDateTime::now_utc().unix_timestamp() as f64;
    assert!(value("ferrohub_certificate_expiry_timestamp_seconds") > now + 86_400.0);
    assert!(value("process_start_time_seconds") <= now + 1.0);
    assert!(text.contains("ferrohub_build_info{version=\""), "{text}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.connect().unwrap();
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        eprintln!("promtool is not installed (package prometheus); its rules are checked by another test");
        return;
    };
    promtool.stdin.take().unwrap().write_all(hub.metrics().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.trim().is_empty(), "{text}");
}

#[test]
fn health_is_also_on_the_https_listener_and_does_not_authenticate_the_connection() {
    let hub = Hub::builder().config("[limits]\nunauthenticated_connections = 2").start();
    let get = |verb: &str, path: &str| {
        let mut peer = RawTls::https(&hub);
        peer.send(format!("{verb} {path} HTTP/1.1\r\n{}\r\n", host(&hub)).as_bytes());
        peer
    };
    assert!(get("GET", "/healthz").read_until("ok\n").starts_with("HTTP/1.1 200"));
    assert!(get("GET", "/readyz/").read_until("ready\n").starts_with("HTTP/1.1 200"));
    assert!(get("GET", "/metrics").read_until("GenericNotFound").starts_with("HTTP/1.1 404"));
    let refused = get("POST", "/healthz").read_until("Tracking ID");
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET,HEAD"), "{refused}");

    // The oldest of them is still unauthenticated, so a new connection evicts it.
    let mut oldest = get("GET", "/healthz");
    oldest.read_until("ok\n");
    let mut second = get("GET", "/readyz");
    second.read_until("ready\n");
    let _third = RawTls::https(&hub);
    assert_eq!(oldest.read_to_end(), b"");
}

#[test]
fn the_admin_listener_on_another_address_needs_tls_and_a_token() {
    let address = Address::reserve();
    let name = address.ip();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hub.toml");
    let token = "0123456789abcdef0123456789abcdef";
    let write = |more: &str| {
        let text = format!(
            "hostname = \"{name}\"\ndata_dir = \"data\"\n[listen]\nmqtt = \"{name}:8883\"\namqp = \"{name}:5671\"\nhttps = \"{name}:443\"\n\
             admin = \"0.0.0.0:0\"\n{more}"
        );
        std::fs::write(&config, text).unwrap();
    };
    write("");
    let refused = program().arg("--config").arg(&config).arg("serve").output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("set listen.admin_token"), "{text}");

    write(&format!("admin_token = \"{token}\""));
    let child = program().arg("--config").arg(&config).arg("serve").stdout(Stdio::null()).spawn().unwrap();
    let _running = RunningProgram(child);
    let ca = folder.path().join("data/tls/ca.pem");
    let get = |url: &str, headers: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "20", "--write-out", "%{http_code}", "--cacert"]).arg(&ca);
        for header in headers {
            curl.args(["-H", header]);
        }
        let output = curl.arg(url).output().expect("curl is installed");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    eventually("the hub is ready", Duration::from_secs(20), || {
        get(&format!("https://{name}/readyz"), &[]).1.ends_with("200").then_some(())
    });
    let endpoints: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("data/endpoints.json")).unwrap()).unwrap();
    let port = endpoints["admin"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let bearer = format!("Authorization: Bearer {token}");
    for path in ["healthz", "readyz", "metrics"] {
        let url = format!("https://{name}:{port}/{path}");
        let (ok, text) = get(&url, &[&bearer]);
        assert!(ok && text.ends_with("200"), "{path}: {text}");
        for headers in [
            &[][..],
            &["Authorization: Bearer 0123456789abcdef0123456789abcdeg"],
            &["Authorization: Bearer "],
        ] {
            let (ok, text) = get(&url, headers);
            assert!(ok && text.ends_with("401"), "{path}: {text}");
        }
        let (ok, _) = get(&format!("http://{name}:{port}/{path}"), &[&bearer]);
        assert!(!ok, "without TLS");
    }
    // Health and metrics alone.
    let (_, text) = get(&format!("https://{name}:{port}/devices"), &[&bearer]);
    assert!(text.ends_with("404"), "{text}");
}
