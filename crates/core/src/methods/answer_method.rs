//! The response of a device to a method call.

use tokio::time::sleep;

use crate::callers::ConnectedDevice;
use crate::faults::{Effect, FaultPoint};
use crate::node::{Answer, CallEnd, MethodReply, RequestId};
use crate::operations::Operation;

impl ConnectedDevice {
    /// Forwards its response to the waiting call, unless a fault loses or delays it.
    pub fn answer_method(&self, id: RequestId, reply: Result<MethodReply, CallEnd>) -> Answer {
        let connection = self.connection();
        let Ok(hub) = self.permit(Operation::AnswerMethod) else { return Answer::NoSuchCall };
        match hub.hit_fault(FaultPoint::MethodResponse, &connection.id) {
            None => connection.answer(id, reply),
            Some(Effect::Delay(delay)) => {
                match hub.fault_injector.delayed_answers.clone().try_acquire_owned() {
                    Ok(permit) => {
                        let connection = connection.clone();
                        tokio::spawn(async move {
                            sleep(delay).await;
                            connection.answer(id, reply);
                            drop(permit);
                        });
                        Answer::Delivered
                    }
                    Err(_) => connection.answer(id, reply),
                }
            }
            // The response is lost, but the device must not notice.
            Some(_) => Answer::Delivered,
        }
    }
}
