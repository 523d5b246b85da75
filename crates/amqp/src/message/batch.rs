//! Many messages in one: the format of Azure Event Hubs and of the IoT Hub SDKs for C and .NET.

use super::{Data, Message};
use crate::codec::DecodeError;

/// The `message-format` of a batch. The body has one data section for each message, which holds the encoded message.
pub const BATCH_FORMAT: u32 = 0x8001_3700;

/// The messages of a batch. To write one, write each message as a data section.
///
/// The batch is settled as a whole: accept it only when every message can be accepted.
#[derive(Debug, Clone)]
pub struct Batch<'a>(Data<'a>);

impl<'a> Batch<'a> {
    /// Finds the messages of a batch. Sections around them are ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Message::parse(bytes).map(|message| Self(message.data()))
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Message::parse)
    }
}
