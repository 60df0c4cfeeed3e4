//! How a bridge tells its hub what it is.

use mqtt::packet::Property;

/// The user property of CONNECT.
const KEY: &str = "x-bridge";
const GUARDED: &str = "tidegate";
const UNGUARDED: &str = "tidegate-unguarded";

/// What a client says of itself that is the bridge of another Tidegate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Announcement {
    /// That broker does not guard its messages, or only once it is asked.
    Unguarded,
    /// It does from the start, and wants others to do so.
    Guarded,
}

impl Announcement {
    /// The one among the properties of a CONNECT.
    pub fn of<'p>(properties: impl IntoIterator<Item = Property<'p>>) -> Option<Self> {
        let is = |property: &Property<'_>, it: &Self| {
            let (key, value) = it.pair();
            *property == Property::UserProperty(key, value)
        };
        let all = [Self::Guarded, Self::Unguarded];
        let mut properties = properties.into_iter();
        properties.find_map(|property| all.into_iter().find(|it| is(&property, it)))
    }

    /// The user property that says so.
    #[must_use]
    pub const fn pair(self) -> (&'static str, &'static str) {
        match self {
            Self::Guarded => (KEY, GUARDED),
            Self::Unguarded => (KEY, UNGUARDED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_understood() {
        let other = Property::UserProperty("a", GUARDED);
        for announcement in [Announcement::Guarded, Announcement::Unguarded] {
            let (key, value) = announcement.pair();
            let properties = [other, Property::UserProperty(key, value)];
            assert_eq!(Announcement::of(properties), Some(announcement));
        }
        assert_eq!(Announcement::of([other]), None);
        let unknown = Property::UserProperty(KEY, "mosquitto");
        assert_eq!(Announcement::of([unknown]), None);
    }
}
