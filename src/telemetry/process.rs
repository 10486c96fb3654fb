//! The process itself: what it takes, and which version it is.

use opentelemetry::{KeyValue, metrics::Meter};

use super::{instruments::state, metrics};

/// Bytes of a page; the kernel counts resident memory in pages.
const PAGE: u64 = 4_096;

pub(super) fn observe(meter: &Meter) {
    state(meter, &metrics::MEMORY, |out| {
        // Where /proc is not to be had there is no point.
        if let Some(bytes) = resident() {
            out.observe(bytes, &[]);
        }
    });
    state(meter, &metrics::DESCRIPTORS, |out| {
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            // One is that of the folder itself.
            out.observe(open.count().saturating_sub(1) as u64, &[]);
        }
    });
    state(meter, &metrics::BUILD, |out| {
        out.observe(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
    });
}

fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let page = page
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok());
    Some(pages * page.unwrap_or(PAGE))
}
