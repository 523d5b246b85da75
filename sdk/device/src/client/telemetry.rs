//! Device-to-cloud events.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::DeviceClient;
use crate::error::{Error, ErrorKind};
use crate::telemetry::Event;
use crate::telemetry::QueuedEvent;

/// How many events `send_events` tracks at once.
const MAX_IN_FLIGHT: usize = 1024;

impl DeviceClient {
    /// Sends an event, and returns when the hub has acknowledged it. An event that is sent
    /// [at most once](Event::at_most_once) is not acknowledged: returns when it is sent.
    ///
    /// Events are sent in the order of the calls. [`Builder::offline`](crate::Builder::offline) decides what happens
    /// without a connection; by default events are queued. The event is queued at the first poll of the future:
    /// dropping the future later does not cancel it.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, Event};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// client.send_event(Event::json(&serde_json::json!({ "temperature": 24.5 }))?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// * [`ErrorKind::TooLarge`] if the event exceeds 256 KiB; [`ErrorKind::InvalidInput`] for a property that cannot
    ///   be sent.
    /// * [`ErrorKind::QueueFull`].
    /// * [`ErrorKind::Rejected`] if the hub closed the connection ten times in a row after the event was sent. MQTT
    ///   3.1.1 has no other way to refuse a message.
    /// * With [`OfflinePolicy::Fail`](crate::OfflinePolicy::Fail): [`ErrorKind::Offline`], or [`ErrorKind::Connection`]
    ///   if it is unknown whether the hub received the event.
    /// * If the client ends first: the error that ended it, or [`ErrorKind::Closed`] after
    ///   [`disconnect`](Self::disconnect).
    pub async fn send_event(&self, event: Event) -> Result<(), Error> {
        wait_for_delivery(self.enqueue(event)?).await
    }

    /// Sends events without waiting for each, and returns when the hub has acknowledged all of them. If they fill the
    /// queue, waits for space in it.
    ///
    /// # Errors
    /// As [`send_event`](Self::send_event), for the first event that fails. The events before it were sent; those after
    /// it may have been sent.
    pub async fn send_events(&self, events: impl IntoIterator<Item = Event>) -> Result<(), Error> {
        let mut in_flight = VecDeque::new();
        for event in events {
            if in_flight.len() >= MAX_IN_FLIGHT
                && let Some(oldest) = in_flight.pop_front()
            {
                wait_for_delivery(oldest).await?;
            }
            loop {
                match self.enqueue(event.clone()) {
                    Ok(sent) => {
                        in_flight.push_back(sent);
                        break;
                    }
                    Err(error) if error.kind() == ErrorKind::QueueFull => match in_flight.pop_front() {
                        Some(oldest) => wait_for_delivery(oldest).await?,
                        None => return Err(error),
                    },
                    Err(error) => return Err(error),
                }
            }
        }
        for sent in in_flight {
            wait_for_delivery(sent).await?;
        }
        Ok(())
    }

    fn enqueue(&self, event: Event) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let shared = &self.inner.shared;
        let (topic, qos, body) = event.into_publish(&shared.config.identity)?;
        let (delivered, sent) = oneshot::channel();
        shared.event_queue.push(QueuedEvent { topic, qos, body, delivered })?;
        shared.wake.notify_one();
        Ok(sent)
    }
}

async fn wait_for_delivery(sent: oneshot::Receiver<Result<(), Error>>) -> Result<(), Error> {
    sent.await.unwrap_or_else(|_| Err(Error::closed()))
}
