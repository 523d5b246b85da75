//! What a client was built with, checked and ready to use.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::IdentityId;
use ferrohub_model::mqtt_username::MqttUsername;
use ferrohub_mqtt::{Connect, Limits, client};

use crate::credential::{Credential, Token};
use crate::error::Error;
use crate::event_queue::OfflinePolicy;
use crate::https::HttpsEndpoints;
use crate::reconnect::ReconnectPolicy;
use crate::transport::Connector;

/// The version of the service that is spoken. Model ids need 2020-09-30 or later.
pub(crate) const API_VERSION: &str = "2021-04-12";

/// How many events wait for their PUBACK at once; the others wait in the queue.
pub(crate) const MAX_EVENTS_IN_FLIGHT: usize = 32;

pub(crate) struct Config {
    pub(crate) connector: Connector,
    /// None only where a test has no use for it.
    pub(crate) https: Option<HttpsEndpoints>,
    /// The hub's name in user name and tokens; a gateway does not change it.
    pub(crate) host: String,
    pub(crate) identity: IdentityId,
    pub(crate) credential: Credential,
    pub(crate) client_type: String,
    pub(crate) model_id: Option<String>,
    pub(crate) keep_alive: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) reconnect: ReconnectPolicy,
    pub(crate) offline: OfflinePolicy,
    /// How long the hub may take to answer a request.
    pub(crate) request_timeout: Duration,
    /// How long `disconnect` waits for handlers.
    pub(crate) shutdown_timeout: Duration,
    /// How many calls are worked on at once.
    pub(crate) max_concurrent_methods: usize,
    pub(crate) mqtt: Arc<client::Config>,
}

impl Config {
    /// Limits of the protocol machine. An answer that waits for its PUBACK is no longer worked on, so there may be
    /// more of them than of calls.
    pub(crate) fn mqtt_config(
        connect_timeout: Duration,
        max_concurrent_methods: usize,
    ) -> Arc<client::Config> {
        Arc::new(client::Config {
            // Ids of devices, which stand in topics, may have characters that are wildcards elsewhere.
            limits: Limits { wildcards_in_topics: true, ..Limits::default() },
            connect_timeout,
            max_in_flight: max_concurrent_methods.saturating_add(MAX_EVENTS_IN_FLIGHT + 16),
            // A message from the cloud is acknowledged by the application.
            auto_puback: false,
            ..client::Config::default()
        })
    }

    pub(crate) async fn token(&self) -> Result<Option<Token>, Error> {
        let resource = format!("{}{}", self.host, self.identity.resource_path());
        self.credential.token(&resource, self.connect_timeout).await
    }

    pub(crate) fn connect_packet(&self, token: Option<&Token>) -> Result<Connect, Error> {
        let id = self.identity.as_str();
        let username =
            MqttUsername::compose(&self.host, id, API_VERSION, &self.client_type, self.model_id.as_deref());
        let too_long = |_| Error::invalid_input("the user name is too long");
        Ok(Connect {
            client_id: id.try_into().map_err(too_long)?,
            // The hub remembers the subscription, and which messages it has not delivered.
            clean_session: false,
            keep_alive: u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX),
            username: Some(username.try_into().map_err(too_long)?),
            password: token.map(|token| token.text.clone().into()),
            will: None,
        })
    }
}
