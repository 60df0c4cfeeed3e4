//! The bridge's life: connect to the first hub that can be reached, serve, connect again.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use gateway::{
    Backoff, Client, ConfigError, Fault, Gateway, LinkState, Notification, RunFuture, Status,
    SubscriptionRequest,
};
use mqtt::connection::RequestError;
use mqtt::packet::SubscriptionOptions;
use mqtt::{QoS, TopicFilter};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::dead_letter::DeadLetter;
use crate::dialect::{Dialect, Heard};
use crate::hub::{Hub, HubError};
use crate::loop_guard::Announcement;
use crate::mirror::{Mirror, Properties};
use crate::options::{Options, Target};
use crate::partner;
use crate::rate::Rate;
use crate::rival::Rival;
use crate::service::{Batching, Cause, Memory, Service, Terms};
use crate::shortfall::Shortfall;
use crate::site::Site;
use crate::suspicion::Suspicion;
use crate::translation::Translation;

/// The cap of the first pause after a failed attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A connection that lasted so long was sound: the pauses begin with the first again.
const SOUND: Duration = Duration::from_secs(10);
/// Connections in a row that were not sound, after which a hub comes behind the others.
const UNSOUND_MAX: u32 = 2;
/// For so long it does.
const SHUNNED_FOR: Duration = Duration::from_secs(60);
/// Unacknowledged messages at a hub of MQTT 3, which cannot tell its limit. Mosquitto ends the
/// connection above 20 of QoS 2.
const MQTT_3_WINDOW: u16 = 20;
/// How long the farewell to the hub may take: acknowledgements of both sides, the last state,
/// DISCONNECT, and until the hub has closed the connection.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// One bridge to one hub, or to the first of several that can be reached.
#[derive(Debug)]
pub struct Bridge {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The bridge's name in the log.
    label: String,
    config: Config,
    options: Options,
    translation: Translation,
    dead_letter: DeadLetter,
    notification: Option<Notification>,
}

/// A hub of the list, as the bridge knows it.
struct Known {
    dialect: Dialect,
    rival: Rival,
    /// Connections in a row that were not sound.
    unsound: u32,
    /// Until then it comes behind the others: it accepts the bridge, and does not serve it.
    shunned_until: Option<Instant>,
}

impl Known {
    fn new(options: &Options) -> Self {
        Self {
            dialect: Dialect::new(&options.client),
            rival: Rival::default(),
            unsound: 0,
            shunned_until: None,
        }
    }

    fn note_ended(&mut self, is_sound: bool) {
        self.unsound = if is_sound { 0 } else { self.unsound + 1 };
        let is_shunned = self.unsound >= UNSOUND_MAX;
        self.shunned_until = is_shunned.then(|| Instant::now() + SHUNNED_FOR);
    }

    fn is_shunned(&self) -> bool {
        self.shunned_until.is_some_and(|it| it > Instant::now())
    }
}

/// A hub that has accepted the bridge, and its place in the list.
struct Reached {
    hub: Hub,
    place: usize,
}

/// Why a hub is not served any longer.
enum Left {
    Lost(Lost),
    /// One before it in the list has accepted the bridge.
    For(Reached),
    /// The bridge is to stop.
    Stopped,
}

/// A hub that is lost.
struct Lost {
    error: HubError,
    /// A topic was found because of which it may be.
    has_found: bool,
    /// It has answered what it was asked.
    has_served: bool,
    /// It took something, and may have closed because of a message.
    has_progressed: bool,
}

impl Bridge {
    /// Checks the configuration and compiles its rules; touches no socket.
    ///
    /// # Errors
    /// The first key that cannot work, and why.
    pub fn new(name: &str, config: Config) -> Result<Self, ConfigError> {
        Self::announcing(Announcement::Unguarded, name, config)
    }

    /// Like [`Bridge::new`], for a broker that guards against loops: hubs are told so.
    ///
    /// # Errors
    /// As [`Bridge::new`].
    pub fn guarded(name: &str, config: Config) -> Result<Self, ConfigError> {
        Self::announcing(Announcement::Guarded, name, config)
    }

    fn announcing(
        announcement: Announcement,
        name: &str,
        config: Config,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let label = format!("bridge/{name}");
        for (key, why) in config.without_effect() {
            tracing::warn!(bridge = label, key, "the key has no effect: {why}");
        }
        for key in config.tcp.without_effect() {
            tracing::warn!(bridge = label, key, "the key has no effect");
        }
        let site = Site::here(name);
        let translation = Translation::new(&site, &config)?;
        let config = config.placed(&site)?;
        let dead_letter = config.dead_letter_topic.as_deref().unwrap_or_default();
        Ok(Self {
            shared: Arc::new(Shared {
                label,
                options: Options::new(&config, announcement)?,
                dead_letter: DeadLetter::new(dead_letter),
                notification: config.notification()?,
                config,
                translation,
            }),
        })
    }
}

impl Gateway for Bridge {
    fn subscriptions(&self) -> Vec<SubscriptionRequest> {
        self.shared.translation.local_subscriptions()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn is_bridge(&self) -> bool {
        true
    }

    fn least_qos(&self) -> QoS {
        self.shared.config.least_qos()
    }

    fn live_share(&self) -> u8 {
        self.shared.config.live_share
    }

    fn refuses_when_full(&self) -> bool {
        self.shared.config.refuse_when_full
    }

    fn notification(&self) -> Option<&Notification> {
        self.shared.notification.as_ref()
    }

    fn check_files(&self) -> Result<(), ConfigError> {
        self.shared.options.check_files()
    }

    fn farewell_max(&self) -> Duration {
        FAREWELL_MAX
    }

    fn run(&self, client: Client, status: Arc<Status>) -> RunFuture {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            shared.run(&client, &status).await;
            Fault("it is stopped".to_owned())
        })
    }
}

impl Shared {
    /// Returns when the bridge is to stop.
    async fn run(&self, client: &Client, status: &Status) {
        let mut memory = Memory {
            rate: Rate::new(&self.config, client),
            suspicion: Suspicion::resume(self.options.hubs(), &client.record().unwrap_or_default()),
            mirror: self.mirror(client),
        };
        let mut backoff = Backoff::new(FIRST_PAUSE, self.config.backoff_max.0, seed());
        let hubs = self.options.targets.iter();
        let mut hubs: Vec<_> = hubs.map(|_| Known::new(&self.options)).collect();
        let mut better = None;
        loop {
            let reached = match better.take() {
                Some(reached) => Ok(reached),
                None => tokio::select! {
                    biased;
                    _ = client.stopped() => return,
                    reached = self.reach(&mut hubs, client) => reached,
                },
            };
            let problem = match reached {
                Ok(reached) => {
                    let since = Instant::now();
                    let place = reached.place;
                    let name = &self.options.targets[place].name;
                    status.report_up(&self.label, name);
                    let before = &mut hubs[..place];
                    let served = self.serve(reached, before, client, status, &mut memory);
                    let lost = match served.await {
                        Left::For(reached) => {
                            better = Some(reached);
                            continue;
                        }
                        Left::Stopped => return,
                        Left::Lost(lost) => lost,
                    };
                    let lasted = since.elapsed();
                    let is_sound = lost.has_found || lasted >= SOUND;
                    // What takes some each time goes on; longer pauses would only hold it up.
                    if is_sound || lost.has_progressed {
                        backoff.reset();
                    }
                    let hub = &mut hubs[place];
                    hub.note_ended(is_sound && (lost.has_found || lost.has_served));
                    let client_id = &self.options.client.client_id;
                    let is_sought = memory.suspicion.is_careful();
                    let rival = &mut hub.rival;
                    let why = rival.explain(&lost.error, lasted, client_id, is_sought);
                    format!("not connected to {name}: {why}")
                }
                Err(problem) => problem,
            };
            status.report_link(&self.label, LinkState::Down(problem));
            tokio::select! {
                biased;
                _ = client.stopped() => return,
                () = sleep(backoff.next_pause()) => {}
            }
        }
    }

    /// Connects to the first hub that accepts, of those at the front of the list, and of those that
    /// are shunned after the others; the error has the reason of each.
    async fn reach(&self, hubs: &mut [Known], client: &Client) -> Result<Reached, String> {
        let mut problems = Vec::new();
        for shunned in [false, true] {
            let hubs = hubs.iter_mut().enumerate();
            for (place, hub) in hubs.filter(|(_, it)| it.is_shunned() == shunned) {
                match self.reach_one(place, hub, client).await {
                    Ok(reached) => return Ok(reached),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        Err(problems.join("; "))
    }

    async fn reach_one(
        &self,
        place: usize,
        hub: &mut Known,
        client: &Client,
    ) -> Result<Reached, String> {
        let target = &self.options.targets[place];
        match self.connect(target, &mut hub.dialect, client).await {
            Ok(hub) => Ok(Reached { hub, place }),
            Err(error) => Err(format!("not connected to {}: {error}", target.name)),
        }
    }

    /// Connects to a hub, with an older version if it does not know the one that was chosen.
    async fn connect(
        &self,
        target: &Target,
        dialect: &mut Dialect,
        client: &Client,
    ) -> Result<Hub, HubError> {
        dialect.begin();
        let was_older = dialect.is_older();
        loop {
            let transport = &self.options.transport;
            let options = dialect.options();
            let asking = partner::Asking::new(client);
            let ready = client.connecting();
            let connected = Hub::connect(&target.endpoint, transport, options, ready).await;
            // What a hub that has answered has is noted with its answer.
            if connected.is_ok() {
                asking.end();
            }
            let heard = connected
                .as_ref()
                .map_or_else(HubError::heard, |_| Heard::Answer);
            if !dialect.note(heard) {
                return connected;
            }
            if dialect.is_older() && !was_older {
                let proto_ver = dialect.options().version as u8;
                tracing::warn!(
                    bridge = self.label,
                    hub = target.name,
                    proto_ver,
                    "the hub does not take CONNECT as it is configured: it is spoken to with this \
                     version, without the bridge bit"
                );
            }
        }
    }

    /// Serves a hub until it is lost, until one of those `before` it has accepted the bridge, or
    /// until the bridge is to stop.
    async fn serve(
        &self,
        reached: Reached,
        before: &mut [Known],
        client: &Client,
        status: &Status,
        memory: &mut Memory,
    ) -> Left {
        let Reached { mut hub, place } = reached;
        partner::settle(&self.options, place, &mut hub, client);
        self.tell_shortfall(&hub, status);
        let unanswered = self.subscribe(&mut hub, status);
        memory.mirror.connected(place, hub.session_present);
        let terms = Terms {
            window: self.window(&hub),
            qos_max: self.qos_max(),
        };
        let config = self.config.batch.as_ref();
        let batching = Batching::new(&self.label, config, &hub.connection);
        let parts = (&*self.label, &self.translation, &self.dead_letter);
        let mut service = Service::new(parts, client, status, (hub, unanswered), terms, memory);
        service.batching = batching;
        client.redeliver(service.session_window());
        // Nothing is forwarded any more once the bridge is to stop.
        let left = tokio::select! {
            biased;
            farewell = client.stopped() => {
                service.farewell(farewell).await;
                Left::Stopped
            }
            error = poll_fn(|context| service.poll(context)) => Left::Lost(Lost {
                has_progressed: service.has_progressed(&error),
                has_found: service.note_ended(&error),
                has_served: service.is_answered(),
                error,
            }),
            reached = self.reach_again(before, client) => Left::For(reached),
        };
        service.give_up(Cause::Ended);
        service.rate.count(0, service.hub.take_count());
        left
    }

    /// Says if the hub takes less QoS than rules ask for.
    fn tell_shortfall(&self, hub: &Hub, status: &Status) {
        let qos_max = hub.connection.terms().qos_max;
        if let Some(shortfall) = Shortfall::of(&self.config.forwards, qos_max) {
            let bridge = &*self.label;
            tracing::warn!(bridge, "{shortfall}");
            status.note_problem(shortfall.to_string());
        }
    }

    /// What is to be subscribed to at the hubs because clients subscribe to it here.
    fn mirror(&self, client: &Client) -> Mirror {
        let config = &self.config;
        let rules = self.translation.remote_subscriptions();
        let user = config.sub_properties.user_property.clone();
        Mirror::new(
            config.transparent.then_some(config.transparent_max_filters),
            Properties {
                identifier: config.sub_properties.identifier,
                user: user.into_iter().collect(),
            },
            rules.map(|it| it.filter.clone()).collect(),
            self.options.targets.len(),
            client.mirrored(),
        )
    }

    /// How many messages may be unacknowledged at a hub.
    fn window(&self, hub: &Hub) -> u16 {
        let window = hub.connection.terms().receive_maximum;
        let is_told = hub.connection.version().is_v5();
        let window = if is_told { window } else { MQTT_3_WINDOW };
        window.min(self.config.max_inflight)
    }

    /// With several hubs a message that one of them has taken and that is not released there would
    /// be released at another, which does not have it. So it is sent with QoS 1.
    fn qos_max(&self) -> QoS {
        if self.options.targets.len() > 1 {
            QoS::AtLeastOnce
        } else {
            QoS::ExactlyOnce
        }
    }

    /// Subscribes at the hub; returns how many answers are to come.
    fn subscribe(&self, hub: &mut Hub, status: &Status) -> usize {
        let rules = self.config.subscription.iter();
        let requests = self.translation.remote_subscriptions();
        let mut unanswered = 0;
        for (packet_id, (rule, request)) in (1..=u16::MAX).rev().zip(rules.zip(requests)) {
            let options = SubscriptionOptions {
                qos: request.qos,
                no_local: rule.nolocal.0,
                retain_as_published: rule.retain_as_published.0,
                retain_handling: rule.handling(),
            };
            let filters = [(request.filter.clone(), options)];
            let common = &self.config.sub_properties;
            let user = common.user_property.iter().chain(&rule.user_property);
            let user: Vec<_> = user
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let sent = hub.connection.encode_subscribe(
                packet_id,
                &filters,
                rule.identifier.or(common.identifier),
                &user,
                &mut hub.output,
            );
            match sent {
                Ok(()) => unanswered += 1,
                Err(error) => self.warn_of(&request.filter, error, status),
            }
        }
        unanswered
    }

    fn warn_of(&self, filter: &TopicFilter, error: RequestError, status: &Status) {
        let bridge = &*self.label;
        tracing::warn!(bridge, %filter, %error, "the bridge cannot subscribe to this");
        status.note_problem(format!(
            "the filter `{filter}` cannot be asked for: {error}"
        ));
    }

    /// Connects to one of these hubs, which are before the one that is served, as soon as one accepts:
    /// that it can be reached does not mean that it serves.
    async fn reach_again(&self, hubs: &mut [Known], client: &Client) -> Reached {
        if hubs.is_empty() {
            return std::future::pending().await;
        }
        loop {
            sleep(self.config.fail_back_interval.0).await;
            let hubs = hubs.iter_mut().enumerate();
            for (place, hub) in hubs.filter(|(_, it)| !it.is_shunned()) {
                if let Ok(reached) = self.reach_one(place, hub, client).await {
                    return reached;
                }
            }
        }
    }
}

/// Different on every gateway of a fleet, so that they do not all come back at once.
fn seed() -> u64 {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::from(since_epoch.subsec_nanos()) << 32 | u64::from(std::process::id())
}
