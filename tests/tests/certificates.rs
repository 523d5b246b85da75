//! Certificates of devices and of the hub, as the tools of the field make them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;

use ferrohub_acceptance::{
    CommandOutput, Device, Hub, Service,
    certificate::{self, Authority, CertificateFiles, Kind, Validity},
    program,
    raw_connect::{Connect, Outcome},
};
use rcgen::DnValue;
use rcgen::string::{BmpString, TeletexString};
use serde_json::json;

const REFUSED: Outcome = Outcome::Connack(5);
const ACCEPTED: Outcome = Outcome::Connack(0);

#[test]
fn a_device_with_a_thumbprint_may_have_any_certificate() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    for (id, kind) in [("version-1", Kind::Version1), ("critical", Kind::Critical)] {
        let files = certificate::self_signed_as(hub.folder(), id, kind);
        let arguments = json!({ "device_id": id, "primary_thumbprint": files.sha256() });
        service.call("create_device_with_x509", &arguments).unwrap();
        assert_eq!(Connect::device(&hub, id).certificate(&files).run(&hub), ACCEPTED, "{id}");
        Device::with_certificate(&hub, id, &files).start(&hub).connect().unwrap();
        // Another key with the same name.
        let folder = hub.folder().join(id);
        fs::create_dir(&folder).unwrap();
        let other = certificate::self_signed_as(&folder, id, Kind::Version1);
        assert_eq!(Connect::device(&hub, id).certificate(&other).run(&hub), REFUSED, "{id}");
    }
}

#[test]
fn a_refused_certificate_of_an_authority_is_explained_in_the_log() {
    let root = Authority::root("Fleet Root");
    let other_root = Authority::root("Second Root");
    let builder = Hub::builder();
    let file = builder.folder().join("fleet.pem");
    // Two authorities in one file, behind a byte order mark.
    fs::write(&file, format!("\u{feff}{}{}", other_root.pem(), root.pem())).unwrap();
    let hub = builder.config(&format!("[[device_ca]]\nfile = \"{}\"", file.display())).start();
    let service = Service::owner(&hub);
    service.call("create_device_with_certificate_authority", &json!({ "device_id": "a" })).unwrap();
    let connect = |files: &CertificateFiles| Connect::device(&hub, "a").certificate(files).run(&hub);
    let folder = hub.folder();
    for authority in [&root, &other_root] {
        assert_eq!(connect(&authority.sign(folder, "a", Validity::Valid)), ACCEPTED);
    }
    let added = hub.command(["ca", "add", "two", file.to_str().unwrap()]);
    assert!(added.code == 1 && added.stderr.contains("there are 2 certificates in it"), "{added:?}");
    let middle = root.intermediate("Middle");
    assert_eq!(connect(&middle.sign(folder, "a", Validity::Valid)), ACCEPTED);
    let bmp = DnValue::BmpString(BmpString::try_from("a").unwrap());
    let t61 = DnValue::TeletexString(TeletexString::try_from("a").unwrap());
    for common_name in [bmp, t61] {
        assert_eq!(connect(&root.sign_as(folder, "a", Kind::CommonName(common_name))), ACCEPTED);
    }
    let other_name = DnValue::BmpString(BmpString::try_from("b").unwrap());
    for (files, reason) in [
        (root.sign_as(folder, "a", Kind::Version1), "it is an X.509 version 1 certificate"),
        (root.sign_as(folder, "a", Kind::Critical), "its extension 1.2.3.4 is marked critical"),
        (root.sign_as(folder, "a", Kind::CommonName(other_name)), "its common name \\\"b\\\" is not the id"),
        (
            root.without_cert_sign("No Sign").sign(folder, "a", Validity::Valid),
            "its keyUsage lacks keyCertSign",
        ),
        (Authority::root("Unknown Root").sign(folder, "a", Validity::Valid), "Unknown Root"),
    ] {
        assert_eq!(connect(&files), REFUSED, "{reason}");
        let log = hub.log();
        let plain = reason.replace('\\', "");
        assert!(log.contains(reason) || log.contains(&plain), "{reason}: {log}");
    }
}

#[test]
fn the_authority_of_the_hub_can_be_exported() {
    let hub = Hub::start();
    let exported = hub.command(["ca", "export"]);
    let certificate = fs::read_to_string(hub.folder().join("data/tls/ca.pem")).unwrap();
    assert!(exported.stderr.contains("SHA-256 "), "{exported:?}");
    let lines = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(lines(&exported.success()), lines(&certificate));
    let json: serde_json::Value =
        serde_json::from_str(&hub.command(["ca", "export", "--output", "json"]).success()).unwrap();
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(lines(json["certificate"].as_str().unwrap()), lines(&certificate));
}

#[test]
fn a_server_certificate_for_another_name_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("own.pem"), folder.path().join("own.key"));
    fs::write(&certificate, own.cert.pem()).unwrap();
    fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let config = folder.path().join("hub.toml");
    let serve = |tls: &str| {
        let text = format!("[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}\n{tls}");
        fs::write(&config, text).unwrap();
        let mut serve = program();
        serve.arg("--config").arg(&config).args(["serve", "--hostname", "hub.example", "--data-dir"]);
        CommandOutput::run(serve.arg(folder.path().join("data")).env("FERROHUB_LISTEN_MQTT", "192.0.2.1:1"))
    };
    let refused = serve("");
    assert_eq!(refused.code, 1);
    for part in ["own.pem", "other.example", "hostname hub.example", "tls.allow_other_names"] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    // Goes on to the address, which is not one of this machine.
    let allowed = serve("allow_other_names = true");
    assert!(!allowed.stderr.contains("tls.allow_other_names"), "{allowed:?}");
    assert!(allowed.stderr.contains("192.0.2.1"), "{allowed:?}");
    let authority = Authority::root("Fleet Root").write(folder.path());
    let entry = format!("[[device_ca]]\nname = \"fleet\"\nfile = {authority:?}\n");
    let clash = serve(&format!("allow_other_names = true\n{entry}{entry}"));
    assert!(clash.stderr.contains("another device_ca with the name fleet"), "{clash:?}");
    // The key of another certificate, and a file that is no key.
    fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(serve("").stderr.contains("it is not the key of the certificate in"));
    fs::write(&key, own.cert.pem()).unwrap();
    assert!(serve("").stderr.contains("it is a certificate, not a private key"));
}
