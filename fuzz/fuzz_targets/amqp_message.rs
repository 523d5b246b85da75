//! Fuzzes the decoder of AMQP messages and batches: every section of a message can be read, and each data section of a
//! batch is a message of its own.
#![no_main]

use ferrohub_amqp::message::{Batch, Body, Message};
use libfuzzer_sys::fuzz_target;

fn read(message: &Message<'_>) {
    let _ = message.header();
    let _ = message.delivery_annotations().map(|map| map.iter().count());
    let _ = message.message_annotations().map(|map| map.get("x-opt-offset"));
    let _ = message.properties().map(|properties| (properties.correlation(), properties.expires_at()));
    let _ = message.application_properties().map(|map| map.iter().count());
    let _ = message.footer();
    match message.body() {
        Ok(Body::Data(data)) => assert_eq!(data.clone().flatten().count(), data.concat().len()),
        Ok(Body::Sequences(sequences)) => assert!(sequences.count() > 0),
        Ok(Body::Value(_) | Body::Absent) | Err(_) => {}
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(message) = Message::parse(input) {
        read(&message);
    }
    if let Ok(batch) = Batch::parse(input) {
        batch.flatten().for_each(|message| read(&message));
    }
});
