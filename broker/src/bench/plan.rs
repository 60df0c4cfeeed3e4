//! What is to be done: the command line, checked.

use std::time::Duration;

use mqtt::{ProtocolVersion, QoS};

use super::topic::{Owner, TopicTemplate};

/// A benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) load: Load,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: ProtocolVersion,
    /// Clients; with round trips their publishers.
    pub(crate) clients: u32,
    /// What is added to the numbers of the clients, which begin with 1.
    pub(crate) start_number: u32,
    /// The time between the beginnings of two connections.
    pub(crate) connect_interval: Duration,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
    /// Seconds; 0 for no Keep Alive.
    pub(crate) keep_alive: u16,
    pub(crate) clean_start: bool,
    /// Seconds.
    pub(crate) session_expiry: u32,
    /// What Client Identifiers begin with.
    pub(crate) prefix: String,
    /// How long after the beginning of the load it ends.
    pub(crate) duration: Option<Duration>,
    /// The load begins when all clients have tried to connect.
    pub(crate) waits: bool,
    /// Threads.
    pub(crate) workers: u32,
}

/// What the clients do once they are connected.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// Nothing.
    Connections,
    Publish(Publishing),
    Subscribe(Subscribing),
    /// Publishers here, and subscribers for what they publish.
    RoundTrips {
        publishing: Publishing,
        subscribers: u32,
    },
}

/// What each publisher does.
#[derive(Clone, Debug)]
pub(crate) struct Publishing {
    pub(crate) topic: TopicTemplate,
    /// Bytes of the payload.
    pub(crate) size: usize,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Messages of all publishers together.
    pub(crate) limit: Option<u64>,
    /// The time between two messages of one publisher; none if it is as fast as it can be.
    pub(crate) interval: Option<Duration>,
    /// Messages of one publisher that are on their way at most.
    pub(crate) window: u16,
}

/// What each subscriber does.
#[derive(Clone, Debug)]
pub(crate) struct Subscribing {
    pub(crate) topic: TopicTemplate,
    pub(crate) qos: QoS,
    /// Messages to all subscribers together, after which it ends.
    pub(crate) limit: Option<u64>,
}

/// One client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its place among all clients.
    pub(super) index: usize,
    pub(super) role: Role,
    /// Its place among those of its role.
    pub(super) place: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Idle,
    Publisher,
    Subscriber,
}

impl Plan {
    /// All clients, in the order in which they connect.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> + '_ {
        let subscribers = (0..self.subscribers()).map(|place| (Role::Subscriber, place));
        let role = match self.load {
            Load::Connections => Role::Idle,
            Load::Publish(_) | Load::Subscribe(_) | Load::RoundTrips { .. } => Role::Publisher,
        };
        let others = match self.load {
            Load::Subscribe(_) => 0,
            Load::Connections | Load::Publish(_) | Load::RoundTrips { .. } => self.clients,
        };
        let others = (0..others).map(move |place| (role, place));
        let members = subscribers.chain(others).enumerate();
        members.map(|(index, (role, place))| Member { index, role, place })
    }

    /// How many clients there are.
    pub(super) fn total(&self) -> u32 {
        match &self.load {
            Load::RoundTrips { subscribers, .. } => self.clients + subscribers,
            Load::Connections | Load::Publish(_) | Load::Subscribe(_) => self.clients,
        }
    }

    fn subscribers(&self) -> u32 {
        match &self.load {
            Load::Connections | Load::Publish(_) => 0,
            Load::Subscribe(_) => self.clients,
            Load::RoundTrips { subscribers, .. } => *subscribers,
        }
    }

    /// Where the publisher of this place is among all clients.
    pub(super) fn publisher_index(&self, place: u32) -> usize {
        let before = match &self.load {
            Load::RoundTrips { subscribers, .. } => *subscribers,
            Load::Connections | Load::Publish(_) | Load::Subscribe(_) => 0,
        };
        before as usize + place as usize
    }

    pub(super) const fn publishing(&self) -> Option<&Publishing> {
        match &self.load {
            Load::Publish(publishing) | Load::RoundTrips { publishing, .. } => Some(publishing),
            Load::Connections | Load::Subscribe(_) => None,
        }
    }

    pub(super) const fn has_round_trips(&self) -> bool {
        matches!(self.load, Load::RoundTrips { .. })
    }

    /// Messages to all subscribers after which it ends.
    pub(super) const fn receive_limit(&self) -> Option<u64> {
        match &self.load {
            Load::Subscribe(subscribing) => subscribing.limit,
            Load::Connections | Load::Publish(_) | Load::RoundTrips { .. } => None,
        }
    }

    pub(super) fn client_id(&self, member: Member) -> String {
        let kind = match member.role {
            Role::Subscriber if self.has_round_trips() => "sub-",
            Role::Subscriber | Role::Publisher | Role::Idle => "",
        };
        format!("{}{kind}{}", self.prefix, self.number(member.place))
    }

    /// The messages that the publisher of this place publishes at most.
    pub(super) fn share(&self, place: u32) -> u64 {
        let clients = u64::from(self.clients);
        let limit = self.publishing().and_then(|it| it.limit);
        limit.map_or(u64::MAX, |limit| {
            limit / clients + u64::from(u64::from(place) < limit % clients)
        })
    }

    /// The Topic Name of a publisher.
    pub(super) fn topic_name(&self, publishing: &Publishing, member: Member) -> String {
        let client_id = self.client_id(member);
        publishing.topic.topic(self.owner(member, &client_id))
    }

    /// The Topic Filter and the QoS of a subscriber.
    pub(super) fn filter(&self, member: Member) -> Option<(String, QoS)> {
        match &self.load {
            Load::Connections | Load::Publish(_) => None,
            Load::Subscribe(it) => {
                let client_id = self.client_id(member);
                Some((it.topic.topic(self.owner(member, &client_id)), it.qos))
            }
            Load::RoundTrips { publishing, .. } if self.is_paired() => {
                let publisher = Member {
                    role: Role::Publisher,
                    ..member
                };
                Some((self.topic_name(publishing, publisher), publishing.qos))
            }
            Load::RoundTrips { publishing, .. } => {
                let user_name = self.user_name.as_deref().unwrap_or_default();
                Some((publishing.topic.filter(user_name), publishing.qos))
            }
        }
    }

    /// How many deliveries each message causes here.
    pub(super) fn deliveries(&self) -> u32 {
        if self.is_paired() {
            1
        } else {
            self.subscribers()
        }
    }

    /// Each publisher has a subscriber of its own. Otherwise every subscriber gets everything.
    fn is_paired(&self) -> bool {
        match &self.load {
            Load::RoundTrips {
                publishing,
                subscribers,
            } => *subscribers == self.clients && publishing.topic.is_individual(),
            Load::Connections | Load::Publish(_) | Load::Subscribe(_) => false,
        }
    }

    const fn number(&self, place: u32) -> u32 {
        self.start_number.saturating_add(place).saturating_add(1)
    }

    fn owner<'a>(&'a self, member: Member, client_id: &'a str) -> Owner<'a> {
        Owner {
            number: self.number(member.place),
            client_id,
            user_name: self.user_name.as_deref().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Plan {
        /// One client with nothing but a load.
        pub(in crate::bench) fn for_tests(load: Load) -> Self {
            Self {
                load,
                host: String::new(),
                port: 1883,
                version: ProtocolVersion::V5,
                clients: 1,
                start_number: 0,
                connect_interval: Duration::ZERO,
                user_name: None,
                password: None,
                keep_alive: 0,
                clean_start: true,
                session_expiry: 0,
                prefix: String::new(),
                duration: None,
                waits: true,
                workers: 1,
            }
        }
    }

    fn plan(clients: u32, subscribers: u32, topic: &str, limit: Option<u64>) -> Plan {
        let publishing = Publishing {
            topic: TopicTemplate::parse(topic).unwrap(),
            size: 16,
            qos: QoS::AtMostOnce,
            retain: false,
            limit,
            interval: None,
            window: 1,
        };
        Plan {
            start_number: 10,
            prefix: "x-".to_owned(),
            clients,
            ..Plan::for_tests(Load::RoundTrips {
                publishing,
                subscribers,
            })
        }
    }

    /// The filters of the subscribers and the topics of the publishers.
    fn topics(plan: &Plan) -> Vec<String> {
        let topic = |member: Member| match member.role {
            Role::Subscriber => plan.filter(member).unwrap().0,
            Role::Publisher | Role::Idle => plan.topic_name(plan.publishing().unwrap(), member),
        };
        plan.members().map(topic).collect()
    }

    #[test]
    fn subscribers_are_paired_with_publishers_or_get_everything() {
        let table = [
            (plan(2, 2, "a/%i", None), "a/11 a/12 a/11 a/12", 1),
            (plan(2, 2, "a/%c", None), "a/x-11 a/x-12 a/x-11 a/x-12", 1),
            (plan(2, 1, "a/%i", None), "a/+ a/11 a/12", 1),
            (plan(1, 2, "a/%i", None), "a/+ a/+ a/11", 2),
            (plan(2, 2, "a", None), "a a a a", 2),
        ];
        for (plan, expected, deliveries) in table {
            assert_eq!(topics(&plan).join(" "), expected);
            assert_eq!(plan.deliveries(), deliveries, "{expected}");
        }
    }

    #[test]
    fn clients_have_places_and_identifiers_of_their_own() {
        let plan = plan(2, 1, "a/%i", None);
        let members: Vec<_> = plan.members().collect();
        let ids: Vec<_> = members.iter().map(|&it| plan.client_id(it)).collect();
        assert_eq!(ids, ["x-sub-11", "x-11", "x-12"]);
        assert_eq!(plan.publisher_index(1), members[2].index);
        assert_eq!(plan.total(), 3);
    }

    #[test]
    fn a_limit_is_shared_out() {
        let limited = plan(3, 1, "a", Some(11));
        let shares: Vec<_> = (0..3).map(|place| limited.share(place)).collect();
        assert_eq!(shares, [4, 4, 3]);
        assert_eq!(plan(3, 1, "a", None).share(0), u64::MAX);
    }
}
