//! What an upgrade owes: mail that another version parked gets one more try.
//!
//! It happens beside all else. Entries are let back by the batch, and only while the pipeline keeps
//! pace with what arrives; an entry that is parked again carries our version and is left alone. A
//! crash loses nothing of it: what is not tried yet is still another version's.

use std::{future::Future, pin::pin};

use super::background::{LOOK, is_time, pause};
use crate::{
    limits::{CLAIM_ENTRIES, RETRY_LONGEST},
    spool::{Spool, SpoolError},
};

/// Gives the parked mail of other versions to the pipeline, until there is none left or `shutdown`.
pub async fn retry_parked(spool: &Spool, shutdown: impl Future) {
    let mut shutdown = pin!(shutdown);
    let (mut after, mut tried) = (i64::MIN, 0);
    loop {
        let length = match batch(spool, after).await {
            Ok(Batch::Tried(ids)) => {
                if tried == 0 {
                    tracing::info!("mail that another version parked is tried again");
                }
                tried += ids.len();
                after = ids.last().copied().unwrap_or(after);
                LOOK
            }
            Ok(Batch::NoTime) => LOOK,
            Ok(Batch::Nothing) => break,
            Err(error) => {
                tracing::warn!(%error, "parked mail of another version waits");
                RETRY_LONGEST
            }
        };
        if !pause(length, &mut shutdown).await {
            return;
        }
    }
    if tried > 0 {
        tracing::info!(
            tried,
            "all mail that another version parked was tried again"
        );
    }
}

enum Batch {
    Tried(Vec<i64>),
    /// The pipeline has enough to do.
    NoTime,
    Nothing,
}

async fn batch(spool: &Spool, after: i64) -> Result<Batch, SpoolError> {
    if !is_time(spool) {
        return Ok(Batch::NoTime);
    }
    let there = spool.clone();
    let look = move || there.reader()?.parked_by_others(after, CLAIM_ENTRIES);
    let ids = tokio::task::spawn_blocking(look)
        .await
        .map_err(|_| SpoolError::Closed)??;
    if ids.is_empty() {
        return Ok(Batch::Nothing);
    }
    Ok(Batch::Tried(spool.retry(ids).await?))
}
