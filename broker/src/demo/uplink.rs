//! The uplink: a proxy between edge and hub that can be cut.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards one port to another while it is up.
pub(super) struct Uplink {
    address: SocketAddr,
    up: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Uplink {
    pub(super) async fn open(hub: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (up, state) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, hub, state));
        Ok(Self {
            address,
            up,
            _tasks: tasks,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Cuts every connection and refuses new ones, or lets them through again.
    pub(super) fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }
}

async fn accept(listener: TcpListener, hub: SocketAddr, state: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((edge, _)) = listener.accept().await {
        connections.spawn(forward(edge, hub, state.clone()));
    }
}

async fn forward(mut edge: TcpStream, hub: SocketAddr, mut state: watch::Receiver<bool>) {
    if !*state.borrow() {
        return;
    }
    let Ok(mut hub) = TcpStream::connect(hub).await else {
        return;
    };
    tokio::select! {
        // However it ends, both sides see their connection close.
        _ = copy_bidirectional(&mut edge, &mut hub) => {}
        _ = state.wait_for(|up| !up) => {}
    }
}
