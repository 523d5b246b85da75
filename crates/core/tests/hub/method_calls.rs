//! When method calls end: grace after a disconnect, connect time-out, response time-out, takeover.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use ferrohub_core::ConnectedDevice;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::methods::MethodCall;
use ferrohub_core::node::{Answer, MethodReply, Outgoing, RequestId};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_model::method::MethodName;
use ferrohub_model::{ErrorCode, HubError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::test_hub::{TestHub, id, pass, run_ready_tasks, seconds};

/// A call that a service waits for. Also returns how long it took.
type Call = JoinHandle<(Result<MethodReply, HubError>, Duration)>;

async fn call(hub: &TestHub, connect_timeout: u32) -> Call {
    let service = hub.service().await;
    let call = MethodCall {
        name: MethodName::new("reboot").unwrap(),
        payload: None,
        response_timeout: 30,
        connect_timeout,
    };
    let task = tokio::spawn(async move {
        let began = Instant::now();
        let reply = service.invoke_method(&id("d"), call).await;
        (reply, began.elapsed())
    });
    run_ready_tasks().await;
    task
}

async fn listen(device: &ConnectedDevice) {
    let session = Session::default().with(Subscription::Methods, false);
    device.set_session(session, true).await.unwrap();
}

async fn next_request(device: &ConnectedDevice) -> RequestId {
    loop {
        match poll_fn(|cx| device.connection().poll_outgoing(cx)).await {
            Outgoing::Method(method) => return method.request_id,
            Outgoing::Messages => {}
            other => panic!("not a call: {other:?}"),
        }
    }
}

fn answer(device: &ConnectedDevice, request: RequestId) -> Answer {
    device.answer_method(request, Ok(MethodReply { status: 200, payload: Bytes::from_static(b"1") }))
}

async fn refusal(call: Call) -> (ErrorCode, Duration) {
    let (reply, took) = call.await.unwrap();
    (reply.unwrap_err().code, took)
}

/// A hub with the device `d`, which is connected and listens for methods.
async fn hub_with_listener() -> (TestHub, ConnectedDevice) {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let device = hub.connect("d").await;
    listen(&device).await;
    (hub, device)
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_the_grace_after_a_disconnect_is_over() {
    let (hub, device) = hub_with_listener().await;
    let call = call(&hub, 0).await;
    next_request(&device).await;
    pass(seconds(2)).await;
    device.disconnected(CloseReason::ClientDisconnect).await;
    assert_eq!(refusal(call).await, (ErrorCode::DeviceNotOnline, seconds(2 + 5)));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_reconnects_within_the_grace_answers_on_its_new_connection() {
    let (hub, device) = hub_with_listener().await;
    let call = call(&hub, 0).await;
    let request = next_request(&device).await;
    device.disconnected(CloseReason::ClientDisconnect).await;
    pass(Duration::from_millis(4999)).await;
    let device = hub.connect("d").await;
    pass(seconds(10)).await;
    assert_eq!(answer(&device, request), Answer::Delivered);
    assert_eq!(call.await.unwrap().0.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_forgets_its_session_within_the_grace_ends_its_calls() {
    let (hub, device) = hub_with_listener().await;
    let call = call(&hub, 0).await;
    let request = next_request(&device).await;
    device.disconnected(CloseReason::ClientDisconnect).await;
    pass(seconds(1)).await;
    let device = hub.connect_clean("d").await;
    assert_eq!(refusal(call).await, (ErrorCode::DeviceNotOnline, seconds(1)));
    assert_eq!(answer(&device, request), Answer::NoSuchCall);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_and_a_takeover_end_sent_calls_at_once() {
    let (hub, device) = hub_with_listener().await;
    let lost = call(&hub, 0).await;
    next_request(&device).await;
    device.disconnected(CloseReason::Lost).await;
    assert_eq!(refusal(lost).await, (ErrorCode::DeviceNotOnline, seconds(0)));
    let old = hub.connect("d").await;
    let taken_over = call(&hub, 0).await;
    next_request(&old).await;
    let new = hub.connect("d").await;
    let expected = ErrorCode::ConnectionForcefullyClosedOnNewConnection;
    assert_eq!(refusal(taken_over).await, (expected, seconds(0)));
    assert_eq!(old.connection().close_reason(), Some(CloseReason::TakenOver));
    let call = call(&hub, 0).await;
    let request = next_request(&new).await;
    assert_eq!(answer(&old, request), Answer::NoSuchCall, "the old connection answers for nobody");
    assert_eq!(answer(&new, request), Answer::Delivered);
    call.await.unwrap().0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_the_device_until_the_connect_time_out() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    assert_eq!(refusal(call(&hub, 0).await).await, (ErrorCode::DeviceNotOnline, seconds(0)));
    assert_eq!(refusal(call(&hub, 300).await).await, (ErrorCode::DeviceNotOnline, seconds(300)));
    let patient = call(&hub, 300).await;
    pass(seconds(100)).await;
    let device = hub.connect("d").await;
    pass(seconds(100)).await;
    assert!(!patient.is_finished(), "connected, but not subscribed");
    listen(&device).await;
    let request = next_request(&device).await;
    answer(&device, request);
    let (reply, took) = patient.await.unwrap();
    assert_eq!((reply.unwrap().status, took), (200, seconds(200)));
}

#[tokio::test(start_paused = true)]
async fn a_response_after_the_time_out_does_not_affect_other_calls() {
    let (hub, device) = hub_with_listener().await;
    let late = call(&hub, 0).await;
    let late_request = next_request(&device).await;
    pass(seconds(20)).await;
    let other = call(&hub, 0).await;
    let other_request = next_request(&device).await;
    assert_eq!(refusal(late).await, (ErrorCode::GatewayTimeout, seconds(30)));
    assert_eq!(answer(&device, late_request), Answer::NoSuchCall);
    pass(seconds(10)).await;
    assert!(!other.is_finished());
    assert_eq!(answer(&device, other_request), Answer::Delivered);
    assert_eq!(other.await.unwrap().0.unwrap().status, 200);
    // A call that takes the place of one that has ended is not answered by its response.
    let next = call(&hub, 0).await;
    let request = next_request(&device).await;
    for old in [late_request, other_request] {
        assert_eq!(answer(&device, old), Answer::NoSuchCall);
    }
    assert!(!next.is_finished());
    assert_eq!(answer(&device, request), Answer::Delivered);
}
