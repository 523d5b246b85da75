//! Our own SDKs with the hub, and with Microsoft's packages on the other side.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferrohub_acceptance::{Device, Hub, Method, Service, certificate};
use ferrohub_device::{DeviceClient, MethodRequest, MethodResponse, Transport};
use ferrohub_service::{
    ClientSecretCredential, Device as Registered, ErrorKind, MethodInvocation, ServiceClient, Status,
};
use serde_json::{Value, json};

fn ca(hub: &Hub) -> Vec<u8> {
    fs::read(hub.variable("SSL_CERT_FILE")).unwrap()
}

fn back_end(hub: &Hub, variable: &str) -> ServiceClient {
    ServiceClient::builder_from_connection_string(hub.variable(variable))
        .unwrap()
        .additional_root_certificates(ca(hub))
        .build()
        .unwrap()
}

fn owner(hub: &Hub) -> ServiceClient {
    back_end(hub, "IOTHUB_CONNECTION_STRING")
}

fn device_string(hub: &Hub, device: &Registered) -> String {
    let key = device.primary_key().unwrap();
    format!("HostName={};DeviceId={};SharedAccessKey={key}", hub.name(), device.device_id)
}

/// Adds the methods of the tutorial's device, an echo method, and 404 for all others.
fn with_reboot(client: DeviceClient) -> DeviceClient {
    client.on_method("rebootDevice", |_: MethodRequest| async {
        MethodResponse::new(200).payload(&json!({ "Response": "This is the response from the device" }))
    });
    client.on_method("echo", |request: MethodRequest| async move {
        MethodResponse::new(200).payload_json(request.payload_text())
    });
    client.on_unhandled_method(|_: MethodRequest| async {
        MethodResponse::new(404).payload(&json!({ "Response": "Unknown method" }))
    });
    client
}

#[track_caller]
fn assert_rebooted(response: &ferrohub_service::MethodResponse) {
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.payload_as::<Value>().unwrap(),
        json!({ "Response": "This is the response from the device" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_works_in_rust_over_both_transports() {
    let hub = Hub::start();
    let registered = owner(&hub).create_device(&Registered::new("myDevice")).await.unwrap();
    let service = back_end(&hub, "IOTHUB_SERVICE_CONNECTION_STRING");
    for transport in [Transport::Mqtt, Transport::MqttWebSocket] {
        let client = DeviceClient::builder_from_connection_string(&device_string(&hub, &registered))
            .unwrap()
            .transport(transport)
            .root_certificates_only(ca(&hub))
            .build()
            .unwrap();
        let client = with_reboot(client);
        client.connect().await.unwrap();
        let call = MethodInvocation::new("rebootDevice").payload(&json!({ "a": 1 })).unwrap();
        assert_rebooted(&service.invoke_method("myDevice", &call).await.unwrap());
        let unknown = service.invoke_method("myDevice", &MethodInvocation::new("makeCoffee")).await.unwrap();
        assert_eq!(unknown.status(), 404);
        client.disconnect().await;
    }
    let offline = service.invoke_method("myDevice", &MethodInvocation::new("echo")).await.unwrap_err();
    assert_eq!((offline.kind(), offline.code()), (ErrorKind::DeviceNotOnline, Some(404_103)));
    assert!(offline.is_retryable() && offline.tracking_id().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_connects_with_both_kinds_of_certificates() {
    let authority = certificate::Authority::root("factory");
    let builder = Hub::builder();
    let ca_file = authority.write(builder.folder());
    let folder = builder.folder().to_path_buf();
    let hub = builder.config(&format!("[[device_ca]]\nfile = \"{}\"", ca_file.display())).start();
    let owner = owner(&hub);
    let own = certificate::self_signed(&folder, "self", certificate::Validity::Valid);
    owner.create_device(&Registered::new("self").with_thumbprints(own.sha256(), None)).await.unwrap();
    let signed = authority.sign(&folder, "signed", certificate::Validity::Valid);
    owner.create_device(&Registered::new("signed").with_certificate_authority()).await.unwrap();
    for (id, files, transport) in
        [("self", &own, Transport::Mqtt), ("signed", &signed, Transport::MqttWebSocket)]
    {
        let client = DeviceClient::builder(hub.name(), id)
            .x509(fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap())
            .transport(transport)
            .root_certificates_only(ca(&hub))
            .build()
            .unwrap();
        let client = with_reboot(client);
        client.connect().await.unwrap();
        assert_rebooted(&owner.invoke_method(id, &MethodInvocation::new("rebootDevice")).await.unwrap());
        client.disconnect().await;
    }
    // The certificate of another device is refused.
    let client = DeviceClient::builder(hub.name(), "self")
        .x509(fs::read(&signed.certificate).unwrap(), fs::read(&signed.key).unwrap())
        .root_certificates_only(ca(&hub))
        .build()
        .unwrap();
    assert_eq!(client.connect().await.unwrap_err().kind(), ferrohub_device::ErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_device_is_called_from_rust() {
    let hub = Hub::start();
    let python = Service::owner(&hub);
    let device = Device::with_identity(&python.create_device("python")).listen(&hub);
    let service = back_end(&hub, "IOTHUB_SERVICE_CONNECTION_STRING");
    let call = MethodInvocation::new("rebootDevice").payload(&json!({ "from": "rust" })).unwrap();
    assert_rebooted(&service.invoke_method("python", &call).await.unwrap());
    assert_eq!(device.next_request().payload, json!({ "from": "rust" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rust_device_is_called_from_python() {
    let hub = Hub::start();
    let python = Service::owner(&hub);
    let identity = python.create_device("rust");
    let client = DeviceClient::builder_from_connection_string(&identity.connection_string())
        .unwrap()
        .root_certificates_only(ca(&hub))
        .build()
        .unwrap();
    let client = with_reboot(client);
    client.connect().await.unwrap();
    let payload = json!({ "números": [1, 2.5, null, true], "text": "a/b?c" });
    let answer = python.invoke("rust", Method::new("echo").payload(payload.clone())).unwrap();
    assert_eq!((answer.status, answer.payload), (200, payload));
    assert_eq!(python.invoke("rust", Method::new("makeCoffee")).unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_authenticates_with_a_client_secret() {
    let hub = Hub::builder().with_development_issuer().start();
    let credential = |secret: &str| {
        ClientSecretCredential::new(hub.variable("AZURE_TENANT_ID"), hub.variable("AZURE_CLIENT_ID"), secret)
            .authority(hub.variable("AZURE_AUTHORITY_HOST"))
            .additional_root_certificates(ca(&hub))
    };
    let client = |secret: &str| {
        ServiceClient::builder(hub.name())
            .token_credential(credential(secret))
            .additional_root_certificates(ca(&hub))
            .build()
            .unwrap()
    };
    let good = client(hub.variable("AZURE_CLIENT_SECRET"));
    good.create_device(&Registered::new("d")).await.unwrap();
    let offline = good.invoke_method("d", &MethodInvocation::new("m")).await.unwrap_err();
    assert_eq!(offline.kind(), ErrorKind::DeviceNotOnline);
    let refused = client("guess").list_devices(1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Credential);
    assert!(
        refused.to_string().contains("invalid_client") && !refused.to_string().contains("guess"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_created_updated_and_deleted_from_rust() {
    let hub = Hub::start();
    let owner = owner(&hub);
    let created = owner.create_device(&Registered::new("a/b#?").with_status(Status::Disabled)).await;
    assert_eq!(created.unwrap_err().kind(), ErrorKind::BadRequest, "a device id cannot contain a slash");
    let created = owner.create_device(&Registered::new("a#b?c%")).await.unwrap();
    assert!(created.primary_key().is_some() && created.status == Some(Status::Enabled));
    assert_eq!(owner.create_device(&created).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(owner.get_device("a#b?c%").await.unwrap(), created);

    let mut changed = created.clone();
    changed.status_reason = Some("in repair".to_owned());
    let changed = owner.update_device(&changed).await.unwrap();
    assert_ne!(changed.etag, created.etag);
    let stale = owner.update_device(&created).await.unwrap_err();
    assert_eq!((stale.kind(), stale.code()), (ErrorKind::PreconditionFailed, Some(412_001)));
    let stale = owner.delete_device("a#b?c%", created.etag.as_deref()).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);

    assert_eq!(owner.list_devices(10).await.unwrap().len(), 1);
    owner.delete_device("a#b?c%", changed.etag.as_deref()).await.unwrap();
    assert_eq!(owner.get_device("a#b?c%").await.unwrap_err().kind(), ErrorKind::NotFound);
    let reader = back_end(&hub, "IOTHUB_SERVICE_CONNECTION_STRING");
    let refused = reader.list_devices(1).await.unwrap_err();
    assert_eq!((refused.kind(), refused.status()), (ErrorKind::Unauthorized, Some(401)));
}

/// Sends a stream of calls during token renewals, then restarts the hub: every call is answered exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_lost_over_token_renewals_and_restarts() {
    let mut hub = Hub::start();
    let service = owner(&hub);
    let registered = service.create_device(&Registered::new("d")).await.unwrap();
    let client = DeviceClient::builder_from_connection_string(&device_string(&hub, &registered))
        .unwrap()
        .root_certificates_only(ca(&hub))
        .token_ttl(Duration::from_secs(6))
        .build()
        .unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let counted = seen.clone();
    client.on_method("count", move |request: MethodRequest| {
        let counted = counted.clone();
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            MethodResponse::new(200).payload_json(request.payload_text())
        }
    });
    client.connect().await.unwrap();
    let connects = |hub: &Hub| -> u64 {
        let metrics = hub.metrics();
        let line = metrics.lines().find(|line| line.starts_with("ferrohub_connects_total"));
        line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let until = Instant::now() + Duration::from_secs(60);
    let mut sent = 0;
    let mut renewed = 0;
    while renewed < 6 {
        assert!(Instant::now() < until, "only {renewed} connects");
        sent += 1;
        let call =
            MethodInvocation::new("count").payload(&sent).unwrap().connect_timeout(Duration::from_secs(10));
        let response = service.invoke_method("d", &call).await.expect("a response");
        assert_eq!(response.payload_as::<u64>().unwrap(), sent);
        if sent % 50 == 0 {
            renewed = connects(&hub);
        }
    }
    assert_eq!(seen.load(Ordering::Relaxed), sent, "each call was received once");
    assert!(hub.metrics().contains("ferrohub_unmatched_method_responses_total 0\n"));
    for round in 0..2_u64 {
        if round == 0 {
            assert!(hub.stop().success());
        } else {
            hub.kill();
        }
        hub.start_again();
        let call =
            MethodInvocation::new("count").payload(&round).unwrap().connect_timeout(Duration::from_secs(60));
        let response = service.invoke_method("d", &call).await.expect("a response");
        assert_eq!(response.payload_as::<u64>().unwrap(), round);
    }
    client.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_refuse_an_untrusted_server_certificate() {
    let hub = Hub::start();
    let service = ServiceClient::from_connection_string(hub.variable("IOTHUB_CONNECTION_STRING")).unwrap();
    assert_eq!(service.list_devices(1).await.unwrap_err().kind(), ErrorKind::Tls);
    // A trusted authority, but a host name that is not in the certificate.
    let ip: IpAddr = hub.name().parse().unwrap();
    let elsewhere = hub.variable("IOTHUB_CONNECTION_STRING").replace(hub.name(), "hub.example");
    let service = ServiceClient::builder_from_connection_string(&elsewhere)
        .unwrap()
        .additional_root_certificates(ca(&hub))
        .connect_to(SocketAddr::new(ip, 443))
        .build()
        .unwrap();
    assert_eq!(service.list_devices(1).await.unwrap_err().kind(), ErrorKind::Tls);
    let device =
        DeviceClient::builder(hub.name(), "d").symmetric_key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").build();
    assert_eq!(device.unwrap().connect().await.unwrap_err().kind(), ferrohub_device::ErrorKind::Tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_localhost_the_server_certificate_can_be_configured() {
    let builder = Hub::builder().on_localhost();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (builder.folder().join("own.pem"), builder.folder().join("own.key"));
    fs::write(&certificate, own.cert.pem()).unwrap();
    fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let tls = format!("[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}");
    let hub = builder.config(&tls).start();
    assert!(!hub.environment().contains_key("SSL_CERT_FILE"), "the hub has no CA of its own");
    let service = ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_CONNECTION_STRING"))
        .unwrap()
        .additional_root_certificates(own.cert.pem())
        .build()
        .unwrap();
    assert!(service.list_devices(1).await.unwrap().is_empty());
}
