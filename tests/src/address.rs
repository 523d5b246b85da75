//! A loopback address that only this test uses.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A listener on this port marks the address as in use. The port is outside the range of ephemeral ports.
const LOCK_PORT: u16 = 20_443;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address reserved for one test, released on drop.
#[derive(Debug)]
pub struct Address {
    ip: Ipv4Addr,
    _lock: TcpListener,
}

impl Address {
    /// Reserves an address that no other test process uses and on which port 443 is free.
    ///
    /// # Panics
    /// Without permission for port 443, or when no address is free.
    #[must_use]
    pub fn reserve() -> Self {
        for _ in 0..1000 {
            // Test processes reserve several addresses, so consecutive process ids must not start at
            // consecutive addresses.
            let count = NEXT.fetch_add(1, Ordering::Relaxed);
            let n = std::process::id().wrapping_mul(97).wrapping_add(count);
            let [_, x, y, z] = n.to_be_bytes();
            // Not near 127.0.0.1, and without a last octet of 0 or 255, which some clients treat as a network.
            let ip = Ipv4Addr::new(127, 64 | (x & 0x3f), y, z.clamp(1, 254));
            let Ok(lock) = TcpListener::bind((ip, LOCK_PORT)) else {
                continue;
            };
            if let Err(error) = TcpListener::bind((ip, 443)) {
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::PermissionDenied,
                    "no permission for port 443: run the tests with `cargo xtask test`"
                );
                continue;
            }
            return Self { ip, _lock: lock };
        }
        panic!("no free loopback address after 1000 attempts");
    }

    /// Returns the address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }
}
