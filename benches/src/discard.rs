//! A milter that discards every message: the least that one can do which takes mail out of the
//! stream. rua-milter is set beside it, with the same library and the same Postfix.

use std::path::Path;

use anyhow::Context as _;
use indymilter::{Callbacks, Config, Status};
use tokio::{net::UnixListener, signal::unix};

/// Serves at a unix socket until SIGTERM.
pub fn serve(socket: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(socket).context("cannot bind the socket")?;
        let mut terminate = unix::signal(unix::SignalKind::terminate())?;
        let callbacks: Callbacks<()> =
            Callbacks::new().on_eom(|_| Box::pin(async { Status::Discard }));
        let end = async {
            terminate.recv().await;
        };
        indymilter::run(listener, callbacks, Config::default(), end).await?;
        Ok(())
    })
}
