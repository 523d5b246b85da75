//! Changes of desired properties, as the application reads them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use serde_json::{Map, Value};

use super::TwinSection;
use crate::channel::Receiver;

/// What the back end wants now.
#[derive(Debug, Clone, PartialEq)]
pub enum DesiredUpdate {
    /// The whole desired section, which replaces whatever was known of it: the first item of a stream, and the first
    /// after changes were missed.
    Full(TwinSection),
    /// What changed, by the rules of a JSON merge patch (RFC 7396): a `null` removes a property. Its version is the next
    /// one. A back end that replaces the whole section shows as such a change, too: the hub does not tell them apart.
    Patch(TwinSection),
}

impl DesiredUpdate {
    /// The version that it leads to. It only grows.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.section().version()
    }

    /// The properties in it, whole or changed.
    #[must_use]
    pub fn section(&self) -> &TwinSection {
        match self {
            Self::Full(section) | Self::Patch(section) => section,
        }
    }

    /// Brings what is known up to date.
    ///
    /// ```no_run
    /// # async fn example(client: ferrohub_device::DeviceClient) {
    /// let mut wanted = serde_json::Map::new();
    /// let mut updates = client.desired_updates();
    /// while let Some(update) = updates.next().await {
    ///     update.apply_to(&mut wanted);
    /// }
    /// # }
    /// ```
    pub fn apply_to(&self, known: &mut Map<String, Value>) {
        match self {
            Self::Full(section) => known.clone_from(section.properties()),
            Self::Patch(section) => merge(known, section.properties()),
        }
    }
}

fn merge(known: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                known.remove(name);
            }
            Value::Object(inner) => {
                let place = known.entry(name).or_insert(Value::Null);
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                if let Value::Object(place) = place {
                    merge(place, inner);
                }
            }
            value => {
                known.insert(name.clone(), value.clone());
            }
        }
    }
}

/// What the back end wants, as it changes; from [`DeviceClient::desired_updates`](crate::DeviceClient::desired_updates).
///
/// It outlives connections, and ends when the client is gone, when the hub does not let the device listen, or when
/// `desired_updates` is called again.
pub struct DesiredUpdateStream {
    receiver: Receiver<DesiredUpdate>,
}

impl DesiredUpdateStream {
    pub(crate) fn new(receiver: Receiver<DesiredUpdate>) -> Self {
        Self { receiver }
    }

    /// The next update; `None` at the end. The same as `StreamExt::next`, without the trait.
    pub async fn next(&mut self) -> Option<DesiredUpdate> {
        std::future::poll_fn(|cx| self.receiver.poll_next(cx)).await
    }
}

impl Stream for DesiredUpdateStream {
    type Item = DesiredUpdate;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DesiredUpdate>> {
        self.receiver.poll_next(cx)
    }
}

impl fmt::Debug for DesiredUpdateStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DesiredUpdateStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn section(value: Value) -> TwinSection {
        TwinSection::new(value.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn patches_merge_and_the_whole_replaces() {
        let mut known = json!({ "old": 1 }).as_object().unwrap().clone();
        DesiredUpdate::Full(section(json!({ "a": 1, "b": { "c": 1, "d": 2 }, "$version": 1 })))
            .apply_to(&mut known);
        let patch =
            json!({ "a": null, "b": { "c": null, "e": { "f": null, "g": 1 } }, "x": [1], "$version": 2 });
        DesiredUpdate::Patch(section(patch)).apply_to(&mut known);
        assert_eq!(Value::from(known.clone()), json!({ "b": { "d": 2, "e": { "g": 1 } }, "x": [1] }));
        DesiredUpdate::Patch(section(json!({ "x": { "y": 1 }, "b": 5, "$version": 3 }))).apply_to(&mut known);
        assert_eq!(Value::from(known), json!({ "b": 5, "x": { "y": 1 } }));
    }
}
