//! The daemon: everything that runs, from its settings to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use persistence::{CloseStoreError, OpenStoreError, Recovered, Store};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::config::{Change, ConfigError, ConfiguredExtensions};
use crate::exchange::Exchange;
use crate::gateways::{GATEWAY_PREFIX, GatewaySession};
use crate::listener::Listener;
use crate::settings::{ListenerSettings, Settings};
use crate::supervisor::Supervisor;

/// How long it may take to read the files that a new configuration names; a key that is encrypted
/// takes up to a second.
const FILES_TIME_MAX: Duration = Duration::from_secs(10);

/// A running broker.
pub(crate) struct Daemon {
    supervisor: Supervisor,
    store: Store,
    /// What runs.
    settings: Settings,
}

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A listener's address cannot be bound.
    #[error("listener `{name}` cannot listen on {bind}: {source}")]
    Bind {
        /// The listener.
        name: String,
        /// Its address.
        bind: String,
        /// What the system said.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// There is no directory for the store.
    #[error("no data directory: neither HOME nor XDG_STATE_HOME is set; set `store.path`")]
    NoDirectory,
}

/// Why another configuration is not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// It is wrong, or a file that it names.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Such a file is on a disk that does not answer.
    #[error("the files that it names cannot be read within {} s", FILES_TIME_MAX.as_secs())]
    Time(#[from] Elapsed),
    /// Reading them panicked.
    #[error("the files that it names could not be read: {0}")]
    Panicked(#[from] JoinError),
}

/// Why the daemon did not end in order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StopError {
    /// The store has lost something.
    #[error(transparent)]
    Store(#[from] CloseStoreError),
    /// Closing the store panicked.
    #[error("the store could not be closed: {0}")]
    Panicked(#[from] JoinError),
}

impl Daemon {
    /// Binds the listeners, opens the store, and starts everything.
    ///
    /// # Errors
    /// An address or the store cannot be used; nothing is left running then.
    pub(crate) async fn start(mut settings: Settings) -> Result<Self, StartError> {
        // Sockets first: a busy port is the commonest mistake, and the store is not touched then.
        let mut sockets = Vec::new();
        for listener in settings.listeners() {
            let socket = bind(&listener).await?;
            sockets.push((listener, socket));
        }
        let (store, mut recovered) = open_store(&settings)?;
        let ConfiguredExtensions {
            extensions,
            preset_sessions,
        } = settings.take_extensions();
        let mut exchange = Exchange::new(
            store.clone(),
            settings.limits(),
            settings.bounds(),
            extensions,
        );
        exchange.loop_guard = settings.loop_guard(recovered.broker_id.as_deref());
        let exchange = Arc::new(exchange);
        exchange.drop_oldest_when_full();
        let orphans = orphans(&settings, &recovered);
        let wills = std::mem::take(&mut recovered.wills);
        recover(&exchange, recovered);
        for (name, config) in settings.bridges() {
            GatewaySession::prepare(&exchange, &name, config);
        }
        preset_sessions.iter().for_each(|it| exchange.preset(it));
        let mut listeners = Vec::new();
        for (listener, socket) in sockets {
            let address = socket
                .local_addr()
                .map(|it| it.to_string())
                .unwrap_or_default();
            let name = &listener.name;
            if listener.is_any {
                tracing::info!(listener = name, address, "listening on every address");
            } else {
                tracing::info!(listener = name, address, "listening");
            }
            listeners.push(Listener {
                name: listener.name,
                socket,
                access: Arc::new(listener.access),
                exchange: Arc::clone(&exchange),
            });
        }
        let announcements = settings.announcement_interval();
        let accesses = listeners.iter().map(|it| Arc::clone(&it.access)).collect();
        let mut supervisor =
            Supervisor::start(Arc::clone(&exchange), accesses, announcements).await;
        orphans.iter().for_each(|it| supervisor.retire_gateway(it));
        // Last of what was there, so that whoever is there gets what is published.
        exchange.recover_wills(wills);
        for name in settings.paused() {
            supervisor.pause_gateway(&name);
        }
        for (name, gateway) in settings.gateways() {
            supervisor.start_gateway(name, Arc::clone(gateway)).await;
        }
        supervisor.listen(listeners);
        Ok(Self {
            supervisor,
            store,
            settings,
        })
    }

    /// Goes on with another configuration: gateways and bridges that differ are stopped and
    /// started, the others do not notice, and loops are guarded against as it says. Whatever else differs waits for the next start.
    ///
    /// # Errors
    /// One of those that would be started could not use one of its files: nothing is changed.
    pub(crate) async fn reload(&mut self, new: Settings) -> Result<(), ReloadError> {
        let changes = self.settings.gateway_changes(&new);
        let new = with_files(new, changes.clone()).await?;
        for section in self.settings.fixed_changes(&new) {
            tracing::warn!(section, "a changed section takes effect at the next start");
        }
        self.supervisor.set_guarding(new.guarding());
        let leaving = changes.iter().filter(|(_, it)| **it == Change::Removed);
        leaving.for_each(|(name, _)| self.supervisor.note_leaving(name));
        // Before any is started: it may need what another one has open.
        let stopping = changes.iter().filter(|(_, it)| it.stops());
        let stopping = stopping.map(|(name, _)| name);
        self.supervisor.stop_gateways(stopping).await;
        for (name, change) in &changes {
            match change {
                Change::Paused => self.supervisor.pause_gateway(name),
                Change::Removed => self.supervisor.retire_gateway(name),
                Change::Added | Change::Changed | Change::Unchanged => {}
            }
        }
        for (name, gateway) in new.gateways() {
            if changes.get(name).is_some_and(|it| it.starts()) {
                let gateway = Arc::clone(gateway);
                self.supervisor.start_gateway(name, gateway).await;
            }
        }
        let count = |wanted| changes.values().filter(|it| **it == wanted).count();
        tracing::info!(
            added = count(Change::Added),
            changed = count(Change::Changed),
            paused = count(Change::Paused),
            removed = count(Change::Removed),
            unchanged = count(Change::Unchanged),
            "the configuration was read anew"
        );
        self.settings.take_gateways(new);
        Ok(())
    }

    /// Says farewell to every client, stops everything, and writes what the store holds.
    ///
    /// # Errors
    /// Something is not on the disk that should be.
    pub(crate) async fn stop(self) -> Result<(), StopError> {
        self.supervisor.stop().await;
        let store = self.store;
        // Closing waits for the disk, which must not hold up a worker.
        spawn_blocking(move || store.close()).await??;
        Ok(())
    }
}

/// The same settings, if the gateways and bridges that they start can use their files.
async fn with_files(
    new: Settings,
    changes: BTreeMap<String, Change>,
) -> Result<Settings, ReloadError> {
    let starts = move |name: &str| changes.get(name).is_some_and(|it| it.starts());
    let reading = spawn_blocking(move || new.check_files(starts).map(|()| new));
    Ok(timeout(FILES_TIME_MAX, reading).await???)
}

async fn bind(listener: &ListenerSettings) -> Result<TcpListener, StartError> {
    listen(&listener.bind, listener.backlog)
        .await
        .map_err(|source| StartError::Bind {
            name: listener.name.clone(),
            bind: listener.bind.clone(),
            source,
        })
}

/// Listens on the first address of a name that can be bound.
async fn listen(bind: &str, backlog: u16) -> io::Result<TcpListener> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in tokio::net::lookup_host(bind).await? {
        let listening = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .and_then(|socket| {
            // As the standard library does: connections that ended do not keep a restart from it.
            socket.set_reuseaddr(true)?;
            // The broker puts small packets together itself; waiting for more helps nobody. The
            // sockets that are accepted inherit it.
            socket.set_nodelay(true)?;
            socket.bind(address)?;
            socket.listen(backlog.into())
        });
        match listening {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open_store(settings: &Settings) -> Result<(Store, Recovered), StartError> {
    let Some(options) = settings.store_options() else {
        return Ok((Store::disabled(), Recovered::default()));
    };
    let directory = settings.store_directory().or_else(state_directory);
    let directory = directory.ok_or(StartError::NoDirectory)?;
    let (store, recovered) = Store::open(&directory, options)?;
    let sessions = recovered.sessions.len();
    let retained = recovered.retained.len();
    tracing::info!(directory = %directory.display(), sessions, retained, "store opened");
    Ok((store, recovered))
}

/// Where a daemon keeps its state unless it is told: what systemd assigns, the system's place
/// for a system service, or the user's.
pub(crate) fn state_directory() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|it| it.join("tidegate")))
        .or_else(|| variable("HOME").map(|it| it.join(".local/state/tidegate")))
}

/// Puts back what the store knew.
fn recover(exchange: &Exchange, recovered: Recovered) {
    exchange.recover_delayed(recovered.delayed);
    exchange.recover_retained(recovered.retained);
    exchange.recover_names(recovered.names);
    let mirrored = &exchange.demand.mirrored;
    let sessions = recovered.sessions.into_iter();
    let sessions = sessions.filter_map(|it| mirrored.recover(it));
    sessions.for_each(|it| exchange.recover_session(it));
}

/// The gateways whose sessions the store has and that are not configured any more.
fn orphans(settings: &Settings, recovered: &Recovered) -> Vec<String> {
    let paused = settings.paused();
    let running = settings.gateways().iter().map(|(name, _)| name);
    let known: BTreeSet<&String> = running.chain(&paused).collect();
    let sessions = recovered.sessions.iter();
    let names = sessions.filter_map(|it| it.client_id.strip_prefix(GATEWAY_PREFIX));
    let names = names.map(str::to_owned);
    names.filter(|name| !known.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_sends_without_delay() {
        let listening = listen("127.0.0.1:0", 1).await.unwrap();
        let client = TcpStream::connect(listening.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listening.accept());
        assert!(accepted.unwrap().0.nodelay().unwrap());
        assert!(!client.unwrap().nodelay().unwrap());
    }
}
