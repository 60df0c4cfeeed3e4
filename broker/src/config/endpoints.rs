//! What listens where: no two listeners or gateways may have the same endpoint.

use super::Config;
use super::mismatch::join;
use super::node::Step;
use super::problem::Problem;

/// An endpoint that is listened at, and the key that says so.
struct Endpoint {
    path: Vec<Step>,
    text: String,
}

/// Where an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'e> {
    Tcp {
        host: &'e str,
        port: &'e str,
    },
    /// A socket in the file system.
    Ipc,
}

/// Stands for all IPv4 addresses, as `*` and nothing do.
const ANY_HOST: &str = "0.0.0.0";

/// Refuses an endpoint that something else listens at already.
pub(super) fn check(config: &Config) -> Result<(), Problem> {
    let endpoints = endpoints(config);
    for (index, endpoint) in endpoints.iter().enumerate() {
        let mut earlier = endpoints.iter().take(index);
        if let Some(first) = earlier.find(|it| it.excludes(endpoint)) {
            let message = format!("`{}` listens on {} already", join(&first.path), first.text);
            return Err(Problem::at_path(endpoint.path.clone(), &message));
        }
    }
    Ok(())
}

fn endpoints(config: &Config) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    let listeners = config.listeners.tcp.iter();
    for (name, listener) in listeners.filter(|(_, listener)| listener.enable) {
        endpoints.push(Endpoint {
            path: path(&["listeners", "tcp", name, "bind"]).collect(),
            text: listener.bind.to_string(),
        });
    }
    let mut add = |keys: [&str; 5], texts: &[String]| {
        for (index, text) in texts.iter().enumerate() {
            endpoints.push(Endpoint {
                path: path(&keys).chain([Step::Index(index)]).collect(),
                text: text.clone(),
            });
        }
    };
    for (name, it) in &config.gateways.zmq {
        add(["gateways", "zmq", name, "sub", "bind"], &it.subscribe.bind);
        add(["gateways", "zmq", name, "pub", "bind"], &it.publish.bind);
    }
    for (name, it) in &config.gateways.nng {
        let (subscribe, publish) = (&it.subscribe, &it.publish);
        add(
            ["gateways", "nng", name, "sub", "listen"],
            &subscribe.listen,
        );
        add(["gateways", "nng", name, "pub", "listen"], &publish.listen);
    }
    endpoints
}

fn path<'k>(keys: &'k [&str]) -> impl Iterator<Item = Step> + 'k {
    keys.iter().map(|key| Step::Key((*key).to_owned()))
}

impl Endpoint {
    fn place(&self) -> Place<'_> {
        if self.text.starts_with("ipc://") {
            return Place::Ipc;
        }
        let address = self.text.strip_prefix("tcp://").unwrap_or(&self.text);
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = match host {
            "" | "*" => ANY_HOST,
            "localhost" => "127.0.0.1",
            host => host,
        };
        Place::Tcp { host, port }
    }

    /// Whether the system would not let both be listened at.
    fn excludes(&self, other: &Self) -> bool {
        match (self.place(), other.place()) {
            (Place::Ipc, Place::Ipc) => self.text == other.text,
            (
                Place::Tcp { host, port },
                Place::Tcp {
                    host: other_host,
                    port: other_port,
                },
            ) => {
                let one_has_any = |one: &str, other: &str| one == ANY_HOST && !other.contains('[');
                // With port 0 each gets its own.
                port == other_port
                    && port != "0"
                    && (host == other_host
                        || one_has_any(host, other_host)
                        || one_has_any(other_host, host))
            }
            (Place::Ipc, Place::Tcp { .. }) | (Place::Tcp { .. }, Place::Ipc) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::load_text;

    #[test]
    fn two_that_listen_at_one_endpoint_are_refused() {
        let zmq = |name: &str, text: &str| {
            format!(
                "gateways.zmq.{name} {{ pub.bind = [\"{text}\"], from_mqtt = [{{ filter = a }}] }}\n"
            )
        };
        let nng = |name: &str, text: &str| {
            format!("gateways.nng.{name} {{ sub.listen = [\"{text}\"], to_mqtt = [{{}}] }}\n")
        };
        let tcp = |name: &str, text: &str| format!("listeners.tcp.{name}.bind = \"{text}\"\n");
        let table = [
            (
                tcp("a", "1883") + &tcp("b", "127.0.0.1:1883"),
                Some("listeners.tcp.a.bind` listens on 0.0.0.0:1883 "),
            ),
            (
                tcp("a", "127.0.0.1:1883") + &tcp("b", "127.0.0.2:1883"),
                None,
            ),
            (
                tcp("a", "localhost:1883") + &tcp("b", "127.0.0.1:1883"),
                Some("listeners.tcp.a.bind` "),
            ),
            (tcp("a", "[::1]:1883") + &tcp("b", "1883"), None),
            (tcp("a", "0") + &tcp("b", "0"), None),
            (
                zmq("a", "tcp://*:5557") + &zmq("b", "tcp://127.0.0.1:5557"),
                Some("gateways.zmq.a.pub.bind[0]` listens on tcp://*:5557 "),
            ),
            (
                zmq("a", "tcp://*:1883"),
                Some("listeners.tcp.default.bind` "),
            ),
            (zmq("a", "tcp://*:5557") + &zmq("b", "tcp://*:5558"), None),
            (
                zmq("a", "ipc:///run/x") + &nng("b", "ipc:///run/x"),
                Some("gateways.zmq.a.pub.bind[0]` listens on ipc:///run/x "),
            ),
            (nng("a", "ipc:///run/x") + &nng("b", "ipc:///run/y"), None),
            (
                zmq("a", "tcp://*:9") + &nng("b", "tcp://127.0.0.1:9"),
                Some("gateways.zmq.a.pub.bind[0]` "),
            ),
        ];
        for (text, expected) in table {
            let error = load_text(Path::new("t.conf"), &text, []).err();
            let error = error.map(|it| it.to_string());
            match expected {
                Some(expected) => assert!(error.is_some_and(|it| it.contains(expected)), "{text}"),
                None => assert_eq!(error, None, "{text}"),
            }
        }
    }
}
