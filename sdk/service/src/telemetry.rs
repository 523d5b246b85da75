//! Events of devices and of the hub, read from the event log.

mod position;
mod stream;

use ferrohub_model::percent;
use http::Method;

pub use position::{EventPosition, EventStart};
pub use stream::EventStream;

use crate::{Error, EventLogInfo, ServiceClient};

/// The settings of an event stream; from [`ServiceClient::events`].
#[derive(Debug, Clone)]
#[must_use]
pub struct EventReader {
    client: ServiceClient,
    start: EventStart,
    consumer_group: Option<String>,
    partition: Option<u16>,
}

impl ServiceClient {
    /// Reads the events of a hub: those of its devices, and its own about twins and connections. Only a Ferrohub serves
    /// events over HTTPS; Azure requires AMQP.
    ///
    /// ```no_run
    /// # async fn example(client: ferrohub_service::ServiceClient) -> Result<(), ferrohub_service::Error> {
    /// use ferrohub_service::EventStart;
    ///
    /// let mut events = client.events().start(EventStart::Earliest).open().await?;
    /// while let Some(event) = events.next().await {
    ///     let event = event?;
    ///     println!("{}: {}", event.device_id().unwrap_or_default(), event.body.to_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> EventReader {
        EventReader { client: self.clone(), start: EventStart::Latest, consumer_group: None, partition: None }
    }

    /// Returns the partitions and the consumer groups of the event log.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized) without a shared access policy with the right
    /// `ServiceConnect` (an Entra token is not sufficient), and those of any request.
    pub async fn get_event_log(&self) -> Result<EventLogInfo, Error> {
        self.request(Method::GET, "/messages/events/partitions", "").send_json().await
    }
}

impl EventReader {
    /// Sets where the stream begins. Default: [`EventStart::Latest`].
    pub fn start(mut self, start: EventStart) -> Self {
        self.start = start;
        self
    }

    /// Sets the consumer group. Default `$Default`.
    pub fn consumer_group(mut self, name: &str) -> Self {
        self.consumer_group = Some(name.to_owned());
        self
    }

    /// Reads only this partition.
    pub fn partition(mut self, partition: u16) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Opens the stream.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized),
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the group or partition does not exist,
    /// [`ErrorKind::Throttled`](crate::ErrorKind::Throttled) if all reader slots of the group are taken,
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if the position belongs to another log, and those of any
    /// request.
    pub async fn open(self) -> Result<EventStream, Error> {
        EventStream::open(self).await
    }

    /// The query of a request that begins at `start`.
    fn query(&self, start: &EventStart) -> String {
        let mut query = format!("position={}&", percent::encode(&start.to_string()));
        if let Some(group) = &self.consumer_group {
            query.push_str(&format!("consumerGroup={}&", percent::encode(group)));
        }
        if let Some(partition) = self.partition {
            query.push_str(&format!("partition={partition}&"));
        }
        query
    }
}
