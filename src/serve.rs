//! The daemon: opens, binds, starts every task, waits for signals, drains.
//!
//! Ready means: mail of ours becomes durable. The report store opens behind the doors and may
//! take its time to migrate.

use std::{
    future::Future,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    archive::{self, Archive},
    config::{Config, file},
    data_dir, drift,
    intake::{Closing, Intake, hook, milter, milter::listener::MilterListener},
    limits,
    pipeline::{Rooms, observe, retention, upgrade, worker},
    sockets::{self, inherited::Inherited},
    spool::{self, Spool, State},
    store::{self, Store},
    telemetry::{self, Telemetry, faults::Faults, instruments::Instruments},
    terms::Fault,
    web::{self, Health},
};

/// Tasks still running this long after they were asked to end are left behind; nothing that
/// was acknowledged depends on them.
const END: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT. `path` is where SIGHUP reads the configuration again.
pub async fn run(path: &Path, config: Config, inherited: Inherited) -> anyhow::Result<()> {
    let exports = Arc::default();
    telemetry::log::init(&config.log, &exports)?;
    telemetry::install_crypto();
    let signals = Signals::listen()?;
    let _lock = data_dir::lock(&config.data_dir).await?;
    let names = config.domains.iter().map(|entry| entry.name);
    let known = &config.reporters.known;
    let telemetry = telemetry::start(&config.metrics, &config.node, names, known, &exports)?;
    let gauges = Arc::clone(&telemetry.instruments.gauges);
    let (spool, writer) = spool::open(&config.data_dir, config.limits, gauges)?;
    if config.domains.is_empty() {
        tracing::warn!("no domain is configured: no mail is ours");
    }

    let (new_config, config) = watch::channel(Arc::new(config));
    let (stop, _) = watch::channel(false);
    let intake = Intake::new(
        config.clone(),
        spool.clone(),
        Arc::clone(&telemetry.instruments),
    );
    let pulse = Arc::new(Pulse::default());
    let mut tasks = JoinSet::new();
    open_doors(&mut tasks, &intake, inherited, &pulse, &stop).await?;
    open_web(&mut tasks, &telemetry, &spool, &intake.closing, &stop).await?;
    let back = back_rooms(
        spool.clone(),
        Arc::clone(&telemetry.instruments.faults),
        rooms(&telemetry),
        config.clone(),
        stop.subscribe(),
    );
    tasks.spawn(back);
    tasks.spawn(watchdog(Arc::clone(spool.state()), pulse, stopped(&stop)));

    notify(&[NotifyState::Ready]);
    let current = config.borrow().clone();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        domains = current.domains.len(),
        data_dir = %current.data_dir.display(),
        waiting = spool.state().depth().new_entries,
        "ready"
    );
    drop(current);

    let ended = attend(signals, path, &new_config, &spool, &telemetry, &mut tasks).await;
    notify(&[NotifyState::Stopping]);
    intake.closing.close();
    if tokio::time::timeout(limits::DRAIN, intake.closing.empty())
        .await
        .is_err()
    {
        tracing::warn!("transactions are still open; their mail will come again");
    }
    stop.send_replace(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(END, all).await.is_err() {
        tracing::warn!("some work did not end in time and will be done again");
        tasks.abort_all();
    }
    drop((intake, spool));
    if tokio::time::timeout(END, tokio::task::spawn_blocking(|| writer.join()))
        .await
        .is_err()
    {
        tracing::warn!("the spool's writer did not end in time");
    }
    telemetry.flush().await;
    tracing::info!("ended");
    ended
}

/// Resolves when everything is to end.
fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut stop = stop.subscribe();
    async move {
        // A sender that is gone says the same.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

async fn open_doors(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    intake: &Intake,
    mut inherited: Inherited,
    pulse: &Arc<Pulse>,
    stop: &watch::Sender<bool>,
) -> anyhow::Result<()> {
    let config = intake.config.borrow().clone();
    for listen in &config.listen {
        let closed = Arc::clone(&intake.closing).closed();
        let listener = MilterListener::bind(&listen.address, &mut inherited, closed).await?;
        tracing::info!(listener = %listen.name, address = %listen.address, "listening");
        let (name, intake) = (listen.name.clone(), intake.clone());
        let max = config.milter.max_connections;
        let serve = milter::run(listener, listen.clone(), max, intake, stopped(stop));
        tasks.spawn(door(name, serve, Arc::clone(pulse)));
    }
    if let Some(configured) = &config.hook {
        let secrets = hook::Secrets::read(configured)?;
        let socket = sockets::bind(&configured.address, &mut inherited).await?;
        let name = hook::LISTENER.to_owned();
        tracing::info!(listener = %name, address = %configured.address, "listening");
        let (serve, stop) = (hook::run(socket, secrets, intake.clone()), stopped(stop));
        let serve = async move {
            // Whoever is slow to ask has been waited for long enough by then.
            tokio::select! {
                result = serve => result,
                () = stop => Ok(()),
            }
        };
        tasks.spawn(door(name, serve, Arc::clone(pulse)));
    }
    for address in inherited.left() {
        tracing::warn!(
            address,
            "systemd hands over a socket that no [[listen]] names; nobody answers there"
        );
    }
    Ok(())
}

/// One listener. Its pulse beats in the task that accepts, so that it tells whether that lives.
async fn door(
    name: String,
    serve: impl Future<Output = std::io::Result<()>>,
    pulse: Arc<Pulse>,
) -> anyhow::Result<()> {
    tokio::select! {
        result = serve => result.with_context(|| format!("listener {name} ended")),
        () = pulse.join() => Ok(()),
    }
}

async fn open_web(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    telemetry: &Telemetry,
    spool: &Spool,
    closing: &Arc<Closing>,
    stop: &watch::Sender<bool>,
) -> anyhow::Result<()> {
    let Some(address) = telemetry.page else {
        return Ok(());
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot serve the Prometheus page on {address}"))?;
    tracing::info!(%address, "serving /metrics, /livez and /readyz");
    let (state, closing) = (Arc::clone(spool.state()), Arc::clone(closing));
    let faults = Arc::clone(&telemetry.instruments.faults);
    let health = move || Health {
        // A listener that ends by itself ends the program; so what is left is that we end.
        not_ready: if state.is_failing() {
            Some("the spool cannot be written")
        } else {
            closing.is_closed().then_some("shutting down")
        },
        degraded: faults.list(),
    };
    let page = telemetry.renderer();
    let stop = stopped(stop);
    tasks.spawn(async move { Ok(web::serve(listener, page, health, stop).await?) });
    Ok(())
}

/// What the back rooms share with the telemetry.
fn rooms(telemetry: &Telemetry) -> impl FnOnce(Arc<Mutex<Store>>, Archive) -> Rooms + use<> {
    let instruments = Arc::clone(&telemetry.instruments);
    let labels = Arc::clone(&telemetry.labels);
    let reporters = Arc::clone(&telemetry.reporters);
    move |store, archive| Rooms {
        store,
        archive,
        instruments,
        labels,
        reporters,
    }
}

/// Opens the report store, however long that takes and however often it fails, then works and
/// watches.
async fn back_rooms(
    spool: Spool,
    faults: Arc<Faults>,
    rooms: impl FnOnce(Arc<Mutex<Store>>, Archive) -> Rooms,
    config: watch::Receiver<Arc<Config>>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let dir = config.borrow().data_dir.clone();
    let mut pause = limits::RETRY_FIRST;
    let (store, archive) = loop {
        let dir = dir.clone();
        let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            Ok((
                Store::open(&dir.join(store::FILE))?,
                Archive::open(&dir.join(archive::FOLDER))?,
            ))
        });
        let error = match opened.await? {
            Ok(opened) => break opened,
            Err(error) => error,
        };
        faults.set_back_rooms(Some(Fault::Store));
        tracing::error!(
            error = format!("{error:#}"),
            "cannot open the report store; reports wait in the spool"
        );
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(limits::RETRY_LONGEST);
    };
    let path = dir.join(store::FILE);
    let store = Arc::new(Mutex::new(store));
    let rooms = Arc::new(rooms(Arc::clone(&store), archive));
    let (told, queue) = drift::webhook::queue(config.clone(), Arc::clone(&rooms.instruments));
    let observers = observers(&rooms.instruments, told);
    let stopped = || {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    };
    tokio::join!(
        worker::run(spool.clone(), Arc::clone(&rooms), config.clone(), stopped()),
        upgrade::retry_parked(&spool, stopped()),
        upgrade::reread(Arc::clone(&rooms), &spool, config.clone(), stopped()),
        observe::run(Arc::clone(&rooms), path, stopped()),
        retention::run(rooms, spool.clone(), config.clone(), stopped()),
        drift::webhook::run(queue, config.clone(), stopped()),
        drift::watch::run(store, config, observers, stopped()),
    );
    Ok(())
}

/// Where the watch over DNS counts and tells.
fn observers(
    instruments: &Arc<Instruments>,
    told: drift::webhook::Sender,
) -> drift::watch::Observers {
    let (queries, findings) = (Arc::clone(instruments), Arc::clone(instruments));
    let faults = Arc::clone(&instruments.faults);
    let states = Arc::clone(&instruments.domains);
    drift::watch::Observers {
        queried: Arc::new(move |outcome, time| queries.dns(outcome, time)),
        looked_at: Box::new(move |domain, since| states.looked_at(domain, since)),
        open_findings: Box::new(move |open| findings.set_findings(open)),
        changed: Box::new(move |domain, changes, at| told.tell(domain, changes, at)),
        adopted: Box::new(move || faults.forget_lookups()),
    }
}

/// The signals that are ours. From here on none of them ends us by itself, so that one that
/// comes while we start is not lost and kills nobody in the middle of a message.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("SIGHUP")?,
        })
    }
}

/// Waits for signals; ends at SIGTERM, SIGINT, or when a task ends by itself.
async fn attend(
    mut signals: Signals,
    path: &Path,
    config: &watch::Sender<Arc<Config>>,
    spool: &Spool,
    telemetry: &Telemetry,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => reload(path, config, spool, telemetry),
            Some(ended) = tasks.join_next() => {
                ended.context("a task ended by a panic")??;
                anyhow::bail!("a task ended before it was asked to");
            }
        }
    }
}

/// Takes the configuration anew; a broken one changes nothing.
fn reload(path: &Path, config: &watch::Sender<Arc<Config>>, spool: &Spool, telemetry: &Telemetry) {
    let new = match file::load(path) {
        Ok(new) => new,
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "the configuration is broken; the old one stays");
            return;
        }
    };
    let old = config.borrow().clone();
    for (key, same) in [
        ("data_dir", old.data_dir == new.data_dir),
        ("node", old.node == new.node),
        ("listen", old.listen == new.listen),
        (
            "milter.max_connections",
            old.milter.max_connections == new.milter.max_connections,
        ),
        ("hook", old.hook == new.hook),
        ("log", old.log == new.log),
        ("metrics", old.metrics == new.metrics),
    ] {
        if !same {
            tracing::warn!(key, "takes effect at the next start only");
        }
    }
    let new = Config {
        data_dir: old.data_dir.clone(),
        node: old.node.clone(),
        listen: old.listen.clone(),
        hook: old.hook.clone(),
        log: old.log,
        metrics: old.metrics.clone(),
        ..new
    };
    spool.state().set_limits(new.limits);
    telemetry
        .labels
        .replace(new.domains.iter().map(|entry| entry.name));
    telemetry.instruments.domains.forget_looks();
    let known: Vec<_> = new.reporters.known.names().collect();
    telemetry.reporters.replace(&known);
    tracing::info!(domains = new.domains.len(), "configuration reloaded");
    config.send_replace(Arc::new(new));
}

/// Shows that every accepting task still runs.
#[derive(Debug, Default)]
struct Pulse {
    doors: AtomicU64,
    beats: AtomicU64,
}

/// How often a door shows that it lives.
const BEAT: Duration = Duration::from_secs(1);

impl Pulse {
    /// Beats for ever.
    async fn join(&self) {
        self.doors.fetch_add(1, Relaxed);
        loop {
            tokio::time::sleep(BEAT).await;
            self.beats.fetch_add(1, Relaxed);
        }
    }
}

/// Feeds systemd's watchdog as long as every door and the spool's writer show signs of life.
async fn watchdog(state: Arc<State>, pulse: Arc<Pulse>, stop: impl Future) -> anyhow::Result<()> {
    let mut stop = std::pin::pin!(stop);
    let Some(limit) = sd_notify::watchdog_enabled() else {
        stop.await;
        return Ok(());
    };
    let round = limit / 3;
    let mut beats = 0;
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(()),
            () = tokio::time::sleep(round) => {}
        }
        let now = pulse.beats.load(Relaxed);
        // Each door beats once a second; half of that shows that none of them is stuck for long.
        let expected = pulse.doors.load(Relaxed) * round.as_secs() / 2;
        let doors_live = now - beats >= expected;
        beats = now;
        let writer_lives = state.last_beat().elapsed() < limit;
        if doors_live && writer_lives {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(doors_live, writer_lives, "no sign of life");
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // Not under systemd, or systemd is gone: neither is a reason to stop taking mail.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
