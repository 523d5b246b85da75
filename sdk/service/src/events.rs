//! Events: what devices send and the hub has to tell, read from its log.

mod position;
mod stream;

use http::Method;

pub use position::{EventPosition, EventStart};
pub use stream::EventStream;

use crate::uri::segment;
use crate::{Error, EventLogInfo, ServiceClient};

/// How events shall be read; see [`ServiceClient::events`].
#[derive(Debug, Clone)]
#[must_use]
pub struct EventReader {
    client: ServiceClient,
    start: EventStart,
    consumer_group: Option<String>,
    partition: Option<u16>,
}

impl ServiceClient {
    /// Reads the events of a hub: what its devices send, and what it tells of them itself. Only a Ferrohub serves them
    /// over HTTPS; Azure has AMQP for that.
    ///
    /// ```no_run
    /// # async fn example(client: ferrohub_service::ServiceClient) -> Result<(), ferrohub_service::Error> {
    /// use ferrohub_service::EventStart;
    ///
    /// let mut events = client.events().start(EventStart::Earliest).open().await?;
    /// loop {
    ///     let event = events.next().await?;
    ///     println!("{}: {}", event.device_id().unwrap_or_default(), event.body.to_text());
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> EventReader {
        EventReader { client: self.clone(), start: EventStart::Latest, consumer_group: None, partition: None }
    }

    /// The partitions of the hub's event log, and the groups that may read it.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized): events are for shared access policies with
    /// `ServiceConnect`, and not for Entra.
    pub async fn event_log(&self) -> Result<EventLogInfo, Error> {
        self.request(Method::GET, "/messages/events/partitions", "").send_json().await
    }
}

impl EventReader {
    /// Where to begin; with the next event if nobody says.
    pub fn start(mut self, start: EventStart) -> Self {
        self.start = start;
        self
    }

    /// On behalf of this group, instead of `$Default`.
    pub fn consumer_group(mut self, name: &str) -> Self {
        self.consumer_group = Some(name.to_owned());
        self
    }

    /// Only this partition.
    pub fn partition(mut self, partition: u16) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Begins to read.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized),
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a group or partition that is not there,
    /// [`ErrorKind::Throttled`](crate::ErrorKind::Throttled) if the group has as many readers as it may,
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if the position is of another log.
    pub async fn open(self) -> Result<EventStream, Error> {
        EventStream::open(self).await
    }

    /// The query for what comes at `start`.
    fn query(&self, start: &EventStart) -> String {
        let mut query = format!("position={}&", segment(&start.to_string()));
        if let Some(group) = &self.consumer_group {
            query.push_str(&format!("consumerGroup={}&", segment(group)));
        }
        if let Some(partition) = self.partition {
            query.push_str(&format!("partition={partition}&"));
        }
        query
    }
}
