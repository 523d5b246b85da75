//! The connection table: takeover, and how each method call ends when its connection changes or ends.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ferrohub_core::auth::Credential;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::node::{
    Answer, CallEnd, Connection, Connections, DesiredNotice, MethodReply, Outgoing, OutgoingCall,
    OutgoingMethod, Selector,
};
use ferrohub_core::registry::{Authentication, Identity};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_model::device::Status;
use ferrohub_model::method::MethodName;
use ferrohub_model::{IdentityId, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::timeout;

type CallResult = Result<MethodReply, CallEnd>;

fn device() -> IdentityId {
    IdentityId::parse("device").unwrap()
}

/// Creates a connection of the device, with a subscription to methods if `listens`.
fn connection(listens: bool) -> Arc<Connection> {
    let now = Timestamp::from_unix_millis(0);
    let identity = Identity {
        id: device(),
        generation_id: "1".to_owned(),
        etag: "e".to_owned(),
        status: Status::Enabled,
        status_reason: None,
        status_updated: now,
        authentication: Authentication::None,
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        managed_by: None,
        connection_state_updated: now,
        last_activity: now,
        messages: 0,
    };
    let session =
        if listens { Session::default().with(Subscription::Methods, false) } else { Session::default() };
    Arc::new(Connection::new(&identity, Credential::Thumbprint, None, session, now))
}

fn table() -> Arc<Connections> {
    Arc::new(Connections::new(8))
}

fn call(table: &Arc<Connections>, connect_seconds: u64) -> JoinHandle<CallResult> {
    let table = table.clone();
    tokio::spawn(async move {
        let call = OutgoingCall {
            name: MethodName::new("reboot").unwrap(),
            payload: None,
            connect_timeout: Duration::from_secs(connect_seconds),
            response_timeout: Duration::from_secs(30),
        };
        table.call(&device(), call).await
    })
}

/// Returns the next request to send on this connection.
async fn next_request(connection: &Connection) -> OutgoingMethod {
    match poll_fn(|cx| connection.poll_outgoing(cx)).await {
        Outgoing::Method(method) => method,
        other => panic!("not a call: {other:?}"),
    }
}

fn reply(text: &'static str) -> MethodReply {
    MethodReply { status: 200, payload: Bytes::from_static(text.as_bytes()) }
}

/// Runs all ready tasks.
async fn run_ready_tasks() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_takeover_ends_sent_calls_and_moves_unsent_calls() {
    let table = table();
    let old = connection(true);
    assert!(table.attach(&old, true).is_none());
    let sent = call(&table, 0);
    let first = next_request(&old).await;
    let unsent = call(&table, 10);
    run_ready_tasks().await;
    let new = connection(true);
    assert!(Arc::ptr_eq(&table.attach(&new, true).unwrap(), &old));
    assert_eq!(sent.await.unwrap(), Err(CallEnd::TakenOver));
    let moved = next_request(&new).await;
    assert_eq!(new.answer(first.request_id, Ok(reply("late"))), Answer::NoSuchCall);
    assert_eq!(new.answer(moved.request_id, Ok(reply("1"))), Answer::Delivered);
    assert_eq!(unsent.await.unwrap(), Ok(reply("1")));
    assert_eq!(table.count(), 1);
    assert!(matches!(
        poll_fn(|cx| Poll::Ready(old.poll_outgoing(cx))).await,
        Poll::Ready(Outgoing::Close(CloseReason::TakenOver))
    ));
}

#[tokio::test(start_paused = true)]
async fn after_a_clean_disconnect_a_device_may_answer_on_its_next_connection() {
    let table = table();
    let mut current = connection(true);
    table.attach(&current, true);
    let waiting = call(&table, 0);
    let request = next_request(&current).await;
    // Reconnects twice, as when a token is renewed twice during one long call.
    for _ in 0..2 {
        assert!(table.detach(&current, CloseReason::ClientDisconnect), "a call is in flight");
        let next = connection(true);
        assert!(table.attach(&next, true).is_none());
        table.expire_inherited(&current);
        current = next;
    }
    run_ready_tasks().await;
    assert!(!waiting.is_finished());
    assert_eq!(current.answer(request.request_id, Ok(reply("here"))), Answer::Delivered);
    assert_eq!(current.answer(request.request_id, Ok(reply("here"))), Answer::NoSuchCall);
    assert_eq!(waiting.await.unwrap(), Ok(reply("here")));
    assert!(!table.detach(&current, CloseReason::ClientDisconnect), "no call is in flight");
}

#[tokio::test(start_paused = true)]
async fn calls_end_if_the_device_does_not_reconnect_in_time() {
    let table = table();
    let gone = connection(true);
    table.attach(&gone, true);
    let waiting = call(&table, 0);
    next_request(&gone).await;
    assert!(table.detach(&gone, CloseReason::ClientDisconnect));
    run_ready_tasks().await;
    assert!(!waiting.is_finished());
    table.expire_inherited(&gone);
    assert_eq!(waiting.await.unwrap(), Err(CallEnd::Disconnected));
    assert_eq!(table.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_left_in_flight_end_on_a_clean_start_a_deletion_or_a_lost_connection() {
    for case in ["clean start", "deletion", "loss"] {
        let table = table();
        let first = connection(true);
        table.attach(&first, true);
        let waiting = call(&table, 0);
        next_request(&first).await;
        assert!(table.detach(&first, CloseReason::ClientDisconnect));
        let second = connection(true);
        match case {
            "clean start" => drop(table.attach(&second, false)),
            "deletion" => table.disconnect(&Selector::with_modules(&device()), CloseReason::Deleted),
            _ => {
                table.attach(&second, true);
                table.detach(&second, CloseReason::Lost);
            }
        }
        assert_eq!(waiting.await.unwrap(), Err(CallEnd::Disconnected), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_its_calls_at_once() {
    let table = table();
    let lost = connection(true);
    table.attach(&lost, true);
    let waiting = call(&table, 0);
    next_request(&lost).await;
    assert!(!table.detach(&lost, CloseReason::Lost));
    assert_eq!(waiting.await.unwrap(), Err(CallEnd::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_until_the_device_is_connected_and_subscribed() {
    let table = table();
    let offline = call(&table, 0);
    assert_eq!(offline.await.unwrap(), Err(CallEnd::NotOnline));
    let began = Instant::now();
    let too_late = call(&table, 5);
    assert_eq!(too_late.await.unwrap(), Err(CallEnd::NotOnline));
    assert_eq!(began.elapsed().as_secs(), 5);

    let waiting = call(&table, 5);
    run_ready_tasks().await;
    let device = connection(false);
    table.attach(&device, true);
    run_ready_tasks().await;
    assert!(!waiting.is_finished(), "connected, but not subscribed yet");
    table.set_session(&device, Session::default().with(Subscription::Methods, true));
    let request = next_request(&device).await;
    device.answer(request.request_id, Ok(reply("0")));
    assert_eq!(waiting.await.unwrap(), Ok(reply("0")));
}

#[tokio::test(start_paused = true)]
async fn an_unsent_call_waits_for_a_new_subscription_after_an_unsubscribe() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    let sent = call(&table, 5);
    let first = next_request(&device).await;
    let (patient, impatient) = (call(&table, 5), call(&table, 0));
    run_ready_tasks().await;
    table.set_session(&device, Session::default());
    assert_eq!(impatient.await.unwrap(), Err(CallEnd::NotOnline));
    let nothing = poll_fn(|cx| Poll::Ready(device.poll_outgoing(cx))).await;
    assert!(nothing.is_pending(), "a request after the device unsubscribed: {nothing:?}");
    assert_eq!(device.answer(first.request_id, Ok(reply("1"))), Answer::Delivered);
    assert_eq!(sent.await.unwrap(), Ok(reply("1")));
    table.set_session(&device, Session::default().with(Subscription::Methods, false));
    let second = next_request(&device).await;
    device.answer(second.request_id, Ok(reply("2")));
    assert_eq!(patient.await.unwrap(), Ok(reply("2")));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_or_timed_out_call_is_removed() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    let cancelled = call(&table, 0);
    let request = next_request(&device).await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    assert_eq!(device.answer(request.request_id, Ok(reply("0"))), Answer::NoSuchCall);
    let timed_out = call(&table, 0);
    let request = next_request(&device).await;
    assert_eq!(timed_out.await.unwrap(), Err(CallEnd::TimedOut));
    assert_eq!(device.answer(request.request_id, Ok(reply("0"))), Answer::NoSuchCall);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_calls_in_flight_is_limited_per_device() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    let calls: Vec<_> = (0..8).map(|_| call(&table, 0)).collect();
    run_ready_tasks().await;
    assert_eq!(call(&table, 0).await.unwrap(), Err(CallEnd::TooManyInFlight));
    for _ in &calls {
        let request = next_request(&device).await;
        assert_eq!(device.answer(request.request_id, Ok(reply("0"))), Answer::Delivered);
    }
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

/// Describes the next instruction of this connection.
async fn outgoing(connection: &Connection) -> String {
    match poll_fn(|cx| Poll::Ready(connection.poll_outgoing(cx))).await {
        Poll::Pending => "nothing".to_owned(),
        Poll::Ready(Outgoing::Desired(notice)) => format!("version {}", notice.version),
        Poll::Ready(other) => format!("{other:?}"),
    }
}

fn notice(version: u64) -> DesiredNotice {
    DesiredNotice { version, patch: Bytes::from_static(b"{}") }
}

#[tokio::test(start_paused = true)]
async fn a_subscribed_device_gets_notices_of_new_versions_only() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    table.notify_desired(&device.id, notice(2));
    assert_eq!(outgoing(&device).await, "nothing", "not subscribed");
    let listening = device.session().with(Subscription::DesiredProperties, true);
    table.set_session(&device, listening);
    table.notify_desired(&device.id, notice(3));
    table.notify_desired(&device.id, notice(4));
    table.mark_desired_read(&device, 3);
    assert_eq!(outgoing(&device).await, "version 4");
    table.notify_desired(&device.id, notice(4));
    assert_eq!(outgoing(&device).await, "nothing");
    table.notify_desired(&device.id, notice(5));
    table.set_session(&device, listening.without(Subscription::DesiredProperties));
    assert_eq!(outgoing(&device).await, "nothing", "no longer subscribed");
}

#[tokio::test(start_paused = true)]
async fn only_a_notice_that_does_not_come_in_time_is_lost() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    table.set_session(&device, device.session().with(Subscription::DesiredProperties, true));
    let notify = |versions: &[u64]| {
        versions.iter().for_each(|version| table.notify_desired(&device.id, notice(*version)));
    };
    let gap = async || timeout(Duration::from_secs(60), table.next_desired_gap()).await.ok();
    notify(&[2, 4, 3]);
    assert!(gap().await.is_none(), "it came in time");
    notify(&[5, 7]);
    table.mark_desired_read(&device, 6);
    assert!(gap().await.is_none(), "the device has read its twin");
    table.notify_desired(&device.id, notice(9));
    assert!(Arc::ptr_eq(&gap().await.unwrap(), &device));
    let closed = connection(true);
    table.attach(&closed, true);
    table.set_session(&closed, closed.session().with(Subscription::DesiredProperties, true));
    notify(&[2, 4]);
    closed.close(CloseReason::Lost);
    assert!(gap().await.is_none(), "the connection has ended");
    let reading = connection(true);
    table.attach(&reading, true);
    table.set_session(&reading, reading.session().with(Subscription::DesiredProperties, true));
    notify(&[8]);
    table.mark_desired_read(&reading, 5);
    assert!(Arc::ptr_eq(&gap().await.unwrap(), &reading), "version 6 follows the one that it has read");
}

#[tokio::test(start_paused = true)]
async fn a_device_with_too_many_pending_notices_is_disconnected() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    table.set_session(&device, device.session().with(Subscription::DesiredProperties, true));
    (2..34).for_each(|version| table.notify_desired(&device.id, notice(version)));
    assert_eq!(device.close_reason(), None);
    table.notify_desired(&device.id, notice(34));
    assert_eq!(device.close_reason(), Some(CloseReason::SlowReader));
    // The device is not to blame if they wait for one that is missing.
    let device = connection(true);
    table.attach(&device, true);
    table.set_session(&device, device.session().with(Subscription::DesiredProperties, true));
    table.mark_desired_read(&device, 1);
    (3..36).for_each(|version| table.notify_desired(&device.id, notice(version)));
    assert_eq!(device.close_reason(), Some(CloseReason::MissedTwinChange));
}
