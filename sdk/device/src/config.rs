//! The checked settings of a client.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::IdentityId;
use ferrohub_model::mqtt_username::MqttUsername;
use ferrohub_mqtt::{Connect, Limits, client};

use crate::credential::{Credential, Token};
use crate::error::Error;
use crate::https::HttpsEndpoints;
use crate::retry::RetryPolicy;
use crate::telemetry::OfflinePolicy;
use crate::transport::Connector;

/// The API version. Model ids need 2020-09-30 or later.
pub(crate) const API_VERSION: &str = "2021-04-12";

/// How many events may be unacknowledged at once; the others stay in the queue.
pub(crate) const MAX_EVENTS_IN_FLIGHT: usize = 32;

pub(crate) struct Config {
    pub(crate) connector: Connector,
    /// `None` only in tests without HTTPS.
    pub(crate) https: Option<HttpsEndpoints>,
    /// The host name of the hub in user name and tokens, also behind a gateway.
    pub(crate) host: String,
    pub(crate) identity: IdentityId,
    pub(crate) credential: Credential,
    pub(crate) client_type: String,
    pub(crate) model_id: Option<String>,
    pub(crate) keep_alive: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) offline: OfflinePolicy,
    /// Time limit of a request.
    pub(crate) request_timeout: Duration,
    /// Time limit of `disconnect`.
    pub(crate) shutdown_timeout: Duration,
    /// Limit of concurrent method calls.
    pub(crate) max_concurrent_methods: usize,
    pub(crate) mqtt: Arc<client::Config>,
}

impl Config {
    /// The limits of the MQTT state machine. A response that waits for its PUBACK no longer counts as a call, so there
    /// may be more of them than concurrent calls.
    pub(crate) fn mqtt_config(
        connect_timeout: Duration,
        max_concurrent_methods: usize,
    ) -> Arc<client::Config> {
        Arc::new(client::Config {
            // Topics contain device ids, which may have the wildcard characters `#` and `+`.
            limits: Limits { wildcards_in_topics: true, ..Limits::default() },
            connect_timeout,
            max_in_flight: max_concurrent_methods.saturating_add(MAX_EVENTS_IN_FLIGHT + 16),
            // The application acknowledges messages from the cloud.
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
            // The hub keeps subscriptions and undelivered messages.
            clean_session: false,
            keep_alive: u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX),
            username: Some(username.try_into().map_err(too_long)?),
            password: token.map(|token| token.text.clone().into()),
            will: None,
        })
    }
}
