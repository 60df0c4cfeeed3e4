//! A topic with placeholders, of which every client has its own.

use mqtt::{TopicFilter, TopicName};

/// Characters with which the specification's checks are passed in place of what is not known yet.
const ANY: &str = "0";

/// A topic or filter as the command line gives it.
#[derive(Clone, Debug)]
pub(crate) struct TopicTemplate {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `%i`
    Number,
    /// `%c`
    ClientId,
    /// `%u`
    UserName,
}

/// Whose topic it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) number: u32,
    pub(super) client_id: &'a str,
    pub(super) user_name: &'a str,
}

impl TopicTemplate {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            pieces.push(Piece::Text(before.to_owned()));
            let mut after = after.chars();
            pieces.push(match after.next() {
                Some('i') => Piece::Number,
                Some('c') => Piece::ClientId,
                Some('u') => Piece::UserName,
                Some('%') => Piece::Text("%".to_owned()),
                Some(_) | None => {
                    return Err("behind % stands i (the client's number), c (its Client \
                                Identifier), u (the user name), or % for itself"
                        .to_owned());
                }
            });
            rest = after.as_str();
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { pieces })
    }

    /// The topic of a client.
    pub(super) fn topic(&self, owner: Owner<'_>) -> String {
        let number = owner.number.to_string();
        self.join(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Number => &number,
            Piece::ClientId => owner.client_id,
            Piece::UserName => owner.user_name,
        })
    }

    /// The filter of everybody's topics.
    pub(super) fn filter(&self, user_name: &str) -> String {
        self.join(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Number | Piece::ClientId => "+",
            Piece::UserName => user_name,
        })
    }

    /// Whether clients have different topics.
    pub(super) fn is_individual(&self) -> bool {
        let mut pieces = self.pieces.iter();
        pieces.any(|it| matches!(it, Piece::Number | Piece::ClientId))
    }

    /// It stands for Topic Names.
    pub(crate) fn check_name(&self) -> Result<(), String> {
        let name = self.topic(ANYBODY);
        TopicName::check(&name).map_err(|error| error.to_string())
    }

    /// It stands for Topic Filters.
    pub(crate) fn check_filter(&self) -> Result<(), String> {
        let filter = TopicFilter::new(&self.topic(ANYBODY));
        filter.map(drop).map_err(|error| error.to_string())
    }

    /// One filter can stand for everybody's topics.
    pub(crate) fn check_common_filter(&self) -> Result<(), String> {
        let filter = TopicFilter::new(&self.filter(ANY));
        filter.map(drop).map_err(|_| {
            "%i and %c have to be whole levels, so that a subscriber can ask for all of them"
                .to_owned()
        })
    }

    /// Whether the user name stands in it.
    pub(crate) fn has_user_name(&self) -> bool {
        self.pieces.contains(&Piece::UserName)
    }

    fn join<'a>(&'a self, text: impl Fn(&'a Piece) -> &'a str) -> String {
        self.pieces.iter().map(text).collect()
    }
}

const ANYBODY: Owner<'static> = Owner {
    number: 0,
    client_id: ANY,
    user_name: ANY,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> TopicTemplate {
        TopicTemplate::parse(text).unwrap()
    }

    #[test]
    fn placeholders_stand_for_their_client() {
        let owner = Owner {
            number: 12,
            client_id: "me",
            user_name: "you",
        };
        let table = [
            ("a/b", "a/b"),
            ("%i", "12"),
            ("a/%i/b", "a/12/b"),
            ("%u/%c-%i", "you/me-12"),
            ("100%%/%i%i", "100%/1212"),
            ("é%c", "éme"),
        ];
        for (text, expected) in table {
            assert_eq!(template(text).topic(owner), expected, "{text}");
        }
    }

    #[test]
    fn unknown_placeholders_are_refused() {
        for text in ["%s", "a/%", "%é", "%I"] {
            assert!(TopicTemplate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn everybodys_topics_have_one_filter() {
        let common = template("a/%u/%i/%c");
        assert_eq!(common.filter("me"), "a/me/+/+");
        assert_eq!(common.check_common_filter(), Ok(()));
        assert!(template("a/x%i").check_common_filter().is_err());
        assert!(common.is_individual() && !template("a/%u").is_individual());
    }

    #[test]
    fn names_and_filters_are_told_apart() {
        assert_eq!(template("a/%i").check_name(), Ok(()));
        assert!(template("a/+").check_name().is_err());
        assert!(template("").check_name().is_err());
        for filter in ["a/+", "$share/%i/#", "%c"] {
            assert_eq!(template(filter).check_filter(), Ok(()), "{filter}");
        }
        assert!(template("a/%i#").check_filter().is_err());
    }
}
