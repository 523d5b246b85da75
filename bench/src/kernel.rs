//! CPU time and memory of a process and its descendants, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// The unit of CPU times in `/proc`: `USER_HZ`, which is 100 on all current architectures.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the CPU time, in user and kernel mode, of a process and its descendants.
pub(crate) fn cpu(root: u32) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for process in tree(root)? {
        ticks += process.ticks;
    }
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

/// Returns the resident memory, in KiB, of a process and its descendants. Shared pages count once per process.
pub(crate) fn resident_kib(root: u32) -> anyhow::Result<u64> {
    let mut kib = 0;
    for process in tree(root)? {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        kib += line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(kib)
}

/// Returns the maximum number of open files of this process, which limits its connections.
pub(crate) fn open_files_limit() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

/// Describes the machine: number and name of the processors, memory, version of the kernel.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names: Vec<&str> = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name))
        .collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    format!(
        "{} × {}, {} GiB, Linux {}",
        names.len(),
        names.first().unwrap_or(&"unknown processor"),
        kib.unwrap_or(0).div_ceil(1024 * 1024),
        kernel.trim()
    )
}

struct Process {
    pid: u32,
    ticks: u64,
}

fn tree(root: u32) -> anyhow::Result<Vec<Process>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut ticks = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // The process may have ended in the meantime.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The second field is the program's name in parentheses, which may contain any characters.
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        // User and system time of the process, and of children that it has waited for.
        if let (Some(parent), Some(used)) = (number(1), (11..15).map(number).sum::<Option<u64>>()) {
            children.entry(parent as u32).or_default().push(pid);
            ticks.insert(pid, used);
        }
    }
    ticks.contains_key(&root).then_some(()).context("the server process has ended")?;
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        found.push(Process { pid, ticks: ticks.get(&pid).copied().unwrap_or(0) });
        next.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(found)
}
