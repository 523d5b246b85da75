//! P3 and the memory of P9: memory per connected, subscribed, idle device.

use std::time::Duration;

use super::{Scale, registry, start};
use crate::kernel;
use crate::load::device::Fleet;
use crate::report::Report;
use crate::server::{Environment, Server};

/// Open files besides the sockets of devices.
const RESERVED_FILES: u64 = 2000;

async fn measure(
    server: &Server,
    environment: &Environment,
    sizes: &[usize],
) -> anyhow::Result<Vec<(u64, f64)>> {
    let dial = server.dial(&environment.pki, false)?;
    let most = sizes.iter().copied().max().unwrap_or(0);
    registry::register(server, &dial, most).await?;
    let mut found = Vec::new();
    for &size in sizes {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let empty = server.resident_kib()?;
        let links = Fleet::open(&server.protocol, &dial, size).await?;
        // Memory that connecting needed temporarily is released by now, or counts.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let used = server.resident_kib()?.saturating_sub(empty);
        eprintln!("{} {size}: {:.2} KiB per device", server.name, used as f64 / size as f64);
        found.push((size as u64, used as f64 / size as f64));
        drop(links);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(found)
}

/// P3: memory per device, with as many devices as the limit of open files allows.
pub(crate) async fn memory(names: &[String], environment: &Environment, scale: &Scale, report: &mut Report) {
    let most = (kernel::open_files_limit().saturating_sub(RESERVED_FILES) as usize).min(scale.idle);
    if most < scale.idle {
        report.add_missing(format!("P3: {} devices: the limit of open files allows {}", scale.idle, most));
    }
    for name in names {
        // One server at a time, in a fresh process, so that memory of earlier measurements does not count.
        for server in start(std::slice::from_ref(name), environment, report).await {
            match measure(&server, environment, &[most]).await {
                Ok(found) => {
                    for (_, each) in found {
                        report.add("P3", &format!("KiB for each of {most} devices"), server.name, None, each);
                    }
                }
                Err(error) => report.add_missing(format!("P3 {name}: {error:#}")),
            }
        }
    }
}

/// P9 memory: P3 with a growing number of devices.
pub(crate) async fn growth(names: &[String], environment: &Environment, report: &mut Report) {
    let most = kernel::open_files_limit().saturating_sub(RESERVED_FILES) as usize;
    for size in [1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000] {
        if size > most.next_multiple_of(1000) {
            report.add_missing(format!("P9 memory: {size} devices: the limit of open files allows {most}"));
            continue;
        }
        for name in names {
            for server in start(std::slice::from_ref(name), environment, report).await {
                match measure(&server, environment, &[size.min(most)]).await {
                    Ok(found) => {
                        for (size, each) in found {
                            report.add("P9 memory", "KiB per device", server.name, Some(size), each);
                        }
                    }
                    Err(error) => report.add_missing(format!("P9 memory {name}: {error:#}")),
                }
            }
        }
    }
}
