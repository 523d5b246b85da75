//! Signals to a running hub: SIGHUP reloads certificates, others are ignored.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs::{self, File};
use std::time::Duration;

use ferrohub_acceptance::certificate::{Authority, CertificateFiles, Validity, issue_for_server};
use ferrohub_acceptance::raw_connect::{Connect, Outcome};
use ferrohub_acceptance::raw_tls::RawTls;
use ferrohub_acceptance::{CommandOutput, Device, Hub, Method, Service, eventually, program};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(10);

#[track_caller]
fn wait_for_log(hub: &Hub, text: &str) {
    eventually(text, LIMIT, || hub.log().contains(text).then_some(()));
}

#[track_caller]
fn responds(service: &Service) {
    assert_eq!(service.invoke("dev1", Method::new("echo").payload("ok")).unwrap().payload, "ok");
}

#[test]
fn sighup_loads_a_new_server_certificate_and_keeps_connections() {
    let mut hub = Hub::start();
    let folder = hub.folder().to_owned();
    let (certificate, key) = (folder.join("own.pem"), folder.join("own.key"));
    let name = hub.name().to_owned();
    let issue = || issue_for_server(&folder.join("data/tls"), &name, &certificate, &key);
    let presented = |hub: &Hub| RawTls::mqtt(hub).server_certificate();
    let first = issue();
    hub.add_config(&format!("[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}"));
    hub.restart();
    assert!(presented(&hub) == first);
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    device.wait_until_connected(true, LIMIT);
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let mut keep_alive = RawTls::https(&hub);
    keep_alive.send(request.as_bytes());
    let _ = keep_alive.read_until("HTTP/1.1 200");

    let second = issue();
    hub.signal("HUP");
    wait_for_log(&hub, "loaded the new server certificate");
    assert!(presented(&hub) == second);
    assert!(RawTls::https(&hub).server_certificate() == second);
    keep_alive.send(request.as_bytes());
    let _ = keep_alive.read_until("HTTP/1.1 200");
    responds(&service);

    // A file that is no certificate, and a certificate without its key.
    fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
    hub.signal("HUP");
    wait_for_log(&hub, "cannot load the new server certificate; the previous one stays in use");
    assert!(hub.log().contains("own.pem"), "{}", hub.log());
    assert!(presented(&hub) == second);
    let old_key = fs::read(&key).unwrap();
    let third = issue();
    fs::write(&key, old_key).unwrap();
    hub.signal("HUP");
    wait_for_log(&hub, "it is not the key of the certificate in");
    assert!(presented(&hub) == second);
    responds(&service);
    assert_eq!(device.connects(), 0, "the device stayed connected");
    // The certificate is not lost: it is loaded at the next start with its key.
    assert_ne!(third, second);
}

#[test]
fn sighup_loads_the_certificate_authorities_of_the_configuration() {
    let (old, new) = (Authority::root("Old Root"), Authority::root("New Root"));
    let kept = Authority::root("Kept Root");
    let builder = Hub::builder();
    let file = builder.folder().join("fleet.pem");
    let kept_file = kept.write(builder.folder());
    fs::write(&file, old.pem()).unwrap();
    let hub = builder
        .config(&format!(
            "[[device_ca]]\nfile = {file:?}\n[[device_ca]]\nname = \"kept\"\nfile = {kept_file:?}"
        ))
        .start();
    let service = Service::owner(&hub);
    for id in ["dev1", "dev2"] {
        let arguments = json!({ "device_id": id });
        let _: Value = service.call("create_device_with_certificate_authority", &arguments).unwrap();
    }
    let folder = hub.folder();
    let (old_files, new_files) =
        (old.sign(folder, "dev2", Validity::Valid), new.sign(folder, "dev2", Validity::Valid));
    let connect = |files: &CertificateFiles| Connect::device(&hub, "dev2").certificate(files).run(&hub);
    let kept_files = kept.sign(folder, "dev1", Validity::Valid);
    let kept_device = Device::with_certificate(&hub, "dev1", &kept_files).listen(&hub);
    kept_device.wait_until_connected(true, LIMIT);
    let device = Device::with_certificate(&hub, "dev2", &old_files).listen(&hub);
    device.wait_until_connected(true, LIMIT);

    // A broken file changes nothing.
    fs::write(&file, "<html>").unwrap();
    hub.signal("HUP");
    wait_for_log(
        &hub,
        "cannot load the certificate authorities of [[device_ca]]; the previous ones stay in use",
    );
    assert!(hub.log().contains("it is a web page"), "{}", hub.log());
    let answer = service.invoke("dev2", Method::new("echo").payload("ok")).unwrap();
    assert_eq!(answer.payload, "ok");

    fs::write(&file, new.pem()).unwrap();
    hub.signal("HUP");
    device.wait_until_connected(false, LIMIT);
    device.kill();
    assert_eq!(connect(&old_files), Outcome::Connack(5));
    assert_eq!(connect(&new_files), Outcome::Connack(0));
    wait_for_log(&hub, "loaded the certificate authorities of [[device_ca]]");
    responds(&service);
    assert_eq!(kept_device.connects(), 0, "the device of the other authority stayed connected");
    assert!(hub.command(["ca", "list"]).success().contains("New Root"));
}

#[test]
fn other_signals_are_ignored() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    device.wait_until_connected(true, LIMIT);
    for signal in ["USR1", "USR2"] {
        hub.signal(signal);
        wait_for_log(&hub, &format!("ignored SIG{signal}"));
        responds(&service);
    }
    hub.signal("HUP");
    wait_for_log(&hub, "the server certificate is unchanged");
    hub.signal("PIPE");
    responds(&service);
    assert_eq!(device.connects(), 0, "the device stayed connected");
}

/// A hub that `serve --detach` started; stopped on drop.
struct Detached(u64);

impl Detached {
    fn signal(&self, name: &str) {
        let _ = CommandOutput::run(
            std::process::Command::new("sh").args(["-c", &format!("kill -{name} {}", self.0)]),
        );
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

#[test]
fn a_detached_hub_handles_signals_alike_and_limits_its_log() {
    const LOG_BYTES: u64 = 16 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let (log, old_log) = (folder.path().join("hub.log"), folder.path().join("hub.log.1"));
    // The log of earlier runs is full.
    File::create(&log).unwrap().set_len(LOG_BYTES - 10).unwrap();
    let mut serve = program();
    for key in ["MQTT", "AMQP", "HTTPS", "ADMIN"] {
        serve.env(format!("FERROHUB_LISTEN_{key}"), "127.0.0.1:0");
    }
    let _ = CommandOutput::run(serve.args(["serve", "--detach", "--data-dir"]).arg(folder.path())).success();
    let endpoints = fs::read_to_string(folder.path().join("endpoints.json")).unwrap();
    let endpoints: Value = serde_json::from_str(&endpoints).unwrap();
    let hub = Detached(endpoints["pid"].as_u64().unwrap());
    let wait_for_log = |text: &str| {
        eventually(text, LIMIT, || fs::read_to_string(&log).unwrap().contains(text).then_some(()));
    };
    wait_for_log("the hub is ready");
    assert!(fs::metadata(&old_log).unwrap().len() <= LOG_BYTES);
    assert!(fs::metadata(&log).unwrap().len() < 100_000);
    for output in [1, 2] {
        assert_eq!(fs::read_link(format!("/proc/{}/fd/{output}", hub.0)).unwrap(), log, "{output}");
    }
    for (signal, text) in [
        ("HUP", "the server certificate is unchanged"),
        ("USR1", "ignored SIGUSR1"),
        ("TERM", "the hub stopped"),
    ] {
        hub.signal(signal);
        wait_for_log(text);
    }
}
