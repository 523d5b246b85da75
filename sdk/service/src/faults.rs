//! Fault injection for tests, if the configuration of the Ferrohub allows it.

use ferrohub_model::percent;
use http::Method;

use crate::{Error, Fault, FaultRequest, Management};

impl Management<'_> {
    /// Creates a fault, see [`FaultRequest::new`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if fault injection is disabled,
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if the fault is invalid or unlimited,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if there are too many faults, and those of any request.
    pub async fn create_fault(&self, fault: &FaultRequest) -> Result<Fault, Error> {
        self.client().request(Method::POST, "/ferrohub/faults", "").json(fault)?.send_json().await
    }

    /// Lists the active faults, oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if fault injection is disabled, and those of any request.
    pub async fn list_faults(&self) -> Result<Vec<Fault>, Error> {
        self.client().request(Method::GET, "/ferrohub/faults", "").send_json().await
    }

    /// Deletes a fault.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it does not exist or has ended, and those of any request.
    pub async fn delete_fault(&self, id: &str) -> Result<(), Error> {
        let path = format!("/ferrohub/faults/{}", percent::encode(id));
        self.client().request(Method::DELETE, &path, "").send().await.map(drop)
    }

    /// Deletes all faults.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if fault injection is disabled, and those of any request.
    pub async fn delete_all_faults(&self) -> Result<(), Error> {
        self.client().request(Method::DELETE, "/ferrohub/faults", "").send().await.map(drop)
    }
}
