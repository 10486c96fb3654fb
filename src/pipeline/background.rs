//! Work that may wait: done in steps, with the store and the disk left to others in between.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use super::{WorkError, worker::Trouble};
use crate::{limits, spool::Spool};

/// How often to look whether there is time.
pub const LOOK: Duration = Duration::from_secs(1);

/// Does a piece of blocking work, then nothing for as long as it took.
pub async fn step<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkError> + Send + 'static,
) -> Result<T, Trouble> {
    let began = Instant::now();
    let done = tokio::task::spawn_blocking(work).await?;
    tokio::time::sleep(began.elapsed().max(limits::BACKGROUND_PAUSE)).await;
    Ok(done?)
}

/// Whether the pipeline keeps pace with what arrives.
pub fn is_time(spool: &Spool) -> bool {
    spool.state().depth().new_entries < limits::CLAIM_ENTRIES as u64
}

/// Pauses; whether to go on then.
pub async fn pause<F: Future>(length: Duration, shutdown: &mut Pin<&mut F>) -> bool {
    tokio::select! {
        _ = shutdown.as_mut() => false,
        () = tokio::time::sleep(length) => true,
    }
}
