//! The command line of the program.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use ferrohub_acceptance::{
    CommandOutput, Device, Hub, Method, RunningProgram, Service, certificate, eventually, program,
    raw_connect,
};
use serde_json::{Value, json};

fn json_of(output: CommandOutput) -> Value {
    serde_json::from_str(&output.success()).expect("JSON")
}

#[test]
fn localhost_demo_prints_every_step() {
    let output = CommandOutput::run(program().arg("demo")).success();
    for part in [
        "service → hub  PUT /devices/myDevice: registered",
        "device → hub  connected with MQTT over TLS",
        "rebootDevice {\"input1\":\"someInput\",\"input2\":\"anotherInput\"}",
        "status 200, payload {\"Response\":\"This is the response from the device\"}",
        "round trip",
        "the waiting call was delivered at once",
        "stopped cleanly",
    ] {
        assert!(output.contains(part), "{part:?} is missing: {output}");
    }
}

#[test]
fn localhost_demo_uses_free_ports_and_keeps_the_hub_running() {
    let _taken = ["127.0.0.1:8883", "127.0.0.1:443", "127.0.0.1:9464"].map(std::net::TcpListener::bind);
    let mut child = program().args(["demo", "--keep"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let running = RunningProgram(child);
    let mut seen = String::new();
    let export = lines
        .by_ref()
        .inspect(|line| seen.push_str(&format!("{line}\n")))
        .find(|line| line.contains("env --data-dir"))
        .unwrap_or_default();
    assert!(seen.contains("port 8883 for MQTT is in use: using a free port instead"), "{seen}");
    assert!(seen.contains("port 443 for HTTPS is in use"), "{seen}");
    let folder = export.split("--data-dir ").nth(1).unwrap().trim_end_matches([')', '"']);
    let shown = CommandOutput::run(program().args(["device", "list", "--data-dir", folder])).success();
    assert!(shown.contains("myDevice"), "{shown}");
    drop(running);
}

#[test]
fn devices_are_managed() {
    let hub = Hub::start();
    let created = json_of(hub.command(["device", "create", "d1", "--output", "json"]));
    assert_eq!((&created["deviceId"], &created["status"]), (&json!("d1"), &json!("enabled")));
    let again = hub.command(["device", "create", "d1"]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("409001"), "{again:?}");
    let key = created["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
    let connection = hub.command(["device", "connection-string", "d1"]).success();
    assert_eq!(connection.trim(), format!("HostName={};DeviceId=d1;SharedAccessKey={key}", hub.name()));

    let updated =
        json_of(hub.command(["device", "update", "d1", "--regenerate-key", "primary", "--output", "json"]));
    let keys = |device: &Value| {
        let keys = &device["authentication"]["symmetricKey"];
        (keys["primaryKey"].clone(), keys["secondaryKey"].clone())
    };
    assert_ne!(keys(&updated).0, keys(&created).0);
    assert_eq!(keys(&updated).1, keys(&created).1);
    let updated = hub.command(["device", "update", "d1", "--disable", "--reason", "in repair"]).success();
    assert!(updated.contains("disabled") && updated.contains("in repair"), "{updated}");

    hub.command([
        "device",
        "create",
        "d2",
        "--auth",
        "self-signed",
        "--primary-thumbprint",
        &"ab".repeat(20),
    ])
    .success();
    let listed = hub.command(["device", "list"]).success();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..4], ["d1", "disabled", "Disconnected", "sas"]);
    assert_eq!(rows[2][..4], ["d2", "enabled", "Disconnected", "selfSigned"]);
    hub.command(["device", "delete", "d1"]).success();
    let missing = hub.command(["device", "show", "d1"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("404001") && missing.stderr.contains("ferrohub device list"),
        "{missing:?}"
    );
    assert_eq!(hub.command(["device", "create"]).code, 2, "a wrong command line has exit code 2");
}

#[test]
fn methods_are_called_and_simulated_devices_respond() {
    let hub = Hub::start();
    let mut child = program();
    child.arg("--config").arg(hub.folder().join("hub.toml"));
    child.args(["simulate", "--count", "3", "--prefix", "s", "--reboot-duration", "1"]);
    let running = RunningProgram(child.stderr(Stdio::null()).spawn().unwrap());
    // The device is registered before it connects. From then on the call waits for the connection.
    let call = eventually("the device is registered", Duration::from_secs(20), || {
        let arguments = [
            "invoke",
            "s3",
            "anything",
            "--payload",
            "{\"a\":[1.50]}",
            "--connect-timeout",
            "20",
            "--output",
            "json",
        ];
        let call = hub.command(arguments);
        (call.code == 0).then_some(call)
    });
    let answer = json_of(call);
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["payload"]["payload"], json!({ "a": [1.5] }));
    // The device responds, disconnects and reconnects.
    hub.command(["invoke", "s1", "rebootDevice", "--connect-timeout", "20"]).success();
    eventually("the device is disconnected", Duration::from_secs(5), || {
        let shown = hub.command(["device", "show", "s1"]).success();
        shown.contains("Disconnected").then_some(())
    });
    hub.command(["invoke", "s1", "hello", "--connect-timeout", "20"]).success();
    drop(running);

    let offline = hub.command(["invoke", "s1", "hello"]);
    assert_eq!(offline.code, 1);
    assert!(offline.stderr.contains("404103") && offline.stderr.contains("--connect-timeout"), "{offline:?}");
    let not_json = hub.command(["invoke", "s1", "hello", "--payload", "text"]);
    assert!(not_json.code == 1 && not_json.stderr.contains("double quotes"), "{not_json:?}");

    let service = Service::owner(&hub);
    let _device = Device::with_identity(&service.create_device("d")).listen(&hub);
    let refused = hub.command(["invoke", "d", "answer", "--payload", "{\"status\":500}"]);
    assert_eq!(refused.code, 3, "an error status from the device has exit code 3: {refused:?}");
}

#[test]
fn both_keys_of_a_policy_are_valid_until_they_are_regenerated() {
    let hub = Hub::start();
    let listed = hub.command(["policy", "list"]).success();
    for policy in ["iothubowner", "service", "device", "registryRead", "registryReadWrite"] {
        assert!(listed.contains(policy), "{listed}");
    }
    let show = || json_of(hub.command(["policy", "show", "service", "--output", "json"]));
    let login = |key: &Value| {
        let key = key.as_str().unwrap();
        format!("HostName={};SharedAccessKeyName=service;SharedAccessKey={key}", hub.name())
    };
    let before = show();
    let status = |key: &Value| {
        let service = Service::with_connection_string(&hub, &login(key));
        service.invoke("nobody", Method::new("m")).unwrap_err().http.status
    };
    assert_eq!((status(&before["primaryKey"]), status(&before["secondaryKey"])), (404, 404));
    hub.command(["policy", "regenerate-key", "service", "primary"]).success();
    let after = show();
    assert_ne!(after["primaryKey"], before["primaryKey"]);
    assert_eq!(after["secondaryKey"], before["secondaryKey"]);
    assert_eq!(status(&before["primaryKey"]), 401);
    assert_eq!((status(&after["primaryKey"]), status(&after["secondaryKey"])), (404, 404));
    for key in ["primaryKey", "secondaryKey"] {
        assert!(!hub.log().contains(after[key].as_str().unwrap()), "the log contains no keys");
        assert!(!listed.contains(after[key].as_str().unwrap()), "the list contains no keys");
    }
    // A policy without all rights may not list policies.
    let refused = CommandOutput::run(
        program()
            .args(["policy", "list", "--login", &login(&after["primaryKey"])])
            .env("SSL_CERT_FILE", hub.variable("SSL_CERT_FILE")),
    );
    assert!(refused.code == 1 && refused.stderr.contains("401"), "{refused:?}");
}

#[test]
fn a_certificate_authority_is_accepted_after_proof_of_possession() {
    let hub = Hub::start();
    let authority = certificate::Authority::root("factory");
    let file = authority.write(hub.folder());
    let file = file.to_str().unwrap();
    hub.command(["device", "create", "d1", "--auth", "certificate-authority"]).success();
    let signed = authority.sign(hub.folder(), "d1", certificate::Validity::Valid);
    let outcome = || raw_connect::Connect::device(&hub, "d1").certificate(&signed).run(&hub);
    let refused = raw_connect::Outcome::Connack(5);

    let added = hub.command(["ca", "add", "factory", file]);
    assert!(added.stderr.contains("ferrohub ca verify factory"), "{added:?}");
    assert_eq!(outcome(), refused, "it is not verified yet");
    let code = json_of(hub.command(["ca", "verify", "factory", "--output", "json"]));
    let code = code["verificationCode"].as_str().unwrap().to_owned();
    let verify = |files: &certificate::CertificateFiles| {
        hub.command(["ca", "verify", "factory", files.certificate.to_str().unwrap()])
    };
    let now = certificate::Validity::Valid;
    assert_eq!(verify(&authority.sign(hub.folder(), "another code", now)).code, 1);
    let impostor = certificate::Authority::root("factory");
    assert_eq!(verify(&impostor.sign(hub.folder(), &code, certificate::Validity::Valid)).code, 1);
    assert_eq!(outcome(), refused, "possession is not proved yet");
    verify(&authority.sign(hub.folder(), &code, certificate::Validity::Valid)).success();
    assert_eq!(outcome(), raw_connect::Outcome::Connack(0));

    let service = Service::owner(&hub);
    let device = Device::with_certificate(&hub, "d1", &signed).listen(&hub);
    assert_eq!(service.invoke("d1", Method::new("echo").payload(1)).unwrap().payload, 1);
    assert!(hub.command(["ca", "list"]).success().contains("factory"));
    hub.command(["ca", "remove", "factory"]).success();
    device.wait_until_connected(false, Duration::from_secs(10));
    assert_eq!(outcome(), refused);
    assert_eq!(hub.command(["ca", "remove", "factory"]).code, 1);
}

#[test]
fn an_unusable_folder_or_setting_is_reported() {
    let hub = Hub::start();
    let second = hub.command(["serve"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("locked by another hub"), "{second:?}");

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bad.toml");
    for (text, expected) in [
        ("hostnam = \"x\"", "did you mean `hostname`?"),
        ("[limits]\nconnection = 1", "did you mean `connections`?"),
        (
            "[[policy]]\nname = \"p\"\nrights = [\"Everything\"]\nprimary_key = \"AAECAwQFBgcICQoLDA0ODw==\"\nsecondary_key = \"AAECAwQFBgcICQoLDA0ODw==\"",
            "RegistryRead",
        ),
        ("[tls]\ncertificate = \"x.pem\"", "set both tls.certificate and tls.private_key"),
        (
            "[entra]\ndevelopment = true\n[listen]\nhttps = \"0.0.0.0:0\"\namqp = \"127.0.0.1:0\"\nmqtt = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"",
            "loopback",
        ),
        ("[listen]\nadmin = \"0.0.0.0:0\"", "listen.admin must be a loopback address"),
    ] {
        fs::write(&config, text).unwrap();
        let mut serve = program();
        serve.arg("--config").arg(&config).arg("serve").arg("--data-dir").arg(folder.path().join("data"));
        let output = CommandOutput::run(&mut serve);
        assert!(output.code == 1 && output.stderr.contains(expected), "{text}: {output:?}");
    }
    let config = CommandOutput::run(program().env("FERROHUB_LOG_LEVL", "x").arg("config"));
    assert!(config.stderr.contains("did you mean FERROHUB_LOG_LEVEL?"), "{config:?}");
    let shown =
        CommandOutput::run(program().env("FERROHUB_LOG_LEVEL", "debug").args(["config", "--hostname", "h"]));
    let shown = shown.success();
    assert!(shown.contains("hostname = \"h\"") && shown.contains("level = \"debug\""), "{shown}");
    let nowhere = CommandOutput::run(program().args(["device", "list", "--data-dir", "/nowhere"]));
    assert!(nowhere.code == 1 && nowhere.stderr.contains("--login"), "{nowhere:?}");
}

#[test]
fn only_the_owner_can_read_the_data_folder() {
    let hub = Hub::start();
    let mode = |path: &str| fs::metadata(hub.folder().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    for file in ["hub.db", "tls/ca.key", "tls/server.key", "tls/ca.pem", "tls/server.pem"] {
        assert_eq!(mode(&format!("data/{file}")), 0o600, "{file}");
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            CommandOutput::run(program().args(["completions", shell])).success().contains("simulate"),
            "{shell}"
        );
    }
}
