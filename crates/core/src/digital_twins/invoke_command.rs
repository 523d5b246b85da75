//! Commands of Plug and Play: methods with other names and time-outs in the query string.

use bytes::Bytes;
use ferrohub_model::digital_twin::CommandName;
use ferrohub_model::{DeviceId, HubError, IdentityId};

use crate::callers::ServiceCaller;
use crate::methods::MethodCall;
use crate::node::MethodReply;
use crate::operations::Operation;

/// A validated call of a command.
#[derive(Debug, Clone)]
pub struct CommandCall {
    /// The command.
    pub name: CommandName,
    /// The payload as JSON text, or `None` if the caller sent none.
    pub payload: Option<Bytes>,
    /// How long to wait for the device's response, in seconds.
    pub response_timeout: u32,
    /// How long to wait for the device to connect, in seconds.
    pub connect_timeout: u32,
}

impl ServiceCaller {
    /// Calls a command of a device and waits for the response. Dropping the future cancels the call.
    ///
    /// # Errors
    ///
    /// As [`invoke_method`](Self::invoke_method).
    pub async fn invoke_command(
        &self,
        device: &DeviceId,
        call: CommandCall,
    ) -> Result<MethodReply, HubError> {
        let hub = self.permit(Operation::InvokeCommand)?;
        let CommandCall { name, payload, response_timeout, connect_timeout } = call;
        let call = MethodCall { name: name.into_method_name(), payload, response_timeout, connect_timeout };
        hub.invoke_method(&IdentityId::device(device), call).await
    }
}
