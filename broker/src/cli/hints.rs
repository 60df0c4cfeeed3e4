//! Arguments that people know from the programs of Mosquitto, NanoMQ and EMQ: what stands for them
//! here.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Commands, arguments that they do not have, and what to do instead. The empty command is the
/// program itself.
const HINTS: [(&[&str], &[&str], &str); 15] = [
    (
        &[""],
        &["-c", "--conf", "--config"],
        "run the broker with `tidegate start --conf FILE`",
    ),
    (
        &["", "start"],
        &["-p", "--port", "--url", "--bind"],
        "set `listeners.tcp.default.bind` in a file, or TIDEGATE_LISTENERS__TCP__DEFAULT__BIND",
    ),
    (
        &["", "start"],
        &["-v", "--verbose", "--log_level"],
        "set `log.level` in a file, or TIDEGATE_LOG__LEVEL",
    ),
    (
        &["", "start"],
        &["-d", "--daemon"],
        "it stays in the foreground; a service manager can run it",
    ),
    (
        &["stop", "restart", "reload"],
        &[],
        "end the process with SIGTERM, as service managers do",
    ),
    (
        &["sub", "pub"],
        &["-V", "--protocol-version"],
        "pub and sub always speak MQTT 5",
    ),
    (
        &["sub", "pub"],
        &["-L", "--url"],
        "give -h HOST, -p PORT, -t TOPIC, -u USERNAME and -P PASSWORD",
    ),
    (
        &["sub", "pub"],
        &["-c", "--disable-clean-session"],
        "sub keeps its session with --session-expiry SECONDS and --id",
    ),
    (
        &["sub", "pub"],
        &[
            "--cafile",
            "--capath",
            "--cert",
            "--key",
            "--tls-version",
            "--insecure",
        ],
        "there is no TLS here",
    ),
    (
        &["pub"],
        &["-f", "--file"],
        "publish a file with `tidegate pub --stdin < FILE`",
    ),
    (
        &["sub"],
        &["-W"],
        "limit the time with `timeout SECONDS tidegate sub ...`",
    ),
    (
        &["bench"],
        &[
            "-S",
            "--ssl",
            "--ssl-version",
            "--cacertfile",
            "--certfile",
            "--keyfile",
            "--ws",
            "--quic",
        ],
        "there is no TLS, WebSocket or QUIC here",
    ),
    (
        &["bench"],
        &["--payload-hdrs"],
        "payloads of 16 bytes and more always say when they were published",
    ),
    (
        &["bench"],
        &["-m", "--message"],
        "payloads are made up; give their size with -s BYTES",
    ),
    (
        &["bench"],
        &[
            "-Q",
            "--qoe",
            "--qoelog",
            "--prometheus",
            "--restapi",
            "--log_to",
        ],
        "the times are in the report; --json makes it readable for programs",
    ),
];

/// The error with a tip, if there is something to say. `command` is the first argument.
pub(super) fn with_tip(mut error: clap::Error, command: &str) -> clap::Error {
    let context = if error.kind() == ErrorKind::UnknownArgument {
        ContextKind::InvalidArg
    } else {
        ContextKind::InvalidSubcommand
    };
    let Some(ContextValue::String(unknown)) = error.get(context) else {
        return error;
    };
    let command = if command.starts_with('-') {
        ""
    } else {
        command
    };
    let names_file = ["start", "check"].contains(&command) && !unknown.starts_with('-');
    let tip = if names_file {
        Some(format!("name the file with `--conf {unknown}`"))
    } else {
        find(command, unknown).map(ToOwned::to_owned)
    };
    if let Some(tip) = tip {
        // `stop` is similar to `start`, but not meant.
        error.remove(ContextKind::SuggestedSubcommand);
        let tip = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}

fn find(command: &str, unknown: &str) -> Option<&'static str> {
    let mut hints = HINTS.iter();
    let found = hints.find(|(commands, arguments, _)| {
        commands.contains(&command) && (arguments.is_empty() || arguments.contains(&unknown))
    });
    found.map(|(_, _, tip)| *tip)
}
