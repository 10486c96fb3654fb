//! Tells a web server of each finding that opens or closes: one JSON document, one POST.
//!
//! Nobody waits for it. A change goes into a queue of [`limits::WEBHOOK_QUEUE`], or is dropped when
//! that is full. One task posts them, one after the other, tries again what failed as often as is
//! configured, and ends within [`limits::WEBHOOK_END`] when the daemon does. Whatever becomes of a
//! change is counted once, and said in the log if it was not delivered.
//!
//! Redirects are not followed, as the secret is for the configured server only, and answers are not
//! read beyond their head. The URL is never logged: with many services it is a secret itself.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
    redirect,
};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::advice;
use crate::{
    config::{Config, Webhook},
    dns::Finding,
    domain::Domain,
    limits,
    store::published::{Changes, OpenFinding},
    telemetry::Instruments,
    terms::{FindingEvent, Posting},
};

/// The document.
#[derive(Debug, serde::Serialize)]
struct Change {
    event: FindingEvent,
    /// When, UTC epoch seconds, as the other times are.
    at: i64,
    /// The host that found it.
    node: String,
    domain: Domain,
    #[serde(flatten)]
    finding: Finding,
    next_step: &'static str,
    first_seen: i64,
    last_seen: i64,
}

/// A change on its way. Wherever it ends, it is counted.
struct Pending {
    change: Change,
    became: Posting,
    instruments: Arc<Instruments>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.instruments.posted(self.became);
        let Change {
            event,
            domain,
            finding,
            ..
        } = &self.change;
        let (kind, became) = (finding.kind, self.became);
        if became == Posting::Delivered {
            debug!(%domain, %kind, %event, "told the webhook");
        } else {
            warn!(%domain, %kind, %event, %became, "the webhook was not told");
        }
    }
}

/// Where changes are put.
#[derive(Clone)]
pub struct Sender {
    queue: mpsc::Sender<Pending>,
    config: watch::Receiver<Arc<Config>>,
    instruments: Arc<Instruments>,
}

/// Where [`run`] takes them.
pub struct Receiver(mpsc::Receiver<Pending>);

/// An empty queue.
pub fn queue(
    config: watch::Receiver<Arc<Config>>,
    instruments: Arc<Instruments>,
) -> (Sender, Receiver) {
    let (queue, receiver) = mpsc::channel(limits::WEBHOOK_QUEUE);
    let sender = Sender {
        queue,
        config,
        instruments,
    };
    (sender, Receiver(receiver))
}

impl Sender {
    /// Has somebody told, if a webhook is configured; returns at once.
    pub fn tell(&self, domain: &Domain, changes: &Changes, at: i64) {
        let node = {
            let config = self.config.borrow();
            if config.webhook.is_none() {
                return;
            }
            config.node.clone()
        };
        let opened = changes.opened.iter().map(|f| (FindingEvent::Opened, f));
        let closed = changes.closed.iter().map(|f| (FindingEvent::Closed, f));
        for (event, found) in opened.chain(closed) {
            let OpenFinding {
                finding,
                first_seen,
                last_seen,
                ..
            } = found.clone();
            let pending = Pending {
                change: Change {
                    event,
                    at,
                    node: node.clone(),
                    domain: domain.clone(),
                    next_step: advice::next_step(finding.kind),
                    finding,
                    first_seen,
                    last_seen,
                },
                became: Posting::Dropped,
                instruments: Arc::clone(&self.instruments),
            };
            // What finds no room is dropped here, and counted by that.
            drop(self.queue.try_send(pending));
        }
    }
}

/// Posts what is in the queue until every [`Sender`] is gone, or `shutdown` was
/// [`limits::WEBHOOK_END`] ago.
pub async fn run(
    queue: Receiver,
    config: watch::Receiver<Arc<Config>>,
    shutdown: impl Future<Output = ()>,
) {
    let mut work = pin!(work(queue.0, config));
    tokio::select! {
        () = &mut work => return,
        () = shutdown => {}
    }
    let _ = timeout(limits::WEBHOOK_END, work).await;
}

async fn work(mut queue: mpsc::Receiver<Pending>, config: watch::Receiver<Arc<Config>>) {
    let mut client = None;
    while let Some(mut pending) = queue.recv().await {
        let webhook = config.borrow().webhook.clone();
        // A reload may have taken it away.
        if let Some(webhook) = webhook {
            pending.became = deliver(&mut client, &webhook, &pending.change).await;
        }
    }
}

/// Why a post failed.
enum Failure {
    /// Another try may go better.
    Passing(String),
    /// The server does not want it.
    Final(StatusCode),
}

async fn deliver(client: &mut Option<Client>, webhook: &Webhook, change: &Change) -> Posting {
    let mut pause = limits::RETRY_FIRST;
    for tries_left in (0..=webhook.retries).rev() {
        match post(client, webhook, change).await {
            Ok(()) => return Posting::Delivered,
            Err(Failure::Final(status)) => {
                warn!(status = status.as_u16(), "the webhook refuses");
                return Posting::GivenUp;
            }
            Err(Failure::Passing(error)) => warn!(error, tries_left, "the webhook failed"),
        }
        if tries_left > 0 {
            sleep(pause).await;
            pause = (pause * 2).min(limits::RETRY_LONGEST);
        }
    }
    Posting::GivenUp
}

async fn post(
    client: &mut Option<Client>,
    webhook: &Webhook,
    change: &Change,
) -> Result<(), Failure> {
    let passing = |error: &dyn std::fmt::Display| Failure::Passing(error.to_string());
    let body = serde_json::to_vec(change).map_err(|e| passing(&e))?;
    let (have, file) = (client.clone(), webhook.secret_file.clone());
    // Both read files, the certificates of the system and the secret, which may have changed.
    let ready = spawn_blocking(move || {
        let client = have.map_or_else(new_client, Ok)?;
        let secret = file.as_deref().map(secret).transpose();
        Ok::<_, reqwest::Error>((client, secret))
    });
    let (ready, secret) = ready
        .await
        .map_err(|e| passing(&e))?
        .map_err(|e| passing(&e))?;
    let secret = secret.map_err(|e| Failure::Passing(format!("{e}: {}", e.source)))?;
    let mut request = client
        .insert(ready)
        .post(webhook.url.clone())
        .timeout(webhook.timeout)
        .header(CONTENT_TYPE, "application/json")
        .body(body);
    if let Some(secret) = secret {
        request = request.header(webhook.secret_header.as_str(), secret);
    }
    let answer = request.send().await.map_err(|error| {
        let error = error.without_url();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        Failure::Passing(format!("{error}: {}", cause.unwrap_or_default()))
    })?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
            Err(passing(&status))
        }
        status if status.is_server_error() => Err(passing(&status)),
        status => Err(Failure::Final(status)),
    }
}

fn new_client() -> reqwest::Result<Client> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("rua-milter/", env!("CARGO_PKG_VERSION")))
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
}

/// The value of the secret header: one line of a file. Without its end it must be fit for a header.
pub fn secret(path: &Path) -> Result<HeaderValue, BadSecret> {
    let read = || {
        let mut text = Vec::new();
        let file = File::open(path)?;
        file.take(limits::WEBHOOK_SECRET).read_to_end(&mut text)?;
        HeaderValue::from_bytes(text.trim_ascii()).map_err(io::Error::other)
    };
    let mut secret = read().map_err(|source| BadSecret {
        path: path.to_owned(),
        source,
    })?;
    secret.set_sensitive(true);
    Ok(secret)
}

/// The secret cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("webhook.secret_file: {}: expected a file with one line of text", path.display())]
pub struct BadSecret {
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests;
