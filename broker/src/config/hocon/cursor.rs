//! A reading position in a text.

use std::str::Chars;

use super::super::error::Fault;
use super::super::place::Place;

/// Walks over a text once and knows the line and column of what comes next.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'t> {
    rest: Chars<'t>,
    place: Place,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str, start: Place) -> Self {
        // Some editors write a byte order mark, which is no part of the text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            rest: text.chars(),
            place: start,
        }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.place, message)
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    pub(super) fn peek_second(&self) -> Option<char> {
        self.rest.clone().nth(1)
    }

    pub(super) fn starts_with(&self, text: &str) -> bool {
        self.rest.as_str().starts_with(text)
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        self.place.step(character);
        Some(character)
    }

    /// Steps over `text` if it comes next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let found = self.starts_with(text);
        if found {
            for _ in text.chars() {
                self.bump();
            }
        }
        found
    }

    /// Steps over a carriage return that belongs to a line end.
    pub(super) fn eat_carriage_return(&mut self) {
        if self.starts_with("\r\n") {
            self.bump();
        }
    }

    pub(super) fn take_while(&mut self, condition: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(character) = self.peek().filter(|character| condition(*character)) {
            taken.push(character);
            self.bump();
        }
        taken
    }

    /// Steps over white space within the line.
    pub(super) fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.bump();
        }
    }

    /// Steps over white space and comments; tells whether a line ended.
    pub(super) fn skip_blank(&mut self) -> bool {
        let mut line_ended = false;
        loop {
            if self.at_comment() {
                self.skip_comment();
            } else if self.peek().is_some_and(char::is_whitespace) {
                line_ended |= self.bump() == Some('\n');
            } else {
                return line_ended;
            }
        }
    }

    /// Whether a comment's first character comes next, provided that a token may begin here.
    pub(super) fn at_comment(&self) -> bool {
        self.starts_with("#") || self.starts_with("//")
    }

    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|character| character != '\n') {
            self.bump();
        }
    }
}

/// White space that does not end a line.
pub(super) fn is_space(character: char) -> bool {
    character != '\n' && character.is_whitespace()
}
