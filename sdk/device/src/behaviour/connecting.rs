//! The first connection.

use std::time::Duration;

use ferrohub_model::mqtt_username::MqttUsername;
use ferrohub_model::sas::SasToken;
use ferrohub_mqtt::Refusal;
use tokio::time::Instant;

use super::fake_hub::{FakeHub, KEY, connecting};
use crate::{ConnectionStatus, DeviceClient, DisconnectReason, ErrorKind};

#[tokio::test(start_paused = true)]
async fn connect_carries_the_identity_and_the_token() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| {
        b.module("m").model_id("dtmi:x;1").product_info("pump/2").keep_alive(Duration::from_secs(9))
    });
    let connecting = connecting(&client);
    let (mut peer, connect) = hub.connect().await;
    assert_eq!(connect.client_id, "d1/m");
    assert!(!connect.clean_session && connect.keep_alive == 9 && connect.will.is_none());
    let username = MqttUsername::parse(&connect.username.unwrap(), "d1/m").unwrap();
    assert_eq!(username.host, "hub.test");
    assert_eq!(username.model_id.as_deref(), Some("dtmi:x;1"));
    let client_type = username.client_type.unwrap();
    assert!(client_type.starts_with("ferrohub-device/") && client_type.ends_with(" pump/2"), "{client_type}");
    let password = connect.password.unwrap();
    let token = SasToken::parse(std::str::from_utf8(&password).unwrap()).unwrap();
    assert!(token.is_signed_by(&ferrohub_model::SharedAccessKey::from_base64(KEY).unwrap()));
    let resource = token.resource().unwrap();
    assert!(resource.identity().unwrap().as_str() == "d1/m" && resource.is_on_host("hub.test"));

    assert!(!connecting.is_finished());
    peer.accept(false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!connecting.is_finished(), "connected means subscribed");
    peer.take_subscribe().await;
    connecting.await.unwrap().unwrap();
    assert!(client.status().current().is_connected());
    client.connect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_is_reported_and_not_repeated() {
    for (refusal, kind, retryable) in [
        (Refusal::ProtocolVersion, ErrorKind::Rejected, false),
        (Refusal::ClientId, ErrorKind::Rejected, false),
        (Refusal::ServerUnavailable, ErrorKind::Unavailable, true),
        (Refusal::BadCredentials, ErrorKind::Unauthorized, false),
        (Refusal::NotAuthorized, ErrorKind::Unauthorized, false),
    ] {
        let mut hub = FakeHub::new();
        let client = hub.client();
        let connecting = connecting(&client);
        hub.refuse(refusal).await;
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable));
        assert!(matches!(
            client.status().current(),
            ConnectionStatus::Disconnected { reason: DisconnectReason::Failed(_) }
        ));
        assert!(hub.has_no_connection_for(Duration::from_secs(3600)).await);
        hub.connected(&client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_and_a_silent_hub_are_different_errors() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    let attempt = connecting(&client);
    drop(hub.incoming().await);
    assert_eq!(attempt.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);

    let attempt = connecting(&client);
    let silent = hub.incoming().await;
    let since = Instant::now();
    assert_eq!(attempt.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(since.elapsed().as_secs(), 30);
    drop(silent);

    drop(hub);
    assert_eq!(client.connect().await.unwrap_err().kind(), ErrorKind::Connection);
}

#[tokio::test(start_paused = true)]
async fn disconnecting_stops_an_attempt() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    let attempt = connecting(&client);
    let silent = hub.incoming().await;
    client.disconnect().await;
    assert_eq!(attempt.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    drop(silent);
    hub.connected(&client).await;
}

#[test]
fn invalid_settings_are_refused() {
    let kind = |builder: crate::Builder| builder.build().unwrap_err().kind();
    let pem = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
    let builder = || DeviceClient::builder("h", "d").root_certificates_only(pem.clone()).symmetric_key(KEY);
    assert!(builder().build().is_ok());
    assert_eq!(
        kind(DeviceClient::builder("h", "d").root_certificates_only(pem.clone())),
        ErrorKind::InvalidInput
    );
    assert_eq!(kind(builder().symmetric_key("no key")), ErrorKind::InvalidInput);
    assert_eq!(kind(builder().module("a/b")), ErrorKind::InvalidInput);
    assert_eq!(kind(builder().gateway_host("a b")), ErrorKind::InvalidInput);
    assert_eq!(kind(builder().keep_alive(Duration::from_secs(1178))), ErrorKind::InvalidInput);
    assert_eq!(kind(builder().max_concurrent_methods(0)), ErrorKind::InvalidInput);
    let narrow = crate::OfflinePolicy::queue(1, 1000);
    assert_eq!(kind(builder().offline(narrow)), ErrorKind::InvalidInput);
    assert_eq!(kind(builder().token_ttl(Duration::ZERO)), ErrorKind::InvalidInput);
    assert_eq!(kind(builder().root_certificates_only("/etc/ca.pem")), ErrorKind::InvalidInput);
    assert_eq!(kind(builder().additional_root_certificates("/etc/ca.pem")), ErrorKind::InvalidInput);
    assert!(builder().additional_root_certificates(pem.clone()).build().is_ok());
    let text = format!("HostName=h;DeviceId=d;SharedAccessKeyName=p;SharedAccessKey={KEY}");
    let error = DeviceClient::from_connection_string(&text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!format!("{error} {error:?}").contains(KEY));
}
