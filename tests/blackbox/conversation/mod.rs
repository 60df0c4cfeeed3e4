//! One conversation with the daemon, held by every client library in every version that it speaks.

mod delivery;
mod options;
mod properties;
mod reasons;
mod retained;
mod sessions;
mod sharing;

/// The chapters of the conversation as the tests of one library.
macro_rules! conversation {
    ($module:ident, $library:ident) => {
        mod $module {
            use tests::client::{Stage, $library};
            use tests::wire::Version::{self, V5, V311};

            use super::{delivery, options, properties, reasons, retained, sessions, sharing};

            #[track_caller]
            fn play(versions: &[Version], chapter: fn(&Stage)) {
                Stage::play(&$library, versions, chapter);
            }

            // Conforms: 5.0 [MQTT-2.2.1-5] [MQTT-3.3.4-1] [MQTT-3.8.4-1] [MQTT-3.8.4-8] [MQTT-4.3.2-4]
            // Conforms: 5.0 [MQTT-4.3.3-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-4.6.0-5]
            // Conforms: 3.1.1 [MQTT-2.3.1-6] [MQTT-3.3.4-1] [MQTT-3.8.4-1] [MQTT-3.8.4-6]
            // Conforms: 3.1.1 [MQTT-4.3.2-2] [MQTT-4.3.3-2]
            #[test]
            fn every_qos_reaches_publisher_and_subscriber() {
                play(
                    &Version::ALL,
                    delivery::every_qos_reaches_publisher_and_subscriber,
                );
            }

            #[test]
            fn every_payload_passes() {
                play(&Version::ALL, delivery::every_payload_passes);
            }

            // Conforms: 5.0 [MQTT-3.3.2-3] [MQTT-4.7.2-1]; 3.1.1 [MQTT-3.3.2-3] [MQTT-4.7.2-1]
            #[test]
            fn wildcards_match_as_specified() {
                play(&Version::ALL, delivery::wildcards_match_as_specified);
            }

            // Conforms: 5.0 [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5]
            // Conforms: 3.1.1 [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-5]
            #[test]
            fn unsubscribe_ends_a_subscription() {
                play(&Version::ALL, delivery::unsubscribe_ends_a_subscription);
            }

            // Conforms: 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8] [MQTT-3.3.1-9]
            // Conforms: 5.0 [MQTT-3.3.1-12]
            // Conforms: 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8] [MQTT-3.3.1-9]
            // Conforms: 3.1.1 [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.3.1-12]
            #[test]
            fn the_last_message_is_kept_until_it_is_cleared() {
                play(
                    &Version::ALL,
                    retained::the_last_message_is_kept_until_it_is_cleared,
                );
            }

            // Conforms: 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT-3.14.4-3]
            // Conforms: 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.14.4-3]
            #[test]
            fn a_will_follows_an_unclean_end_only() {
                play(&Version::ALL, sessions::a_will_follows_an_unclean_end_only);
            }

            // Conforms: 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.1.4-5]
            // Conforms: 5.0 [MQTT-3.2.2-3] [MQTT-4.5.0-1]
            // Conforms: 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.4-4] [MQTT-3.2.2-2]
            // Conforms: 3.1.1 [MQTT-3.2.2-3] [MQTT-4.5.0-1]
            #[test]
            fn a_session_waits_for_its_client() {
                play(&Version::ALL, sessions::a_session_waits_for_its_client);
            }

            // Conforms: 5.0 [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2]
            // Conforms: 3.1.1 [MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.2.2-1]
            #[test]
            fn a_clean_start_ends_a_session() {
                play(&Version::ALL, sessions::a_clean_start_ends_a_session);
            }

            // Conforms: 5.0 [MQTT-3.1.4-3]; 3.1.1 [MQTT-3.1.4-2]
            #[test]
            fn a_second_connection_takes_the_session_over() {
                play(
                    &Version::ALL,
                    sessions::a_second_connection_takes_the_session_over,
                );
            }

            // Conforms: 5.0 [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1]
            // Conforms: 3.1.1 [MQTT-3.8.4-4] [MQTT-3.8.4-5] [MQTT-3.9.3-1]
            #[test]
            fn a_filter_with_too_many_levels_is_refused() {
                // MQTT 3.1 has no code for it.
                play(
                    &[V311, V5],
                    reasons::a_filter_with_too_many_levels_is_refused,
                );
            }

            // Conforms: 5.0 [MQTT-4.8.2-3]
            #[test]
            fn each_message_goes_to_one_member() {
                play(&Version::ALL, sharing::each_message_goes_to_one_member);
            }

            #[test]
            fn the_daemon_says_farewell() {
                play(&Version::ALL, reasons::the_daemon_says_farewell);
            }

            // Conforms: 5.0 [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17]
            // Conforms: 5.0 [MQTT-3.3.2-18] [MQTT-3.3.2-20]
            #[test]
            fn properties_pass_unchanged() {
                play(&[V5], properties::properties_pass_unchanged);
            }

            // Conforms: 5.0 [MQTT-3.1.3-10]
            #[test]
            fn a_will_has_properties() {
                play(&[V5], properties::a_will_has_properties);
            }

            // Conforms: 5.0 [MQTT-3.3.2-6]
            #[test]
            fn the_expiry_interval_is_counted_down() {
                play(&[V5], properties::the_expiry_interval_is_counted_down);
            }

            #[test]
            fn topic_aliases_stand_for_topics() {
                play(&[V5], properties::topic_aliases_stand_for_topics);
            }

            // Conforms: 5.0 [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.8.4-3]
            #[test]
            fn subscription_identifiers_come_with_messages() {
                play(&[V5], options::subscription_identifiers_come_with_messages);
            }

            // Conforms: 5.0 [MQTT-3.8.3-3]
            #[test]
            fn no_local_keeps_own_messages_away() {
                play(&[V5], options::no_local_keeps_own_messages_away);
            }

            // Conforms: 5.0 [MQTT-3.3.1-12] [MQTT-3.3.1-13]
            #[test]
            fn retain_as_published_keeps_the_flag() {
                play(&[V5], options::retain_as_published_keeps_the_flag);
            }

            // Conforms: 5.0 [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
            #[test]
            fn retain_handling_decides_on_retained_messages() {
                play(&[V5], options::retain_handling_decides_on_retained_messages);
            }

            #[test]
            fn acknowledgements_say_what_became_of_a_message() {
                play(
                    &[V5],
                    reasons::acknowledgements_say_what_became_of_a_message,
                );
            }
        }
    };
}

conversation!(paho, PAHO);
conversation!(gmqtt, GMQTT);
conversation!(mosquitto, MOSQUITTO);
conversation!(mqtt_js, MQTT_JS);
conversation!(rumqttc, RUMQTTC);
