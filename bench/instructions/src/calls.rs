//! A method call through `ferrohub-core`: accepted, passed to the connection of the device, answered.

use std::future::poll_fn;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use ferrohub_core::Operation;
use ferrohub_core::auth::Credential;
use ferrohub_core::methods::MethodCall;
use ferrohub_core::node::{Answer, Connection, MethodReply, Outgoing};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_model::method::MethodName;
use ferrohub_model::sas;

use crate::hub::{self, Started};

/// Runs method calls. Sockets, TLS, HTTP and MQTT are not included.
pub(crate) fn method_call(count: u32) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let Started { hub, connections, key, device } = hub::start().await?;
        let token = sas::sign("localhost", &key, Some(hub::POLICY), hub::LATER);
        let authenticated = hub.authenticate_service(Some(&token), Operation::InvokeMethod).await;
        let service = authenticated.ok().context("refused")?;
        let session = Session::default().with(Subscription::Methods, false);
        let connection = Arc::new(Connection::new(&device, Credential::Thumbprint, None, session, hub::NOW));
        connections.attach(&connection, false);
        let answering = tokio::spawn(async move {
            loop {
                let Outgoing::Method(method) = poll_fn(|cx| connection.poll_outgoing(cx)).await else {
                    return;
                };
                let payload = method.payload.unwrap_or_default();
                let answer = connection.answer(method.request_id, Ok(MethodReply { status: 200, payload }));
                assert_eq!(answer, Answer::Delivered);
            }
        });
        let payload = Bytes::from(format!("\"{}\"", "x".repeat(126)));
        for _ in 0..count {
            let call = MethodCall {
                name: MethodName::new("echo")?,
                payload: Some(payload.clone()),
                response_timeout: 30,
                connect_timeout: 0,
            };
            let reply = service.invoke_method(&device.id, call).await.ok().context("no response")?;
            ensure!(reply.status == 200, "unexpected status");
        }
        answering.abort();
        Ok(())
    })
}
