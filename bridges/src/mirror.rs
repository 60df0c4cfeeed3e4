//! What is subscribed to at the hub because clients subscribe to it here, and what was because of
//! rules that are gone: pure.
//!
//! ```text
//! Client::poll_wanted -> Mirror::want -> Mirror::next -> SUBSCRIBE, UNSUBSCRIBE -> hub
//! hub -> SUBACK, UNSUBACK -> Mirror::answered
//! ```

mod cover;
mod place;

use std::collections::{BTreeSet, HashMap, HashSet};

use gateway::Wanted;
use mqtt::{QoS, ReasonCode, TopicFilter};

use self::cover::covers;
use self::place::{Place, Standing};

/// Filters in one SUBSCRIBE or UNSUBSCRIBE. AWS IoT Core ends the connection above 8.
const FILTERS_PER_REQUEST: usize = 8;
/// Requests without an answer; the next one waits for theirs.
const REQUESTS_MAX: usize = 8;
/// Bytes of a request, and of each of its filters, besides the text.
const REQUEST_BYTES: usize = 16;
const FILTER_BYTES: usize = 3;
/// Bytes of a User Property besides its texts, and of a Subscription Identifier.
const USER_PROPERTY_BYTES: usize = 5;
const IDENTIFIER_BYTES: usize = 5;

/// The filters that clients want and those that the hubs have.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Of every SUBSCRIBE.
    pub(crate) properties: Properties,
    /// Whether all that clients want is known, or is to be nothing.
    is_told: bool,
    /// Filters at the hub; none if nothing is mirrored any more, and what was, is ended. Further
    /// ones are left out until one of these has gone.
    filters_max: Option<usize>,
    /// What the rules subscribe to; what they cover is theirs.
    rules: Vec<TopicFilter>,
    wanted: HashMap<TopicFilter, QoS>,
    /// What each hub of the list may have.
    places: Vec<Place>,
    /// The hub that is connected.
    place: usize,
    /// Wanted, and not as it should be at the hub.
    to_make: BTreeSet<TopicFilter>,
    /// At the hub, and not wanted.
    to_end: BTreeSet<TopicFilter>,
    /// Wanted, and there is no room for them.
    left_out: BTreeSet<TopicFilter>,
    /// A hub may have had them.
    lost: Vec<TopicFilter>,
    asked: HashMap<u16, Request>,
    /// Wanted, and refused by a hub, which was said.
    refused: HashSet<TopicFilter>,
    is_told_full: bool,
    remarks: Vec<Remark>,
}

/// What a SUBSCRIBE says besides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties {
    pub(crate) identifier: Option<u32>,
    pub(crate) user: Vec<(String, String)>,
}

/// What the hub is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// SUBSCRIBE.
    Make(Vec<(TopicFilter, QoS)>),
    /// UNSUBSCRIBE.
    End(Vec<TopicFilter>),
}

/// What others are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// A hub may have this filter from here on.
    Begun(TopicFilter),
    /// No hub has this filter.
    Gone(TopicFilter),
    /// The hub does not take this filter.
    Refused(TopicFilter, ReasonCode),
    /// There is no room for this filter, and for those behind it.
    Full(TopicFilter),
}

impl Properties {
    /// At most.
    fn byte_count(&self) -> usize {
        let pairs = self.user.iter();
        let pairs = pairs.map(|(name, value)| name.len() + value.len() + USER_PROPERTY_BYTES);
        pairs.sum::<usize>() + IDENTIFIER_BYTES
    }
}

impl Mirror {
    /// For so many hubs, all of which may have what was `mirrored` before. The filters of rules are
    /// noted like those of clients, so that one whose rule is taken out can be ended.
    pub(crate) fn new(
        filters_max: Option<usize>,
        properties: Properties,
        rules: Vec<TopicFilter>,
        hubs: usize,
        mirrored: Vec<TopicFilter>,
    ) -> Self {
        let is_new = |it: &&TopicFilter| !mirrored.contains(it);
        let remarks = rules.iter().filter(is_new).cloned().map(Remark::Begun);
        let remarks = remarks.collect();
        let mut place = Place::default();
        for filter in mirrored.iter().filter(|it| !rules.contains(it)) {
            place.set(filter, Some(Standing::Unknown));
        }
        Self {
            properties,
            is_told: filters_max.is_none(),
            filters_max,
            rules,
            wanted: HashMap::new(),
            places: vec![place; hubs],
            place: 0,
            to_make: BTreeSet::new(),
            to_end: BTreeSet::new(),
            left_out: BTreeSet::new(),
            lost: Vec::new(),
            asked: HashMap::new(),
            refused: HashSet::new(),
            is_told_full: false,
            remarks,
        }
    }

    /// Whether what clients want is to be asked for.
    pub(crate) const fn is_on(&self) -> bool {
        self.filters_max.is_some()
    }

    /// True while the hub is to be asked for something before it is sent messages: one of them may
    /// be answered under such a filter.
    pub(crate) fn is_behind(&self) -> bool {
        !self.is_told || !self.to_make.is_empty()
    }

    /// What others are to be told since this was asked last.
    pub(crate) fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.remarks)
    }

    /// The hub at this place of the list has accepted the bridge.
    pub(crate) fn connected(&mut self, place: usize, session_present: bool) {
        self.place = place;
        self.asked.clear();
        self.to_make.clear();
        self.to_end.clear();
        self.left_out.clear();
        self.lost.extend(self.places[place].begin(session_present));
        self.look_at_all();
    }

    /// Takes in what clients subscribe to.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        if wanted.is_all {
            self.lost.extend(self.wanted.drain().map(|(it, _)| it));
            self.is_told = true;
        }
        let rules = &self.rules;
        let is_ours = |it: &TopicFilter| !rules.iter().any(|rule| covers(rule, it));
        let filters = wanted.filters.into_iter().filter(|it| is_ours(&it.0));
        let mut changed = Vec::new();
        for (filter, qos) in filters {
            match qos {
                Some(qos) => self.wanted.insert(filter.clone(), qos),
                None => self.wanted.remove(&filter),
            };
            changed.push(filter);
        }
        if wanted.is_all {
            self.look_at_all();
        } else {
            changed.iter().for_each(|it| self.look_at(it));
        }
    }

    /// Neither clients nor rules want anything from here on.
    pub(crate) fn end_all(&mut self) {
        self.filters_max = None;
        self.is_told = true;
        let rules = std::mem::take(&mut self.rules);
        for place in &mut self.places {
            for filter in &rules {
                place.set(filter, Some(Standing::Unknown));
            }
        }
        self.lost.extend(self.wanted.drain().map(|(it, _)| it));
        self.look_at_all();
    }

    /// True if the hub is to be asked for nothing, and has answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.to_make.is_empty() && self.to_end.is_empty() && self.asked.is_empty()
    }

    fn look_at_all(&mut self) {
        if !self.is_told {
            return;
        }
        let mut filters = std::mem::take(&mut self.lost);
        filters.extend(self.places[self.place].filters());
        filters.extend(self.wanted.keys().cloned());
        filters.iter().for_each(|it| self.look_at(it));
    }

    /// Decides what is to be done about a filter.
    fn look_at(&mut self, filter: &TopicFilter) {
        self.to_make.remove(filter);
        self.to_end.remove(filter);
        self.left_out.remove(filter);
        let place = &mut self.places[self.place];
        let standing = place.get(filter);
        match (self.wanted.get(filter), standing) {
            (Some(qos), Some(Standing::Has(has))) if has == *qos => {}
            (_, Some(Standing::InQuestion)) | (Some(_), Some(Standing::Refused)) => {}
            (Some(_), None | Some(Standing::Unknown | Standing::Has(_))) => {
                self.to_make.insert(filter.clone());
            }
            (None, Some(Standing::Unknown | Standing::Has(_))) => {
                self.to_end.insert(filter.clone());
            }
            (None, None | Some(Standing::Refused)) => {
                place.set(filter, None);
                self.refused.remove(filter);
                if !self.places.iter().any(|it| it.holds(filter)) {
                    self.remarks.push(Remark::Gone(filter.clone()));
                }
            }
        }
    }

    /// What the hub is to be asked for next under this Packet Identifier, if there is something
    /// and it may be asked now. The packet has so many bytes at most.
    /// `check` says why the hub does not know a filter at all.
    pub(crate) fn next(
        &mut self,
        packet_id: u16,
        bytes_max: usize,
        check: impl Fn(&TopicFilter) -> Option<ReasonCode>,
    ) -> Option<Request> {
        if self.asked.len() >= REQUESTS_MAX || !self.is_told {
            return None;
        }
        let properties = self.properties.byte_count();
        let make = self.next_to_make(bytes_max.saturating_sub(properties), check);
        let request = if make.is_empty() {
            Request::End(self.next_to_end(bytes_max))
        } else {
            Request::Make(make)
        };
        if request == Request::End(Vec::new()) {
            return None;
        }
        self.asked.insert(packet_id, request.clone());
        Some(request)
    }

    fn next_to_make(
        &mut self,
        bytes_max: usize,
        check: impl Fn(&TopicFilter) -> Option<ReasonCode>,
    ) -> Vec<(TopicFilter, QoS)> {
        let mut filters = Vec::new();
        let mut bytes = REQUEST_BYTES;
        while filters.len() < FILTERS_PER_REQUEST
            && let Some(filter) = self.to_make.pop_first()
        {
            let length = filter.as_str().len() + FILTER_BYTES;
            let reason = if REQUEST_BYTES + length > bytes_max {
                Some(ReasonCode::PacketTooLarge)
            } else {
                check(&filter)
            };
            let Some(&qos) = self.wanted.get(&filter) else {
                continue;
            };
            let place = &mut self.places[self.place];
            if let Some(reason) = reason {
                self.refuse(&filter, reason);
            } else if !place.holds(&filter) && self.filters_max.is_none_or(|it| place.held() >= it)
            {
                self.leave_out(filter);
            } else if bytes + length > bytes_max {
                self.to_make.insert(filter);
                break;
            } else {
                bytes += length;
                place.set(&filter, Some(Standing::InQuestion));
                self.remarks.push(Remark::Begun(filter.clone()));
                filters.push((filter, qos));
            }
        }
        filters
    }

    fn next_to_end(&mut self, bytes_max: usize) -> Vec<TopicFilter> {
        let mut filters = Vec::new();
        let mut bytes = REQUEST_BYTES;
        while filters.len() < FILTERS_PER_REQUEST
            && let Some(filter) = self.to_end.pop_first()
        {
            bytes += filter.as_str().len() + FILTER_BYTES;
            // One alone is tried: it may be there.
            if bytes > bytes_max && !filters.is_empty() {
                self.to_end.insert(filter);
                break;
            }
            self.places[self.place].set(&filter, Some(Standing::InQuestion));
            filters.push(filter);
        }
        filters
    }

    /// The hub has answered a request, or it could not be sent. False if there was none.
    pub(crate) fn answered(&mut self, packet_id: u16, codes: &[u8]) -> bool {
        match self.asked.remove(&packet_id) {
            None => return false,
            Some(Request::Make(filters)) => {
                for ((filter, qos), &code) in filters.iter().zip(codes) {
                    self.made(filter, *qos, code);
                }
            }
            Some(Request::End(filters)) => {
                for filter in filters {
                    self.places[self.place].set(&filter, None);
                    self.look_at(&filter);
                    let next = self.left_out.pop_first();
                    self.to_make.extend(next);
                }
                self.is_told_full &= !self.left_out.is_empty();
            }
        }
        true
    }

    fn made(&mut self, filter: &TopicFilter, qos: QoS, code: u8) {
        let place = &mut self.places[self.place];
        let reason = ReasonCode::from_u8(code).filter(|it| it.is_error());
        match reason {
            None => place.set(filter, Some(Standing::Has(qos))),
            Some(reason @ ReasonCode::QuotaExceeded) if self.wanted.contains_key(filter) => {
                place.set(filter, None);
                if self.refused.insert(filter.clone()) {
                    self.remarks.push(Remark::Refused(filter.clone(), reason));
                }
                // It is tried again when another one has gone.
                self.left_out.insert(filter.clone());
                return;
            }
            Some(reason) => self.refuse(filter, reason),
        }
        self.look_at(filter);
    }

    fn refuse(&mut self, filter: &TopicFilter, reason: ReasonCode) {
        self.places[self.place].set(filter, Some(Standing::Refused));
        if self.refused.insert(filter.clone()) {
            self.remarks.push(Remark::Refused(filter.clone(), reason));
        }
    }

    fn leave_out(&mut self, filter: TopicFilter) {
        if !std::mem::replace(&mut self.is_told_full, true) {
            self.remarks.push(Remark::Full(filter.clone()));
        }
        self.left_out.insert(filter);
    }
}

#[cfg(test)]
mod tests;
