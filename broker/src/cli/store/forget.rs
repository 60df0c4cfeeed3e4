//! `tidegate store forget`

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use persistence::{Inspection, OpenStoreError, Operation, Options, Store};

use super::Place;
use crate::terminal::Terminal;

/// Which session is deleted.
#[derive(Debug, Args)]
pub(super) struct Forget {
    #[command(flatten)]
    place: Place,
    /// The session's client. That of a bridge is $gateway/bridge/NAME.
    #[arg(long, value_name = "CLIENT")]
    client_id: String,
}

pub(super) fn run(command: &Forget) -> ExitCode {
    match command.place.directory() {
        Ok(directory) => Terminal.exit_code(command.forget(&directory)),
        Err(code) => code,
    }
}

impl Forget {
    fn forget(&self, directory: &Path) -> Result<(), String> {
        // Opening would make a store where there is none.
        Inspection::open(directory).map_err(explain)?;
        let (store, recovered) = Store::open(directory, Options::default()).map_err(explain)?;
        let mut sessions = recovered.sessions.iter();
        let session = sessions.find(|it| *it.client_id == *self.client_id);
        if let Some(session) = session {
            store.submit(Operation::DeleteSession(session.id));
        }
        store.close().map_err(|error| error.to_string())?;
        let client = &self.client_id;
        let session = session.ok_or_else(|| {
            format!("no session of {client}; `tidegate store export --what sessions` lists them")
        })?;
        let waiting = session.waiting();
        Terminal.line(format_args!(
            "the session of {client} is deleted, with {waiting} messages that waited for it"
        ));
        Ok(())
    }
}

/// The error with what can be done about it.
fn explain(error: OpenStoreError) -> String {
    let is_in_use = matches!(error, OpenStoreError::InUse(_));
    let tip = if is_in_use {
        "; stop the daemon first"
    } else {
        ""
    };
    format!("{error}{tip}")
}
