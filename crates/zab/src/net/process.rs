//! What the kernel says of this process and of its machine. Blocks, shortly.

use std::path::Path;

/// Open files and sockets, and how many there may be; 0 where the kernel does not say.
#[must_use]
pub fn descriptors() -> (u64, u64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(0);
    (open, limit)
}

/// `Environment.list`: what Apache tells of its machine and its JVM; of the latter there is nothing to tell.
#[must_use]
pub fn environment() -> Vec<(&'static str, String)> {
    let of_env = |name: &str| std::env::var(name).unwrap_or_else(|_| "<NA>".to_owned());
    let uname = rustix::system::uname();
    let java = [
        "java.version",
        "java.vendor",
        "java.home",
        "java.class.path",
        "java.library.path",
        "java.io.tmpdir",
        "java.compiler",
    ];
    let directory =
        std::env::current_dir().map_or_else(|_| "<NA>".to_owned(), |dir| dir.display().to_string());
    let megabytes =
        |kilobytes: Option<u64>| kilobytes.map_or("<NA>".to_owned(), |kb| format!("{}MB", kb / 1024));
    let mut entries = vec![
        ("zookeeper.version", crate::server::version::full()),
        ("host.name", uname.nodename().to_string_lossy().into_owned()),
    ];
    entries.extend(java.map(|name| (name, "<NA>".to_owned())));
    entries.extend([
        ("os.name", uname.sysname().to_string_lossy().into_owned()),
        ("os.arch", uname.machine().to_string_lossy().into_owned()),
        ("os.version", uname.release().to_string_lossy().into_owned()),
        ("user.name", of_env("USER")),
        ("user.home", of_env("HOME")),
        ("user.dir", directory),
        ("os.memory.free", megabytes(kilobytes(Path::new("/proc/meminfo"), "MemAvailable:"))),
        ("os.memory.max", megabytes(kilobytes(Path::new("/proc/meminfo"), "MemTotal:"))),
        ("os.memory.total", megabytes(kilobytes(Path::new("/proc/self/status"), "VmRSS:"))),
    ]);
    entries
}

/// A line such as `VmRSS:   1234 kB`.
fn kilobytes(file: &Path, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
