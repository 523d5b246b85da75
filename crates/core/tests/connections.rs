//! The connection table: who holds a device, and how each call ends, whatever happens to the connection.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ferrohub_core::connections::{
    Answer, CallEnd, CloseReason, Connection, Connections, Credential, DesiredNotice, MethodReply, Outgoing,
    OutgoingCall, OutgoingMethod,
};
use ferrohub_core::registry::{Authentication, Identity};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_model::device::Status;
use ferrohub_model::method::MethodName;
use ferrohub_model::{IdentityId, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;

type CallResult = Result<MethodReply, CallEnd>;

fn device() -> IdentityId {
    IdentityId::parse("device").unwrap()
}

/// A new connection of the device; it listens for methods if told so.
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
            connect_deadline: Instant::now() + Duration::from_secs(connect_seconds),
            response_timeout: Duration::from_secs(30),
        };
        table.call(&device(), call).await
    })
}

/// The next request that leaves on this connection.
async fn next_request(connection: &Connection) -> OutgoingMethod {
    match poll_fn(|cx| connection.poll_outgoing(cx)).await {
        Outgoing::Method(method) => method,
        other => panic!("not a call: {other:?}"),
    }
}

fn reply(text: &'static str) -> MethodReply {
    MethodReply { status: 200, payload: Bytes::from_static(text.as_bytes()) }
}

/// Lets everything that is ready run.
async fn run_ready_tasks() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_takeover_ends_calls_that_were_sent_and_moves_those_that_were_not() {
    let table = table();
    let old = connection(true);
    assert!(table.attach(&old, true).is_none());
    let told = call(&table, 0);
    let first = next_request(&old).await;
    let untold = call(&table, 10);
    run_ready_tasks().await;
    let new = connection(true);
    assert!(Arc::ptr_eq(&table.attach(&new, true).unwrap(), &old));
    assert_eq!(told.await.unwrap(), Err(CallEnd::TakenOver));
    let moved = next_request(&new).await;
    assert_eq!(new.answer(first.request_id, reply("late")), Answer::NoSuchCall);
    assert_eq!(new.answer(moved.request_id, reply("1")), Answer::Delivered);
    assert_eq!(untold.await.unwrap(), Ok(reply("1")));
    assert_eq!(table.count(), 1);
    assert!(matches!(
        poll_fn(|cx| Poll::Ready(old.poll_outgoing(cx))).await,
        Poll::Ready(Outgoing::Close(CloseReason::TakenOver))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_says_goodbye_answers_on_its_next_connection() {
    let table = table();
    let mut current = connection(true);
    table.attach(&current, true);
    let waiting = call(&table, 0);
    let request = next_request(&current).await;
    // Twice, as when a token is renewed twice during one long call.
    for _ in 0..2 {
        assert!(table.detach(&current, CloseReason::ClientDisconnect), "a call is left");
        let next = connection(true);
        assert!(table.attach(&next, true).is_none());
        table.expire_inherited(&current);
        current = next;
    }
    run_ready_tasks().await;
    assert!(!waiting.is_finished());
    assert_eq!(current.answer(request.request_id, reply("here")), Answer::Delivered);
    assert_eq!(current.answer(request.request_id, reply("here")), Answer::NoSuchCall);
    assert_eq!(waiting.await.unwrap(), Ok(reply("here")));
    assert!(!table.detach(&current, CloseReason::ClientDisconnect), "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_device_that_does_not_come_back_end() {
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
async fn what_was_left_ends_with_a_clean_start_a_deletion_or_the_next_loss() {
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
            "deletion" => table.close(&device(), CloseReason::Deleted),
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
async fn a_call_waits_for_the_device_to_come_and_to_listen() {
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
    assert!(!waiting.is_finished(), "connected, but it does not listen yet");
    table.set_session(&device, Session::default().with(Subscription::Methods, true));
    let request = next_request(&device).await;
    device.answer(request.request_id, reply("0"));
    assert_eq!(waiting.await.unwrap(), Ok(reply("0")));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_when_the_device_stops_listening_waits_for_it_to_listen_again() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    let told = call(&table, 5);
    let first = next_request(&device).await;
    let (waits, gives_up) = (call(&table, 5), call(&table, 0));
    run_ready_tasks().await;
    table.set_session(&device, Session::default());
    assert_eq!(gives_up.await.unwrap(), Err(CallEnd::NotOnline));
    let nothing = poll_fn(|cx| Poll::Ready(device.poll_outgoing(cx))).await;
    assert!(nothing.is_pending(), "no request after the device said that it listens no more: {nothing:?}");
    assert_eq!(device.answer(first.request_id, reply("1")), Answer::Delivered);
    assert_eq!(told.await.unwrap(), Ok(reply("1")));
    table.set_session(&device, Session::default().with(Subscription::Methods, false));
    let second = next_request(&device).await;
    device.answer(second.request_id, reply("2"));
    assert_eq!(waits.await.unwrap(), Ok(reply("2")));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_leaves_no_trace() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    let hung_up = call(&table, 0);
    let request = next_request(&device).await;
    hung_up.abort();
    assert!(hung_up.await.unwrap_err().is_cancelled());
    assert_eq!(device.answer(request.request_id, reply("0")), Answer::NoSuchCall);
    let too_slow = call(&table, 0);
    let request = next_request(&device).await;
    assert_eq!(too_slow.await.unwrap(), Err(CallEnd::TimedOut));
    assert_eq!(device.answer(request.request_id, reply("0")), Answer::NoSuchCall);
}

#[tokio::test(start_paused = true)]
async fn a_device_has_only_so_many_calls() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    let calls: Vec<_> = (0..8).map(|_| call(&table, 0)).collect();
    run_ready_tasks().await;
    assert_eq!(call(&table, 0).await.unwrap(), Err(CallEnd::TooManyInFlight));
    for _ in &calls {
        let request = next_request(&device).await;
        assert_eq!(device.answer(request.request_id, reply("0")), Answer::Delivered);
    }
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

/// What leaves on this connection now, as words.
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
async fn a_device_is_told_what_it_asked_for_and_nothing_old() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    device.notify_desired(notice(2));
    assert_eq!(outgoing(&device).await, "nothing", "it does not listen");
    let listening = device.session().with(Subscription::DesiredProperties, true);
    table.set_session(&device, listening);
    device.notify_desired(notice(3));
    device.notify_desired(notice(4));
    device.mark_desired_read(3);
    assert_eq!(outgoing(&device).await, "version 4");
    device.notify_desired(notice(4));
    assert_eq!(outgoing(&device).await, "nothing");
    device.notify_desired(notice(5));
    table.set_session(&device, listening.without(Subscription::DesiredProperties));
    assert_eq!(outgoing(&device).await, "nothing", "it does not listen any more");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_take_its_notices_is_disconnected() {
    let table = table();
    let device = connection(true);
    table.attach(&device, true);
    table.set_session(&device, device.session().with(Subscription::DesiredProperties, true));
    (2..34).for_each(|version| device.notify_desired(notice(version)));
    assert_eq!(device.close_reason(), None);
    device.notify_desired(notice(34));
    assert_eq!(device.close_reason(), Some(CloseReason::SlowReader));
}
