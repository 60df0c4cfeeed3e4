//! What differs between the configuration that runs and one that is read anew.

use std::collections::BTreeMap;

use super::Config;

/// What becomes of a gateway or bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new, or enabled again.
    Added,
    /// It goes on with other values.
    Changed,
    /// It is configured and does not run: `enable` is off.
    Paused,
    /// It is not configured any more.
    Removed,
    /// It runs with the same values.
    Unchanged,
}

impl Change {
    /// Whether one that runs is stopped, if only to be started again.
    pub(crate) const fn stops(self) -> bool {
        match self {
            Self::Changed | Self::Paused | Self::Removed => true,
            Self::Added | Self::Unchanged => false,
        }
    }

    /// Whether one is started, again or for the first time.
    pub(crate) const fn starts(self) -> bool {
        match self {
            Self::Added | Self::Changed => true,
            Self::Paused | Self::Removed | Self::Unchanged => false,
        }
    }

    /// What becomes of one with these values before and now; nothing if it was paused and is.
    fn of<C: PartialEq>(
        before: Option<&C>,
        now: Option<&C>,
        is_enabled: fn(&C) -> bool,
    ) -> Option<Self> {
        let did_run = before.is_some_and(is_enabled);
        match now {
            None => Some(Self::Removed),
            Some(now) if !is_enabled(now) => (did_run || before.is_none()).then_some(Self::Paused),
            Some(_) if !did_run => Some(Self::Added),
            Some(_) if before == now => Some(Self::Unchanged),
            Some(_) => Some(Self::Changed),
        }
    }
}

impl Config {
    /// What becomes of each gateway and bridge, such as `bridge/hub`, with the new configuration.
    pub(crate) fn gateway_changes(&self, new: &Self) -> BTreeMap<String, Change> {
        let (old_gateways, gateways) = (&self.gateways, &new.gateways);
        let (old_bridges, bridges) = (&self.bridges.mqtt, &new.bridges.mqtt);
        let mut changes = BTreeMap::new();
        add(
            "zmq",
            [&old_gateways.zmq, &gateways.zmq],
            |_| true,
            &mut changes,
        );
        add(
            "nng",
            [&old_gateways.nng, &gateways.nng],
            |_| true,
            &mut changes,
        );
        add(
            "dds",
            [&old_gateways.dds, &gateways.dds],
            |_| true,
            &mut changes,
        );
        add(
            "bridge",
            [old_bridges, bridges],
            |it| it.enable,
            &mut changes,
        );
        // Each tells its hub so when it connects.
        if self.bridges.are_guarded() != new.bridges.are_guarded() {
            let names = bridges.keys().map(|name| format!("bridge/{name}"));
            for name in names {
                let unchanged = changes
                    .get_mut(&name)
                    .filter(|it| **it == Change::Unchanged);
                unchanged.into_iter().for_each(|it| *it = Change::Changed);
            }
        }
        changes
    }

    /// The sections that differ and are read at the start only.
    pub(crate) fn fixed_changes(&self, new: &Self) -> Vec<&'static str> {
        // So that a section that is new is not left out.
        let Self {
            node_id,
            listeners,
            mqtt,
            retain,
            delayed,
            rewrite,
            auto_subscribe,
            preset,
            sys_topics,
            store,
            log,
            runtime,
            gateways: _,
            bridges: _,
        } = self;
        let sections = [
            ("node_id", *node_id != new.node_id),
            ("listeners", *listeners != new.listeners),
            ("mqtt", *mqtt != new.mqtt),
            ("retain", *retain != new.retain),
            ("delayed", *delayed != new.delayed),
            ("rewrite", *rewrite != new.rewrite),
            ("auto_subscribe", *auto_subscribe != new.auto_subscribe),
            ("preset", *preset != new.preset),
            ("sys_topics", *sys_topics != new.sys_topics),
            ("store", *store != new.store),
            ("log", *log != new.log),
            ("runtime", *runtime != new.runtime),
        ];
        let changed = sections.into_iter().filter(|(_, is_changed)| *is_changed);
        changed.map(|(name, _)| name).collect()
    }

    /// The gateways and bridges that are configured and do not run.
    pub(crate) fn paused(&self) -> impl Iterator<Item = String> {
        let bridges = self.bridges.mqtt.iter().filter(|(_, it)| !it.enable);
        bridges.map(|(name, _)| format!("bridge/{name}"))
    }
}

fn add<C: PartialEq>(
    kind: &str,
    [before, now]: [&BTreeMap<String, C>; 2],
    is_enabled: fn(&C) -> bool,
    changes: &mut BTreeMap<String, Change>,
) {
    for name in before.keys().chain(now.keys()) {
        let change = Change::of(before.get(name), now.get(name), is_enabled);
        changes.extend(change.map(|it| (format!("{kind}/{name}"), it)));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load_text;

    fn config(text: &str) -> Config {
        let loaded = load_text(Path::new("t.conf"), text, []);
        loaded.unwrap_or_else(|error| panic!("{error}")).config
    }

    fn bridge(name: &str, more: &str) -> String {
        format!(
            "bridges.mqtt.{name} {{ server = hub, forwards = [{{ local_topic = a }}]\n {more} }}\n"
        )
    }

    #[test]
    fn each_gateway_and_bridge_changes_by_itself() {
        let zmq = |prefix| {
            format!(
                "gateways.zmq.z {{ sub {{ connect = [\"tcp://127.0.0.1:1\"] }}\n \
                 to_mqtt = [{{ prefix = {prefix}, topic = t }}] }}\n"
            )
        };
        let off = "enable = false";
        let old = bridge("changed", "")
            + &bridge("same", "")
            + &bridge("gone", "")
            + &bridge("paused", "")
            + &bridge("resumed", off)
            + &bridge("idle", off)
            + &bridge("gone_while_paused", off)
            + &zmq("a");
        let new = bridge("changed", "keepalive = 7s")
            + &bridge("same", "")
            + &bridge("new", "")
            + &bridge("paused", off)
            + &bridge("resumed", "")
            + &bridge("idle", "enable = false, keepalive = 7s")
            + &bridge("new_and_paused", off)
            + &zmq("b");
        let changes = config(&old).gateway_changes(&config(&new));
        let expected = [
            ("bridge/changed", Change::Changed),
            ("bridge/gone", Change::Removed),
            ("bridge/gone_while_paused", Change::Removed),
            ("bridge/new", Change::Added),
            ("bridge/new_and_paused", Change::Paused),
            ("bridge/paused", Change::Paused),
            ("bridge/resumed", Change::Added),
            ("bridge/same", Change::Unchanged),
            ("zmq/z", Change::Changed),
        ];
        let expected = expected.map(|(name, change)| (name.to_owned(), change));
        assert_eq!(changes, BTreeMap::from(expected));
        let idle: Vec<_> = config(&new).paused().collect();
        assert_eq!(
            idle,
            ["bridge/idle", "bridge/new_and_paused", "bridge/paused"]
        );
    }

    #[test]
    fn bridges_connect_again_when_they_are_guarded() {
        let old = config(&bridge("b", ""));
        let new = config(&(bridge("b", "") + "bridges.loop_guard = true"));
        let changed = BTreeMap::from([("bridge/b".to_owned(), Change::Changed)]);
        for (old, new) in [(&old, &new), (&new, &old)] {
            assert_eq!(old.gateway_changes(new), changed);
            assert_eq!(old.fixed_changes(new), [""; 0]);
        }
    }

    #[test]
    fn sections_that_wait_for_a_start_are_named() {
        let old = config("");
        let new =
            config("listeners.tcp.a { bind = 1884 }\nmqtt.receive_maximum = 7\nlog.level = warn");
        assert_eq!(old.fixed_changes(&new), ["listeners", "mqtt", "log"]);
        let new = config(&bridge("b", ""));
        assert_eq!(old.fixed_changes(&new), [""; 0]);
    }
}
