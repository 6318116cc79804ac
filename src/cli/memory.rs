//! This process's memory, as Linux tells it.

/// Peak and present resident memory in bytes; 0 where the system does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Largest resident set so far, mapped files included.
    pub(crate) peak_rss: u64,
    /// Anonymous resident memory now: what the process allocated itself.
    pub(crate) anon: u64,
}

impl Memory {
    /// Reads it.
    pub(crate) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':')
                .trim()
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        };
        Memory {
            peak_rss: field("VmHWM").unwrap_or(0) * 1024,
            anon: field("RssAnon").unwrap_or(0) * 1024,
        }
    }
}
