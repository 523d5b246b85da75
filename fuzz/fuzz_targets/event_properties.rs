//! Fuzzes the stored form of event properties. No bytes may cause a panic, and what is accepted can be written again.
#![no_main]

use ferrohub_core::telemetry::EventProperties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(properties) = EventProperties::from_stored(input.to_vec()) else { return };
    assert_eq!(properties.as_stored(), input);
    let mut again = EventProperties::new();
    for (name, value) in properties.iter() {
        let _ = value.to_string();
        again.push(name, value);
    }
    assert_eq!(again.size(), properties.size());
    assert!(again.iter().count() == properties.iter().count());
    // The same properties may be stored with longer lengths, but not with shorter ones.
    assert!(again.as_stored().len() <= input.len());
});
