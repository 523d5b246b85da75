//! The management API of a Ferrohub: the entry to policies, certificate authorities and faults.

use crate::ServiceClient;

/// The management API of a Ferrohub; from [`ServiceClient::management`]. Azure does not have it. Each operation
/// needs a shared access policy with all four rights; otherwise it fails with
/// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized).
#[derive(Debug, Clone, Copy)]
pub struct Management<'a>(&'a ServiceClient);

impl ServiceClient {
    /// Returns the management API, if the hub is a Ferrohub.
    #[must_use]
    pub fn management(&self) -> Management<'_> {
        Management(self)
    }
}

impl Management<'_> {
    pub(crate) fn client(&self) -> &ServiceClient {
        self.0
    }
}
