//! Changes of the desired properties.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use ferrohub_model::twin::Properties;
use futures_util::Stream;
use serde_json::Value;

use super::TwinSection;
use crate::channel::Receiver;

/// A change of the desired properties.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DesiredUpdate {
    /// The full desired section, which replaces the known properties: the first item of a stream, and the first one
    /// after missed changes.
    Full(TwinSection),
    /// A JSON merge patch (RFC 7396): `null` removes a property. Its version follows the previous one. If a service
    /// replaces the whole section, the hub sends that as a patch, too.
    Patch(TwinSection),
}

impl DesiredUpdate {
    /// Returns the version of the section after this update. Versions only grow.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.section().version()
    }

    /// Returns the properties: all of them, or the patch.
    #[must_use]
    pub fn section(&self) -> &TwinSection {
        match self {
            Self::Full(section) | Self::Patch(section) => section,
        }
    }

    /// Applies the update to known properties.
    ///
    /// ```no_run
    /// # async fn example(client: ferrohub_device::DeviceClient) {
    /// let mut desired = ferrohub_device::Properties::new();
    /// let mut updates = client.desired_updates();
    /// while let Some(update) = updates.next().await {
    ///     update.apply_to(&mut desired);
    /// }
    /// # }
    /// ```
    pub fn apply_to(&self, known: &mut Properties) {
        match self {
            Self::Full(section) => known.clone_from(section.properties()),
            Self::Patch(section) => merge(known, section.properties()),
        }
    }
}

fn merge(known: &mut Properties, patch: &Properties) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                known.remove(name);
            }
            Value::Object(inner) => {
                let entry = known.entry(name).or_insert(Value::Null);
                if !entry.is_object() {
                    *entry = Value::Object(Properties::new());
                }
                if let Value::Object(entry) = entry {
                    merge(entry, inner);
                }
            }
            value => {
                known.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A stream of changes of the desired properties; from
/// [`DeviceClient::desired_updates`](crate::DeviceClient::desired_updates).
///
/// The stream stays open across connections. It ends when the client is dropped, when the hub refuses the subscription,
/// or when `desired_updates` is called again.
pub struct DesiredUpdateStream {
    receiver: Receiver<DesiredUpdate>,
}

impl DesiredUpdateStream {
    pub(crate) fn new(receiver: Receiver<DesiredUpdate>) -> Self {
        Self { receiver }
    }

    /// Waits for the next update. Returns `None` when the stream has ended. The same as `StreamExt::next`, without the
    /// trait.
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
    fn patches_are_merged_and_a_full_section_replaces() {
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
