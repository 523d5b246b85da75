//! A loopback address that only this test uses.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Held open as long as the address is in use. Outside the range of outgoing connections.
const LOCK_PORT: u16 = 20_443;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address of our own, free again when dropped.
#[derive(Debug)]
pub struct Address {
    ip: Ipv4Addr,
    _lock: TcpListener,
}

impl Address {
    /// Takes an address that no other test process holds and where port 443 can be opened.
    #[must_use]
    pub fn reserve() -> Self {
        for _ in 0..1000 {
            // Neighbouring process ids must not start at neighbouring addresses: they take several.
            let count = NEXT.fetch_add(1, Ordering::Relaxed);
            let n = std::process::id().wrapping_mul(97).wrapping_add(count);
            let [_, x, y, z] = n.to_be_bytes();
            // Away from 127.0.0.1, and never a last octet that some client takes for a network.
            let ip = Ipv4Addr::new(127, 64 | (x & 0x3f), y, z.clamp(1, 254));
            let Ok(lock) = TcpListener::bind((ip, LOCK_PORT)) else {
                continue;
            };
            if let Err(error) = TcpListener::bind((ip, 443)) {
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::PermissionDenied,
                    "port 443 is not yours to open: `cargo xtask test` knows a way"
                );
                continue;
            }
            return Self { ip, _lock: lock };
        }
        panic!("no free loopback address in a thousand tries");
    }

    /// The address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }
}
