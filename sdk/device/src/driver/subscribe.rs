//! Subscriptions for the features that the application uses.

use std::borrow::Cow;

use ferrohub_mqtt::{PacketId, QoS, SendError, SubscribeCode};
use tracing::warn;

use super::link::Link;
use super::{Driver, Mode, Shared};
use crate::feature::{Feature, Features};

/// The subscriptions of one connection and its session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Confirmed by SUBACK.
    pub(super) granted: Features,
    /// Refused on this connection.
    pub(super) refused: Features,
    /// SUBSCRIBE packets without SUBACK.
    pending: Vec<(PacketId, Features)>,
}

impl Subscriptions {
    /// The subscriptions of a new connection that resumes a session with these.
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

    /// Handles a SUBACK.
    pub(super) fn handle_suback(&mut self, packet_id: PacketId, codes: &[SubscribeCode]) {
        let Some(index) = self.pending.iter().position(|(pending, _)| *pending == packet_id) else {
            return;
        };
        let (_, features) = self.pending.swap_remove(index);
        for (feature, code) in features.iter().zip(codes) {
            match code {
                SubscribeCode::Granted(_) => self.granted = self.granted.with(feature),
                SubscribeCode::Failure => {
                    warn!(?feature, "the hub refused a subscription");
                    self.granted = self.granted.without(feature);
                    self.refused = self.refused.with(feature);
                }
            }
        }
    }

    /// Returns the wanted features that are neither granted, pending nor refused.
    pub(super) fn missing(&self, wanted: Features) -> Features {
        let pending = self.pending.iter().fold(Features::NONE, |all, (_, pending)| all.union(*pending));
        wanted.difference(self.granted).difference(pending).difference(self.refused)
    }
}

impl Driver {
    /// Subscribes to wanted features.
    pub(super) fn subscribe_wanted(&mut self, link: &mut Link) {
        let mut missing = self.subscriptions.missing(self.shared.wanted_features());
        if self.mode != Mode::Serving {
            missing = missing.without(Feature::Methods);
        }
        if !missing.is_empty()
            && let Err(error) = self.subscriptions.subscribe(&self.shared, link, missing)
        {
            // Retried when a packet identifier is free.
            tracing::debug!(%error, "SUBSCRIBE cannot be sent yet");
        }
    }
}
