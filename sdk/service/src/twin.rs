//! Twins: read, merge, replace.

use http::Method;

use crate::uri::segment;
use crate::{Error, ErrorKind, ServiceClient, Twin, TwinChange};

/// Whose twin. Made from the id of a device, or from those of a device and a module of it.
///
/// ```
/// # use ferrohub_service::TwinOf;
/// let _: TwinOf<'_> = "myDevice".into();
/// let _: TwinOf<'_> = ("myDevice", "myModule").into();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwinOf<'a> {
    device_id: &'a str,
    module_id: Option<&'a str>,
}

impl<'a> From<&'a str> for TwinOf<'a> {
    fn from(device_id: &'a str) -> Self {
        Self { device_id, module_id: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for TwinOf<'a> {
    fn from((device_id, module_id): (&'a str, &'a str)) -> Self {
        Self { device_id, module_id: Some(module_id) }
    }
}

impl TwinOf<'_> {
    fn path(self) -> Result<String, Error> {
        if self.device_id.is_empty() || self.module_id.is_some_and(str::is_empty) {
            return Err(Error::new(ErrorKind::InvalidInput, "the device id or the module id is empty"));
        }
        let device = segment(self.device_id);
        Ok(match self.module_id {
            None => format!("/twins/{device}"),
            Some(module) => format!("/twins/{device}/modules/{}", segment(module)),
        })
    }
}

impl ServiceClient {
    /// The twin of a device or module.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]
    pub async fn get_twin<'a>(&self, of: impl Into<TwinOf<'a>>) -> Result<Twin, Error> {
        self.request(Method::GET, &of.into().path()?, "").send_json().await
    }

    /// Merges a change into a twin: objects are gone into, `null` deletes, what is not mentioned stays. With an etag
    /// only if it is still the hub's. The answer is the whole twin as it is then; the device is told what changed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`], and [`ErrorKind::BadRequest`] for a key, a value or
    /// a size that may not be; nothing of the change is kept then.
    pub async fn update_twin<'a>(
        &self,
        of: impl Into<TwinOf<'a>>,
        change: &TwinChange,
        etag: Option<&str>,
    ) -> Result<Twin, Error> {
        self.change_twin(Method::PATCH, of.into(), change, etag).await
    }

    /// Replaces the tags, the desired properties or both, whichever the change mentions. Otherwise as
    /// [`ServiceClient::update_twin`].
    ///
    /// # Errors
    /// As there.
    pub async fn replace_twin<'a>(
        &self,
        of: impl Into<TwinOf<'a>>,
        change: &TwinChange,
        etag: Option<&str>,
    ) -> Result<Twin, Error> {
        self.change_twin(Method::PUT, of.into(), change, etag).await
    }

    async fn change_twin(
        &self,
        verb: Method,
        of: TwinOf<'_>,
        change: &TwinChange,
        etag: Option<&str>,
    ) -> Result<Twin, Error> {
        self.request(verb, &of.path()?, "")
            .if_match(Some(etag.unwrap_or("*")))
            .json(change)?
            .send_json()
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_is_named_by_one_id_or_two() {
        let path = |of: TwinOf<'_>| of.path().map_err(|error| error.kind());
        assert_eq!(path("d#1".into()), Ok("/twins/d%231".to_owned()));
        assert_eq!(path(("d", "m/").into()), Ok("/twins/d/modules/m%2F".to_owned()));
        assert_eq!(path("".into()), Err(ErrorKind::InvalidInput));
        assert_eq!(path(("d", "").into()), Err(ErrorKind::InvalidInput));
    }
}
