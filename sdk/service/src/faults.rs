//! Faults that a test injects into a Ferrohub, if its configuration allows it.

use http::Method;

use crate::uri::segment;
use crate::{Error, Fault, FaultRequest, Management};

impl Management<'_> {
    /// Injects a fault, see [`FaultRequest::new`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the hub does not let faults be injected,
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if it makes no sense, or has no end,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if there are as many as there may be.
    pub async fn add_fault(&self, fault: &FaultRequest) -> Result<Fault, Error> {
        self.client().request(Method::POST, "/ferrohub/faults", "").json(fault)?.send_json().await
    }

    /// The faults that are injected now, the oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the hub does not let faults be injected.
    pub async fn faults(&self) -> Result<Vec<Fault>, Error> {
        self.client().request(Method::GET, "/ferrohub/faults", "").send_json().await
    }

    /// Takes a fault away before its time.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) also if it has ended.
    pub async fn remove_fault(&self, id: &str) -> Result<(), Error> {
        let path = format!("/ferrohub/faults/{}", segment(id));
        self.client().request(Method::DELETE, &path, "").send().await.map(drop)
    }

    /// Takes all faults away.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the hub does not let faults be injected.
    pub async fn clear_faults(&self) -> Result<(), Error> {
        self.client().request(Method::DELETE, "/ferrohub/faults", "").send().await.map(drop)
    }
}
