//! What the configuration means for a connection: where to, how, and what CONNECT says.

use std::time::Duration;

use bytes::Bytes;
use gateway::ConfigError;
use mqtt::connection::{ClientOptions, WillMessage};
use mqtt::packet::ForwardedProperties;
use mqtt::{Message, ProtocolVersion, QoS, TopicName};

use crate::batch;
use crate::config::{Config, Endpoint, Transport, Will};
use crate::io::{QuicOptions, TransportOptions};
use crate::loop_guard::Announcement;

/// One of the bridge's hubs.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As it is written.
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
}

/// Everything that a connect needs.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// In the order in which they are tried.
    pub(crate) targets: Vec<Target>,
    pub(crate) transport: TransportOptions,
    pub(crate) client: ClientOptions,
}

impl Options {
    /// From a configuration that was checked and has the values of its site.
    pub(crate) fn new(config: &Config, announcement: Announcement) -> Result<Self, ConfigError> {
        let transport = transport(config);
        let targets = config.hubs().map(|(key, text)| {
            let endpoint: Endpoint = text.parse().map_err(|error| ConfigError::new(key, error))?;
            transport.check(&endpoint)?;
            Ok(Target {
                name: text.to_owned(),
                endpoint,
            })
        });
        let targets = targets.collect::<Result<_, ConfigError>>()?;
        Ok(Self {
            targets,
            client: client(config, announcement)?,
            transport,
        })
    }

    /// Reads the files that a connect needs, if one does, as it does itself. Blocks.
    pub(crate) fn check_files(&self) -> Result<(), ConfigError> {
        let mut transports = self.targets.iter().map(|it| it.endpoint.transport);
        if transports.any(Transport::is_encrypted) {
            self.transport.check_files()
        } else {
            Ok(())
        }
    }

    /// All hubs, as they are written.
    pub(crate) fn hubs(&self) -> String {
        let names: Vec<_> = self.targets.iter().map(|it| it.name.as_str()).collect();
        names.join(" ")
    }
}

fn transport(config: &Config) -> TransportOptions {
    TransportOptions {
        connect_timeout: config.connect_timeout.0,
        tls: config.ssl.clone(),
        tcp: config.tcp.clone(),
        proxy: config.proxy.clone(),
        quic: QuicOptions {
            keep_alive: config.quic_keepalive.map_or(Duration::ZERO, |it| it.0),
            idle_timeout: config.quic_idle_timeout.0,
            handshake_timeout: config.connect_timeout.0,
            initial_rtt: config.quic_initial_rtt_ms.0,
        },
    }
}

fn client(config: &Config, announcement: Announcement) -> Result<ClientOptions, ConfigError> {
    let version = match config.proto_ver {
        3 => ProtocolVersion::V31,
        4 => ProtocolVersion::V311,
        _ => ProtocolVersion::V5,
    };
    let properties = &config.conn_properties;
    let (key, value) = announcement.pair();
    let mut user_properties = properties.user_property.clone();
    user_properties.insert(key.to_owned(), value.to_owned());
    let offer = config.batch.as_ref().map(|_| batch::OFFER);
    let offer = offer.map(|(name, value)| (name.to_owned(), value.to_owned()));
    user_properties.extend(offer);
    let client_id = config.clientid.as_deref().unwrap_or_default();
    Ok(ClientOptions {
        // A hub that knows the bit sends nothing back that came from the bridge.
        is_bridge: config.no_local_v4,
        user_name: config.username.clone(),
        password: config.password.as_ref().map(|it| it.as_str().into()),
        keep_alive: u16::try_from(config.keepalive.0.as_secs()).unwrap_or(u16::MAX),
        clean_start: config.clean_start,
        session_expiry: Duration::from_secs(config.session_expiry_seconds().into()),
        receive_maximum: config.receive_maximum(),
        packet_bytes_max: config.maximum_packet_size(),
        server_packet_bytes_max: u32::try_from(config.max_packet_size.bytes()).unwrap_or(u32::MAX),
        topic_alias_max: properties.topic_alias_maximum,
        qos_max: QoS::ExactlyOnce,
        request_problem_information: properties.request_problem_information.0,
        request_response_information: properties.request_response_information.0,
        user_properties: user_properties.into_iter().collect(),
        will: config.will.as_ref().map(will).transpose()?,
        ..ClientOptions::new(version, client_id)
    })
}

fn will(will: &Will) -> Result<WillMessage, ConfigError> {
    let topic = TopicName::new(&will.topic);
    let topic = topic.map_err(|error| ConfigError::new("will.topic", error))?;
    let message = Message {
        qos: will.qos.0,
        retain: will.retain.0,
        properties: ForwardedProperties::from_properties(will.properties.set()),
        ..Message::new(topic, Bytes::copy_from_slice(will.payload.as_bytes()))
    };
    let expiry = will.properties.expiry_seconds();
    Ok(WillMessage {
        message,
        expiry: expiry.map(|it| Duration::from_secs(it.into())),
        delay: Duration::from_secs(will.properties.will_delay_interval.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::Bridge;

    #[test]
    fn no_password_can_be_printed() {
        let text = r#"
            server = "mqtts://hub"
            username = "u"
            password = "hidden-1"
            ssl = { key_password = "hidden-2" }
            proxy = { url = "http://proxy:1", username = "u", password = "hidden-3" }
            forwards = [{ local_topic = "a" }]
        "#;
        let config: Config = toml::from_str(text).unwrap();
        let options = Options::new(&config, Announcement::Guarded).unwrap();
        let bridge = Bridge::new("b", config.clone()).unwrap();
        let printed: [&dyn Debug; 3] = [&config, &options, &bridge];
        for printed in printed {
            for printed in [format!("{printed:?}"), format!("{printed:#?}")] {
                assert!(printed.contains("Secret"), "{printed}");
                assert!(!printed.contains("hidden"), "{printed}");
            }
        }
        let password = options.client.password.as_deref();
        assert_eq!(password, Some(&b"hidden-1"[..]));
    }
}
