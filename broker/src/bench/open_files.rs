//! How many files, and so connections, this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are no connections: of the runtimes, the terminal and their kind.
const OTHER_FILES: u64 = 64;

/// Sees to it that so many connections can be open.
pub(super) fn make_room(connections: u32) -> Result<(), String> {
    let needed = u64::from(connections) + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|it| it >= needed) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum.filter(|&it| it < needed) {
        return Err(format!(
            "{connections} clients take {needed} open files, and this process may have {maximum}: \
             raise it with `ulimit -Hn {needed}`"
        ));
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| format!("the limit of open files cannot be raised to {needed}: {error}"))
}

/// The limit, for people.
pub(super) fn limit() -> String {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or_else(|| "any number".to_owned(), |it| it.to_string())
}
