//! The addresses of a host.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::lookup_host;

use super::deadline::Deadline;
use super::{ConnectError, Phase};

/// A connect to one address. Boxed, because the compiler cannot tell that an asynchronous closure
/// may go to another thread.
pub(super) type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send + 'a>>;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Asks the system for the addresses of a name, in the order in which they are to be tried. A
/// lookup that is given up goes on in its thread until the resolver gives it up too.
pub(super) async fn resolve(
    host: &str,
    port: u16,
    deadline: Deadline,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let error = |reason: String| ConnectError::new(Phase::Lookup, format!("`{host}`: {reason}"));
    let lookup = async {
        let found = lookup_host((host, port))
            .await
            .map_err(|failed| error(failed.to_string()))?;
        Ok(found.take(ADDRESSES_MAX).collect::<Vec<_>>())
    };
    let addresses = deadline.within(Phase::Lookup, lookup).await?;
    if addresses.is_empty() {
        return Err(error("has no address".to_owned()));
    }
    Ok(addresses)
}

/// Tries one address after the other. One that does not answer leaves the others their share of
/// the time.
pub(super) async fn first<'a, T>(
    addresses: Vec<SocketAddr>,
    phase: Phase,
    deadline: Deadline,
    attempt: impl Fn(SocketAddr, Deadline) -> Attempt<'a, T>,
) -> Result<T, ConnectError> {
    let count = addresses.len();
    let mut reasons = Vec::with_capacity(count);
    for (index, address) in addresses.into_iter().enumerate() {
        let share = deadline.share(count - index);
        match share.within(phase, attempt(address, share)).await {
            Ok(connected) => return Ok(connected),
            Err(error) if error.phase == phase => {
                reasons.push(format!("{address}: {}", error.reason));
            }
            Err(error) => reasons.push(format!("{address}: {error}")),
        }
    }
    Err(ConnectError::new(phase, reasons.join("; ")))
}
