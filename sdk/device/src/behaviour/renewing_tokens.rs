//! Tokens are renewed without losing a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrohub_model::{SharedAccessKey, Timestamp, sas};
use ferrohub_mqtt::Refusal;
use ferrohub_mqtt::server::Event;
use tokio::time::{Instant, sleep};

use super::fake_hub::{FakeHub, KEY, Peer};
use crate::{
    AccessToken, BoxError, ConnectionStatus, DeviceClient, DisconnectReason, ErrorKind, MethodRequest,
    MethodResponse, token_fn,
};

/// A client with tokens of 100 s: renewed from 85 s on, by 96.25 s at the latest.
async fn connected(hub: &mut FakeHub) -> (DeviceClient, Peer) {
    let client = hub.client_with(|b| b.token_ttl(Duration::from_secs(100)));
    client.on_method("wait", |request: MethodRequest| async move {
        sleep(Duration::from_secs(request.payload_as().unwrap())).await;
        MethodResponse::new(200)
    });
    let peer = hub.connected(&client).await;
    (client, peer)
}

/// Accepts the next connection and closes the old one, as a hub does.
async fn take_over(hub: &mut FakeHub, old: Peer) -> Peer {
    let (mut peer, _) = hub.connect().await;
    drop(old);
    peer.accept(true).await;
    peer.take_subscribe().await;
    peer
}

#[tokio::test(start_paused = true)]
async fn the_next_connection_takes_over_in_a_quiet_moment() {
    let mut hub = FakeHub::new();
    let (client, mut old) = connected(&mut hub).await;
    let status = client.status();
    let since = Instant::now();
    old.take_unsubscribe().await;
    assert!((84..=86).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    let mut peer = take_over(&mut hub, old).await;
    peer.call("1", "wait", "1").await;
    assert!(peer.next_response().await.is("1", 200, "null"));
    assert!(status.current().is_connected());
    // A second renewal.
    peer.take_unsubscribe().await;
    assert!((168..=174).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    let mut peer = take_over(&mut hub, peer).await;
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await);
    assert!(!matches!(status.current(), ConnectionStatus::WaitingToReconnect { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_waits_for_a_running_handler() {
    let mut hub = FakeHub::new();
    let (_client, mut old) = connected(&mut hub).await;
    let since = Instant::now();
    assert!(old.is_quiet_for(Duration::from_secs(80)).await);
    old.call("1", "wait", "8").await;
    assert!(old.next_response().await.is("1", 200, "null"));
    assert_eq!(since.elapsed().as_secs(), 88);
    old.take_unsubscribe().await;
    assert!((88..=90).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    take_over(&mut hub, old).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_crosses_unsubscribe_is_served() {
    let mut hub = FakeHub::new();
    let (_client, mut old) = connected(&mut hub).await;
    let Event::Unsubscribe(unsubscribe) = old.next().await else { panic!() };
    // Short enough: answered before the takeover.
    old.call("1", "wait", "0").await;
    assert!(old.next_response().await.is("1", 200, "null"));
    old.unsuback(unsubscribe.packet_id).await;
    let mut peer = take_over(&mut hub, old).await;

    // Too long: the device subscribes again, and renews after the call.
    let Event::Unsubscribe(unsubscribe) = peer.next().await else { panic!() };
    peer.call("2", "wait", "3").await;
    peer.unsuback(unsubscribe.packet_id).await;
    peer.take_subscribe().await;
    peer.call("3", "wait", "0").await;
    assert!(peer.next_response().await.is("3", 200, "null"));
    assert!(peer.next_response().await.is("2", 200, "null"));
    peer.take_unsubscribe().await;
    // The connection that was opened for the first attempt.
    drop(hub.incoming().await);
    take_over(&mut hub, peer).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_quiet_moment_the_renewal_happens_in_time() {
    let mut hub = FakeHub::new();
    let (_client, mut old) = connected(&mut hub).await;
    let since = Instant::now();
    assert!(old.is_quiet_for(Duration::from_secs(80)).await);
    old.call("1", "wait", "60").await;
    let old = tokio::spawn(async move {
        while let Some(event) = old.try_next().await {
            match event {
                Event::Unsubscribe(unsubscribe) => old.unsuback(unsubscribe.packet_id).await,
                Event::Subscribe(subscribe) => old.suback(subscribe.packet_id).await,
                event => panic!("{event:?}"),
            }
        }
    });
    // The connections before were opened for a quiet moment that did not come.
    let (mut peer, connect) = loop {
        let mut peer = hub.incoming().await;
        match peer.try_next().await {
            Some(Event::Connect(connect)) => break (peer, connect),
            Some(event) => panic!("{event:?}"),
            None => {}
        }
    };
    assert!((95..=98).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    assert!(connect.password.is_some());
    peer.accept(true).await;
    peer.take_subscribe().await;
    assert!(peer.is_quiet_for(Duration::from_secs(60)).await, "the cut call's answer goes nowhere");
    old.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_renewal_keeps_the_old_connection() {
    let mut hub = FakeHub::new();
    let (client, mut old) = connected(&mut hub).await;
    let mut refusals = 0;
    while refusals < 2 {
        old.take_unsubscribe().await;
        hub.refuse(Refusal::NotAuthorized).await;
        old.take_subscribe().await;
        old.call("1", "wait", "0").await;
        assert!(old.next_response().await.is("1", 200, "null"));
        refusals += 1;
    }
    assert!(client.status().current().is_connected());
    old.take_unsubscribe().await;
    take_over(&mut hub, old).await;
}

fn token(lifetime: Duration) -> String {
    let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + lifetime;
    let key = SharedAccessKey::from_base64(KEY).unwrap();
    sas::sign("hub.test/devices/d1", &key, None, Timestamp::from_unix_millis(expiry.as_millis() as i64))
}

#[tokio::test(start_paused = true)]
async fn a_token_credential_is_asked_for_each_connection() {
    let mut hub = FakeHub::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let client = hub.client_with(|b| {
        b.token_credential(token_fn(move || {
            let count = counter.fetch_add(1, Ordering::Relaxed);
            async move {
                match count {
                    1 => Err(BoxError::from("the vault is closed")),
                    _ => Ok(AccessToken::from_sas_token(token(Duration::from_secs(100)))?),
                }
            }
        }))
    });
    let mut old = hub.connected(&client).await;
    old.take_unsubscribe().await;
    assert_eq!(asked.load(Ordering::Relaxed), 3, "one failure in between");
    drop(take_over(&mut hub, old).await);
    hub.connect().await;
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_token_is_used_until_it_expires() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.sas_token(token(Duration::from_secs(2))));
    let mut peer = hub.connected(&client).await;
    assert!(peer.is_quiet_for(Duration::from_secs(3600)).await);
    // Tokens expire by the system clock, which a test cannot set.
    std::thread::sleep(Duration::from_millis(2100));
    drop(peer);
    let ended = client
        .status()
        .wait_for(|status| matches!(status, ConnectionStatus::Disconnected { .. }))
        .await
        .unwrap();
    let ConnectionStatus::Disconnected { reason: DisconnectReason::Failed(error) } = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}
