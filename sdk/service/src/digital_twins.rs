//! Digital twins of IoT Plug and Play: read, change, call commands.

use bytes::Bytes;
use ferrohub_model::digital_twin::{COMMAND_STATUS_HEADER, CommandName, METADATA, MODEL};
use ferrohub_model::{DeviceId, percent};
use http::{HeaderMap, HeaderName, Method, header};
use serde_json::value::RawValue;

use crate::{
    DigitalTwinPatch, Error, ErrorKind, MethodInvocation, MethodResponse, Properties, ServiceClient,
};

/// The digital twin of a device.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DigitalTwin {
    /// The JSON document: reported values of properties, components, and in `$metadata` what is known about each property.
    pub document: Properties,
    /// The etag, without quotes.
    pub etag: Option<String>,
}

impl DigitalTwin {
    /// Returns the model id that the device announced; `None` if it never announced one.
    #[must_use]
    pub fn model_id(&self) -> Option<&str> {
        self.document.get(METADATA)?.get(MODEL)?.as_str().filter(|model| !model.is_empty())
    }
}

fn path(device_id: &DeviceId) -> String {
    format!("/digitaltwins/{}", percent::encode(device_id.as_str()))
}

fn command_path(device_id: &DeviceId, component: Option<&str>, command: &str) -> Result<String, Error> {
    let (checked, component) = match component {
        None => (CommandName::of_device(command), String::new()),
        Some(component) => (
            CommandName::of_component(component, command),
            format!("/components/{}", percent::encode(component)),
        ),
    };
    checked.map_err(|error| Error::invalid_input(error.to_string()))?;
    Ok(format!("{}{component}/commands/{}", path(device_id), percent::encode(command)))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn etag(headers: &HeaderMap) -> Option<String> {
    text(headers, header::ETAG).map(|etag| etag.trim_matches('"').to_owned())
}

impl ServiceClient {
    /// Returns the digital twin of a device.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of any request.
    pub async fn get_digital_twin(&self, device_id: &str) -> Result<DigitalTwin, Error> {
        let path = path(&DeviceId::new(device_id)?);
        let response = self.request(Method::GET, &path, "").send().await?;
        let etag = etag(&response.headers);
        match serde_json::from_slice(&response.body) {
            Ok(document) => Ok(DigitalTwin { document, etag }),
            Err(error) => Err(response.into_error(error)),
        }
    }

    /// Changes desired properties of a device with a JSON Patch (RFC 6902). All operations are applied, or none. The device
    /// receives the changes. With an etag, changes the digital twin only if its etag is still this one. Returns the new etag.
    ///
    /// ```no_run
    /// # use ferrohub_service::{DigitalTwinPatch, ServiceClient};
    /// # async fn example(client: ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let patch = DigitalTwinPatch::new().add("/thermostat1/targetTemperature", 21.5)?;
    /// client.update_digital_twin("myDevice", &patch, None).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::PreconditionFailed`]; [`ErrorKind::BadRequest`] if an operation cannot be
    /// applied or the twin becomes too large; and those of any request.
    pub async fn update_digital_twin(
        &self,
        device_id: &str,
        patch: &DigitalTwinPatch,
        etag: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let path = path(&DeviceId::new(device_id)?);
        let request = self.request(Method::PATCH, &path, "").if_match(Some(etag.unwrap_or("*")));
        let response = request.json(patch)?.send().await?;
        Ok(self::etag(&response.headers))
    }

    /// Calls a command of a device, or of one of its components, and returns the response. Dropping the future cancels the
    /// call. The device receives it as a call of the method `command` or `component*command`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if a name is not valid; otherwise as
    /// [`invoke_method`](ServiceClient::invoke_method).
    pub async fn invoke_command(
        &self,
        device_id: &str,
        component: Option<&str>,
        command: &MethodInvocation,
    ) -> Result<MethodResponse, Error> {
        let (device_id, call) = (DeviceId::new(device_id)?, command.body());
        let path = command_path(&device_id, component, call.method_name())?;
        let timeouts = [
            ("responseTimeoutInSeconds", call.response_timeout_in_seconds()),
            ("connectTimeoutInSeconds", call.connect_timeout_in_seconds()),
        ];
        let query: String =
            timeouts.iter().filter_map(|(name, seconds)| Some(format!("{name}={}&", (*seconds)?))).collect();
        let mut request = self.request(Method::POST, &path, &query);
        if let Some(payload) = call.payload() {
            request = request.json(payload)?;
        }
        let response = request.extend_timeout(call.total_timeout()).send().await?;
        response_of_device(&response.headers, &response.body)
    }
}

fn response_of_device(headers: &HeaderMap, body: &Bytes) -> Result<MethodResponse, Error> {
    let protocol = |message: &'static str| Error::new(ErrorKind::Protocol, message);
    let status = text(headers, HeaderName::from_static(COMMAND_STATUS_HEADER));
    let status = status.and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| protocol("the response of the hub has no status of the device"))?;
    if body.is_empty() {
        return Ok(MethodResponse::new(status, RawValue::NULL.to_owned()));
    }
    let payload = serde_json::from_slice(body)
        .map_err(|error| protocol("the response of the hub cannot be read").with_source(error))?;
    Ok(MethodResponse::new(status, payload))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_path_names_a_command_of_the_device_or_of_a_component() {
        let device = DeviceId::new("d#").unwrap();
        let path = |component, command| command_path(&device, component, command);
        assert_eq!(path(None, "re boot").unwrap(), "/digitaltwins/d%23/commands/re%20boot");
        assert_eq!(path(Some("a"), "b").unwrap(), "/digitaltwins/d%23/components/a/commands/b");
        for (component, command) in [(None, "a*b"), (None, ""), (Some("a/b"), "c"), (Some("a"), "b/c")] {
            assert_eq!(path(component, command).unwrap_err().kind(), ErrorKind::InvalidInput, "{command}");
        }
    }

    #[test]
    fn a_response_has_the_status_of_the_header() {
        let mut headers = HeaderMap::new();
        let read = |headers: &HeaderMap, body| response_of_device(headers, &Bytes::from_static(body));
        assert_eq!(read(&headers, b"1").unwrap_err().kind(), ErrorKind::Protocol);
        headers.insert(COMMAND_STATUS_HEADER, HeaderValue::from_static("-1"));
        let response = read(&headers, b"[1.50]").unwrap();
        assert_eq!((response.status(), response.payload_text()), (-1, "[1.50]"));
        assert_eq!(read(&headers, b"").unwrap().payload_text(), "null");
        assert_eq!(read(&headers, b"{").unwrap_err().kind(), ErrorKind::Protocol);
    }

    #[test]
    fn an_empty_model_id_is_none() {
        let twin = |document: serde_json::Value| DigitalTwin {
            document: document.as_object().unwrap().clone(),
            etag: None,
        };
        let with = |model: &str| twin(serde_json::json!({ "$metadata": { "$model": model } }));
        assert_eq!(with("dtmi:a;1").model_id(), Some("dtmi:a;1"));
        assert_eq!(with("").model_id(), None);
        assert_eq!(twin(serde_json::json!({})).model_id(), None);
    }
}
