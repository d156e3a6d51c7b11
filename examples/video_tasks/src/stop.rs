//! When to stop: Ctrl-C, and what a supervisor sends.

use std::io;

/// Ready when somebody wants this process to end. It hears of it from now on, not only when it is
/// awaited.
///
/// # Errors
/// Where the system gives no word of it.
#[cfg(unix)]
pub fn requested() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ready when somebody wants this process to end. It hears of it from now on, not only when it is
/// awaited.
///
/// # Errors
/// Where the system gives no word of it.
#[cfg(windows)]
pub fn requested() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::windows::{ctrl_c, ctrl_close};

    let (mut interrupt, mut close) = (ctrl_c()?, ctrl_close()?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = close.recv() => {}
        }
    })
}
