//! Tells the instruments what the report store knows of each domain.
//!
//! No export may wait for a database, so it is looked at now and then, beside the writer.

use std::{future::Future, path::PathBuf, sync::Arc};

use super::{Rooms, background::pause, worker::chain};
use crate::{
    dns::record::{self, Selection},
    limits,
    store::{
        Reader, StoreError,
        states::{New, Place},
    },
    telemetry::domains::{DomainStates, Published},
};

/// Looks until `shutdown`, from the beginning of the store at `path`.
pub async fn run(rooms: Arc<Rooms>, path: PathBuf, shutdown: impl Future) {
    let mut shutdown = std::pin::pin!(shutdown);
    let (mut place, mut reloads) = (Place::default(), 0);
    loop {
        let (rooms, path) = (Arc::clone(&rooms), path.clone());
        let now = rooms.instruments.domains.reloads();
        if now != reloads {
            // Other domains are named, of which nothing was kept.
            (place, reloads) = (Place::default(), now);
        }
        let look = move || {
            let states = &rooms.instruments.domains;
            Reader::open(&path)?.news(&mut place, |new| tell(states, new))?;
            Ok::<_, StoreError>(place)
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(read)) => place = read,
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "states are not told"),
            Err(error) => tracing::error!(%error, "states are not told"),
        }
        if !pause(limits::STATES_LOOK, &mut shutdown).await {
            return;
        }
    }
}

fn tell(states: &DomainStates, new: New) {
    let (domain, texts) = match new {
        New::Report(domain, kind, at) => return states.reported(domain, kind, at),
        New::Published(domain, texts) => (domain, texts),
    };
    let published = match record::select(&texts) {
        Selection::One(record) => Some(Published {
            policy: record.p,
            subdomains: record.sp.or(record.p),
            testing: record.t,
        }),
        // Receivers use none.
        Selection::None { .. } | Selection::Several(_) => None,
    };
    states.published(domain, published);
}
