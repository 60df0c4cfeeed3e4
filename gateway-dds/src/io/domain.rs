//! Domains and participants.
//!
//! Cyclone DDS has one domain object for a domain id in a process, so gateways on the same domain
//! share it: the first one creates it, the last one deletes it, and one with other settings is
//! refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway::ConfigError;

use super::{DdsError, Entity, c_string, log};

/// How long a writer that is deleted waits for peers to acknowledge what it sent last. Stopping a
/// gateway takes this long when a peer does not answer.
const LINGER_MILLIS: u32 = 250;

/// Where and how a participant looks for its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSettings {
    /// The domain id, 0 to 232. Only participants with the same id see each other.
    pub domain: u32,
    /// The network interface, by name or by address; none leaves the choice to the stack.
    pub interface: Option<String>,
    /// Whether peers are found by multicast; otherwise only at the addresses in `peers` and on
    /// this machine.
    pub multicast: bool,
    /// Addresses to look for peers at, each with an optional `:port`.
    pub peers: Vec<String>,
    /// Vendors, such as `1.15`, whose type information is ignored because they send it in a form
    /// that is older than the standard; types are then matched by name.
    pub ignore_type_information: Vec<String>,
    /// Bytes of the largest sample in either direction.
    pub sample_bytes_max: u32,
}

impl Default for DomainSettings {
    fn default() -> Self {
        Self {
            domain: 0,
            interface: None,
            multicast: true,
            peers: Vec::new(),
            ignore_type_information: vec!["1.15".to_owned()],
            sample_bytes_max: 1024 * 1024,
        }
    }
}

impl DomainSettings {
    /// The highest domain id: beyond it the port numbers would not fit.
    pub const DOMAIN_MAX: u32 = 232;

    /// Checks what the stack would only refuse with a line in the log.
    ///
    /// # Errors
    /// The first setting that cannot work, and why.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (domain, domain_max) = (self.domain, Self::DOMAIN_MAX);
        if domain > domain_max {
            let problem = format!("must be from 0 to {domain_max}, not {domain}");
            return Err(ConfigError::new("domain", problem));
        }
        let interface = self.interface.iter();
        let names = interface.map(|name| ("interface".to_owned(), name));
        let peers = self.peers.iter().enumerate();
        for (key, name) in names.chain(peers.map(|(at, name)| (format!("peers[{at}]"), name))) {
            // Nothing that would end the attribute of the stack's own configuration.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_@[]%".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_plain) {
                let problem = format!("{name:?} is not an interface or address");
                return Err(ConfigError::new(key, problem));
            }
        }
        for (index, vendor) in self.ignore_type_information.iter().enumerate() {
            let number = vendor
                .strip_prefix("1.")
                .and_then(|number| number.parse().ok());
            if !number.is_some_and(|number: u8| (1..=32).contains(&number)) {
                let problem = format!("{vendor:?} is not a vendor id of the form 1.1 to 1.32");
                let key = format!("ignore_type_information[{index}]");
                return Err(ConfigError::new(key, problem));
            }
        }
        if !(1024..=1 << 30).contains(&self.sample_bytes_max) {
            let problem = "must be from 1024 to 1073741824";
            return Err(ConfigError::new("sample_bytes_max", problem));
        }
        Ok(())
    }

    /// The settings as the stack's own configuration. The environment's is never read.
    fn xml(&self) -> String {
        let mut xml = String::from("<CycloneDDS><Domain Id=\"any\"><General>");
        if let Some(interface) = &self.interface {
            let attribute = match interface.parse::<IpAddr>() {
                Ok(_) => "address",
                Err(_) => "name",
            };
            // Said explicitly because the loopback interface does not claim to do multicast.
            let multicast = self.multicast;
            write!(
                xml,
                "<Interfaces><NetworkInterface {attribute}=\"{interface}\" \
                 multicast=\"{multicast}\"/></Interfaces>"
            )
            .ok();
        }
        let multicast = self.multicast;
        write!(
            xml,
            "<AllowMulticast>{multicast}</AllowMulticast></General>"
        )
        .ok();
        xml.push_str("<Discovery>");
        if !self.multicast {
            xml.push_str("<ParticipantIndex>auto</ParticipantIndex>");
        }
        if !self.peers.is_empty() {
            xml.push_str("<Peers>");
            for peer in &self.peers {
                write!(xml, "<Peer address=\"{peer}\"/>").ok();
            }
            xml.push_str("</Peers>");
        }
        xml.push_str("</Discovery>");
        if !self.ignore_type_information.is_empty() {
            let vendors = self.ignore_type_information.join(",");
            write!(
                xml,
                "<Compatibility><IgnoreTypeInformation>{vendors}</IgnoreTypeInformation>\
                 </Compatibility>"
            )
            .ok();
        }
        let bytes = self.sample_bytes_max;
        write!(
            xml,
            "<Internal><MaxSampleSize>{bytes} B</MaxSampleSize>\
             <WriterLingerDuration>{LINGER_MILLIS} ms</WriterLingerDuration></Internal>\
             </Domain></CycloneDDS>"
        )
        .ok();
        xml
    }
}

/// The domains that this process has, by their id.
static DOMAINS: Mutex<BTreeMap<u32, SharedDomain>> = Mutex::new(BTreeMap::new());

struct SharedDomain {
    _entity: Entity,
    xml: String,
    users: usize,
}

/// One use of a domain; the last one deletes it.
#[derive(Debug)]
struct DomainUse(u32);

/// The lock is held while a domain is created or deleted, so that the two never overlap.
fn domains() -> MutexGuard<'static, BTreeMap<u32, SharedDomain>> {
    DOMAINS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DomainUse {
    fn begin(settings: &DomainSettings) -> Result<Self, DdsError> {
        let id = settings.domain;
        let xml = settings.xml();
        let mut domains = domains();
        if let Some(shared) = domains.get_mut(&id) {
            if shared.xml != xml {
                return Err(DdsError::Conflict(id));
            }
            shared.users += 1;
            return Ok(Self(id));
        }
        log::install();
        log::take_last_error();
        let text = c_string(&xml)?;
        // SAFETY: the text has a terminating null and is copied by the stack.
        let handle = unsafe { cyclors::dds_create_domain(id, text.as_ptr()) };
        let what = format!("the DDS domain {id} cannot be created");
        let entity = Entity::new(handle, &what).map_err(|error| {
            let detail = log::take_last_error();
            if detail.is_empty() {
                return error;
            }
            let reason = detail;
            DdsError::Failed { what, reason }
        })?;
        let shared = SharedDomain {
            _entity: entity,
            xml,
            users: 1,
        };
        domains.insert(id, shared);
        Ok(Self(id))
    }
}

impl Drop for DomainUse {
    fn drop(&mut self) {
        let mut domains = domains();
        if let Some(shared) = domains.get_mut(&self.0) {
            shared.users -= 1;
            if shared.users == 0 {
                domains.remove(&self.0);
            }
        }
    }
}

/// A member of a domain; readers and writers belong to one.
#[derive(Debug)]
pub(crate) struct Participant {
    // Dropped in this order: the domain goes last.
    entity: Entity,
    _domain: DomainUse,
}

impl Participant {
    /// Joins a domain, creating it if this process does not have it yet. Takes some
    /// milliseconds.
    ///
    /// # Errors
    /// The settings are refused, or differ from those the domain has in this process.
    pub(crate) fn open(settings: &DomainSettings) -> Result<Arc<Self>, DdsError> {
        let domain = DomainUse::begin(settings)?;
        // SAFETY: no QoS and no listener means the defaults.
        let handle = unsafe {
            cyclors::dds_create_participant(settings.domain, std::ptr::null(), std::ptr::null())
        };
        let entity = Entity::new(handle, "the DDS participant cannot be created")?;
        Ok(Arc::new(Self {
            entity,
            _domain: domain,
        }))
    }

    pub(super) const fn handle(&self) -> i32 {
        self.entity.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_configuration() {
        let settings = DomainSettings {
            interface: Some("lo".to_owned()),
            ..DomainSettings::default()
        };
        let expected = "<CycloneDDS><Domain Id=\"any\"><General><Interfaces>\
            <NetworkInterface name=\"lo\" multicast=\"true\"/></Interfaces>\
            <AllowMulticast>true</AllowMulticast></General><Discovery></Discovery>\
            <Compatibility><IgnoreTypeInformation>1.15</IgnoreTypeInformation></Compatibility>\
            <Internal><MaxSampleSize>1048576 B</MaxSampleSize>\
            <WriterLingerDuration>250 ms</WriterLingerDuration></Internal></Domain></CycloneDDS>";
        assert_eq!(settings.xml(), expected);
    }

    #[test]
    fn unusable_settings_are_refused() {
        let good = DomainSettings::default();
        assert_eq!(good.check(), Ok(()));
        let table = [
            DomainSettings {
                domain: 233,
                ..good.clone()
            },
            DomainSettings {
                interface: Some("lo\"/>".to_owned()),
                ..good.clone()
            },
            DomainSettings {
                peers: vec![String::new()],
                ..good.clone()
            },
            DomainSettings {
                ignore_type_information: vec!["2.15".to_owned()],
                ..good.clone()
            },
            DomainSettings {
                sample_bytes_max: 0,
                ..good
            },
        ];
        for settings in table {
            assert!(settings.check().is_err(), "{settings:?}");
        }
    }
}
