//! Twins: read, merge, replace.

use ferrohub_model::{IdentityId, percent};
use http::Method;

use crate::{Error, ServiceClient, Twin, TwinChange};

fn path(identity: &IdentityId) -> String {
    let device = percent::encode(identity.device_str());
    match identity.module_str() {
        None => format!("/twins/{device}"),
        Some(module) => format!("/twins/{device}/modules/{}", percent::encode(module)),
    }
}

/// The identity is an [`IdentityId`], a text (`"device"` or `"device/module"`), or a pair of device id and module id.
impl ServiceClient {
    /// Returns the twin of a device or module.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get_twin(
        &self,
        identity: impl TryInto<IdentityId, Error: Into<Error>>,
    ) -> Result<Twin, Error> {
        let path = path(&identity.try_into().map_err(Into::into)?);
        self.request(Method::GET, &path, "").send_json().await
    }

    /// Merges a change into a twin (JSON merge patch, RFC 7396): objects are merged, `null` removes a property. Returns
    /// the changed twin. The device receives the changed desired properties. With an etag, changes the twin only if its
    /// etag is still this one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound);
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed);
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) for an invalid name or value or a twin that becomes too
    /// large; nothing is changed then; and those of any request.
    pub async fn update_twin(
        &self,
        identity: impl TryInto<IdentityId, Error: Into<Error>>,
        change: &TwinChange,
        etag: Option<&str>,
    ) -> Result<Twin, Error> {
        self.change_twin(Method::PATCH, identity, change, etag).await
    }

    /// Replaces the tags, the desired properties or both, whichever the change contains. Otherwise like
    /// [`ServiceClient::update_twin`].
    ///
    /// # Errors
    /// As for [`ServiceClient::update_twin`].
    pub async fn replace_twin(
        &self,
        identity: impl TryInto<IdentityId, Error: Into<Error>>,
        change: &TwinChange,
        etag: Option<&str>,
    ) -> Result<Twin, Error> {
        self.change_twin(Method::PUT, identity, change, etag).await
    }

    async fn change_twin(
        &self,
        verb: Method,
        identity: impl TryInto<IdentityId, Error: Into<Error>>,
        change: &TwinChange,
        etag: Option<&str>,
    ) -> Result<Twin, Error> {
        let path = path(&identity.try_into().map_err(Into::into)?);
        self.request(verb, &path, "").if_match(Some(etag.unwrap_or("*"))).json(change)?.send_json().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_a_device_or_a_module() {
        let path = |text| super::path(&IdentityId::parse(text).unwrap());
        assert_eq!(path("d#1"), "/twins/d%231");
        assert_eq!(path("d/m%"), "/twins/d/modules/m%25");
    }
}
