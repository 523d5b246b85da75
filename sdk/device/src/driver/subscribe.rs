//! Subscriptions: what the application uses, and what the hub knows of it.

use std::borrow::Cow;

use ferrohub_mqtt::{PacketId, QoS, SendError, SubscribeCode};
use tracing::warn;

use super::link::Link;
use super::{Driver, Mode, Shared};
use crate::feature::{Feature, Features};

/// The subscriptions of one connection and its session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// What the hub confirmed.
    pub(super) granted: Features,
    /// What it refused on this connection.
    pub(super) refused: Features,
    /// SUBSCRIBE that it has not answered.
    pending: Vec<(PacketId, Features)>,
}

impl Subscriptions {
    /// What a new connection begins with, in a session that has these.
    pub(super) fn resumed(granted: Features) -> Self {
        Self { granted, ..Self::default() }
    }

    /// Sends SUBSCRIBE for these features, in one packet.
    pub(super) fn subscribe(
        &mut self,
        shared: &Shared,
        link: &mut Link,
        features: Features,
    ) -> Result<PacketId, SendError> {
        let filters: Vec<(Cow<'static, str>, QoS)> =
            features.iter().map(|feature| feature.subscription(&shared.config.identity)).collect();
        let filters: Vec<(&str, QoS)> = filters.iter().map(|(filter, qos)| (&**filter, *qos)).collect();
        let packet_id = link.mqtt.subscribe(&filters)?;
        self.pending.push((packet_id, features));
        Ok(packet_id)
    }

    /// The hub's answer to a SUBSCRIBE.
    pub(super) fn handle_suback(&mut self, packet_id: PacketId, codes: &[SubscribeCode]) {
        let Some(index) = self.pending.iter().position(|(asked, _)| *asked == packet_id) else {
            return;
        };
        let (_, features) = self.pending.swap_remove(index);
        for (feature, code) in features.iter().zip(codes) {
            match code {
                SubscribeCode::Granted(_) => self.granted = self.granted.with(feature),
                SubscribeCode::Failure => {
                    warn!(?feature, "the hub does not let this device subscribe");
                    self.granted = self.granted.without(feature);
                    self.refused = self.refused.with(feature);
                }
            }
        }
    }

    /// What is used, and neither there nor asked for.
    pub(super) fn missing(&self, wanted: Features) -> Features {
        let asked = self.pending.iter().fold(Features::NONE, |all, (_, asked)| all.union(*asked));
        wanted.difference(self.granted).difference(asked).difference(self.refused)
    }
}

impl Driver {
    /// Subscribes to what the application has begun to use.
    pub(super) fn subscribe_wanted(&mut self, link: &mut Link) {
        let mut missing = self.subscriptions.missing(self.shared.wanted_features());
        if self.mode != Mode::Serving {
            missing = missing.without(Feature::Methods);
        }
        if !missing.is_empty()
            && let Err(error) = self.subscriptions.subscribe(&self.shared, link, missing)
        {
            // There is room again when something is acknowledged.
            tracing::debug!(%error, "SUBSCRIBE cannot be sent yet");
        }
    }
}
