//! stub settings
use crate::exchange::ExchangeLimits;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
/// s
pub struct Settings {
    gateways: Vec<(String, Arc<dyn gateway::Gateway>)>,
}
#[derive(Clone, Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) name: String,
    pub(crate) bind: String,
    pub(crate) allow_anonymous: bool,
    pub(crate) connect_timeout: Duration,
}
impl Settings {
    pub(crate) fn load(
        _conf: Option<&Path>,
        _env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        Ok(Self {
            gateways: Vec::new(),
        })
    }
    pub(crate) fn summary(&self) -> String {
        String::new()
    }
    pub(crate) fn workers(&self) -> usize {
        1
    }
    pub(crate) fn log_level(&self) -> &str {
        "info"
    }
    pub(crate) fn listeners(&self) -> Vec<ListenerSettings> {
        vec![ListenerSettings {
            name: "default".into(),
            bind: std::env::var("B").unwrap_or("127.0.0.1:1883".into()),
            allow_anonymous: true,
            connect_timeout: Duration::from_secs(10),
        }]
    }
    pub(crate) fn limits(&self) -> mqtt::connection::Limits {
        mqtt::connection::Limits::default()
    }
    pub(crate) fn bounds(&self) -> ExchangeLimits {
        ExchangeLimits {
            queue: mqtt::session::QueueLimits {
                messages_max: 1000,
                bytes_max: 4 << 20,
                live_bytes_max: 1 << 20,
                stored_messages_max: 1_000_000,
            },
            retained_messages_max: 100_000,
            retained_payload_bytes_max: 256 << 10,
        }
    }
    pub(crate) fn store_options(&self) -> Option<persistence::Options> {
        Some(persistence::Options::default())
    }
    pub(crate) fn store_directory(&self) -> Option<PathBuf> {
        std::env::var("D").ok().map(PathBuf::from)
    }
    pub(crate) fn gateways(&self) -> &[(String, Arc<dyn gateway::Gateway>)] {
        &self.gateways
    }
}
