//! What a process of this machine uses, as Linux tells it.

use std::time::Duration;

use anyhow::{Context, ensure};

/// CPU time since it started, and memory now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// Of all its threads, in user and kernel mode; the kernel counts in ticks of 10 ms.
    pub(super) cpu: Duration,
    /// Resident memory.
    pub(super) resident_bytes: u64,
}

impl Used {
    /// By the process `pid`.
    ///
    /// # Errors
    /// There is no such process, or this is not Linux.
    pub(super) fn by(pid: u32) -> anyhow::Result<Used> {
        let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let stat = read("stat").with_context(|| format!("process {pid} (--pid)"))?;
        let status = read("status").with_context(|| format!("process {pid} (--pid)"))?;
        Ok(Used { cpu: cpu(&stat)?, resident_bytes: resident(&status)? })
    }

    /// What was used since `before`.
    pub(super) fn since(self, before: Used) -> Used {
        Used { cpu: self.cpu.saturating_sub(before.cpu), resident_bytes: self.resident_bytes }
    }

    /// CPU seconds for a million of something, of which so many were done.
    pub(super) fn cpu_per_million(self, done: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / done.max(1) as f64
    }
}

/// `USER_HZ`, which Linux shows to programs as 100 whatever its own tick is.
const TICKS_PER_SECOND: u64 = 100;

fn cpu(stat: &str) -> anyhow::Result<Duration> {
    // The name, in parentheses, may hold spaces.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    ensure!(fields.len() > 12, "/proc/PID/stat has an unknown form");
    // utime and stime are the fields 14 and 15; the first here is the third.
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn resident(status: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")).context("no VmRSS in /proc/PID/status")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_is_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 99 0 0 0 150 50 0 0 20 0 9 0 100 1000 10";
        assert_eq!(cpu(stat).unwrap(), Duration::from_secs(2));
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n").unwrap(), 12 * 1024);
        assert!(cpu("").is_err() && resident("").is_err());
        assert!(Used::by(std::process::id()).unwrap().resident_bytes > 0);
    }
}
