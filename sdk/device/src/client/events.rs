//! Events to the cloud.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::DeviceClient;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::event_queue::QueuedEvent;

/// How many events `send_events` follows at once.
const MAX_IN_FLIGHT: usize = 1024;

impl DeviceClient {
    /// Sends an event, and returns once the hub has it; one that is sent [at most once](Event::at_most_once), once it
    /// is on its way.
    ///
    /// Events are sent in the order in which this is called. What happens without a connection says
    /// [`Builder::offline`](crate::Builder::offline); by default they wait. As soon as the future is polled, the event
    /// is in the queue: dropping the future gives up the wait and not the event.
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
    /// [`ErrorKind::InvalidPayload`] if it is too large, [`ErrorKind::InvalidInput`] for a property that cannot be
    /// sent. [`ErrorKind::QueueFull`]. [`ErrorKind::Rejected`] if the hub closed the connection ten times in a row
    /// because of the event, as it seems: MQTT has no other way to say no. With
    /// [`OfflinePolicy::Fail`](crate::OfflinePolicy::Fail): [`ErrorKind::Offline`], or [`ErrorKind::Connection`] if it is
    /// not known whether the hub has it. If the client ends first: why it ended, [`ErrorKind::Closed`] after
    /// [`disconnect`](Self::disconnect).
    pub async fn send_event(&self, event: Event) -> Result<(), Error> {
        wait_for_delivery(self.enqueue(event)?).await
    }

    /// Sends events without waiting for each, and returns once the hub has all of them. When the queue is full of them,
    /// the next waits for room.
    ///
    /// # Errors
    /// As [`send_event`](Self::send_event), for the first that fails. Those before it were sent, those behind it may
    /// have been.
    pub async fn send_events(&self, events: impl IntoIterator<Item = Event>) -> Result<(), Error> {
        let mut under_way = VecDeque::new();
        for event in events {
            if under_way.len() >= MAX_IN_FLIGHT
                && let Some(oldest) = under_way.pop_front()
            {
                wait_for_delivery(oldest).await?;
            }
            loop {
                match self.enqueue(event.clone()) {
                    Ok(sent) => {
                        under_way.push_back(sent);
                        break;
                    }
                    Err(error) if error.kind() == ErrorKind::QueueFull => match under_way.pop_front() {
                        Some(oldest) => wait_for_delivery(oldest).await?,
                        None => return Err(error),
                    },
                    Err(error) => return Err(error),
                }
            }
        }
        for sent in under_way {
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
