//! A log that cannot be written does not stop the hub: its lines are dropped and counted.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::thread;

use ferrohub_acceptance::{Device, Hub, Message, Method, Service};

/// Default capacity of a pipe.
const PIPE_BYTES: usize = 64 * 1024;
const DROPPED: &str = "ferrohub_log_lines_dropped_total";

/// Makes the hub log, and write to both of its databases.
#[track_caller]
fn use_the_hub(hub: &Hub) {
    let service = Service::owner(hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(hub);
    for _ in 0..20 {
        assert_eq!(service.invoke("dev1", Method::new("rebootDevice")).unwrap().status, 200);
        device.send(&[Message::text("hello")]).unwrap();
        assert_eq!(service.http("GET", "/devices/none", None, None).status, 401);
    }
    assert_eq!(hub.readiness(), Ok(()));
}

#[test]
fn a_log_on_a_full_disk_does_not_stop_the_hub() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut hub = Hub::builder().config("[log]\nlevel = \"debug\"").log_to(full).start();
    use_the_hub(&hub);
    assert!(hub.metric(DROPPED, "write_failed") > 0.0);
    assert!(hub.stop().success());
}

#[test]
fn a_log_without_a_reader_does_not_stop_the_hub() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut hub = Hub::builder().config("[log]\nlevel = \"debug\"").log_to(writer).start();
    let mut first = [0; 16];
    reader.read_exact(&mut first).unwrap();
    drop(reader);
    use_the_hub(&hub);
    assert!(hub.metric(DROPPED, "write_failed") > 0.0);
    assert!(hub.stop().success());
}

#[test]
fn a_log_that_is_not_read_does_not_block_the_hub() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    // On a thread of its own, because the capacity may be smaller here.
    let mut other = writer.try_clone().unwrap();
    let filling = thread::spawn(move || other.write_all(&[b'\n'; PIPE_BYTES]).unwrap());
    let mut hub = Hub::builder().config("[log]\nlevel = \"debug\"").log_to(writer).start();
    use_the_hub(&hub);
    // When the log is read again, the waiting lines and new ones arrive.
    let reading = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    assert!(hub.stop().success());
    let log = reading.join().unwrap();
    filling.join().unwrap();
    assert!(log.len() > PIPE_BYTES);
    assert!(log.ends_with("the hub stopped\n"), "{}", log.lines().last().unwrap_or_default());
}
