//! The words of an IDL text.

use super::IdlError;

/// A place in the text; both are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    line: usize,
    column: usize,
}

/// One word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) place: Place,
}

/// A kind of word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or a name, without `::`.
    Word(String),
    /// A number, decimal or hexadecimal.
    Number(u64),
    /// `@` with the name behind it.
    Annotation(String),
    /// `::`
    Scope,
    /// One of `{ } ( ) [ ] < > , ; = :` or a character that is not part of the language.
    Sign(char),
    /// Behind the last word.
    End,
}

impl Place {
    pub(super) fn error(self, detail: impl Into<String>) -> IdlError {
        IdlError {
            line: self.line,
            column: self.column,
            detail: detail.into(),
        }
    }
}

impl TokenKind {
    /// How an error message calls the word.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Number(number) => format!("`{number}`"),
            Self::Annotation(name) => format!("`@{name}`"),
            Self::Scope => "`::`".to_owned(),
            Self::Sign(sign) => format!("`{}`", sign.escape_debug()),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

/// Cuts a text into words; the last one is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, IdlError> {
    let mut scanner = Scanner::new(text);
    let mut tokens = Vec::new();
    loop {
        scanner.skip_blank()?;
        let place = scanner.place;
        let kind = scanner.token()?;
        let is_end = kind == TokenKind::End;
        tokens.push(Token { kind, place });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Scanner<'t> {
    rest: std::str::Chars<'t>,
    place: Place,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            rest: text.chars(),
            place: Place { line: 1, column: 1 },
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn starts_with(&self, prefix: &str) -> bool {
        self.rest.as_str().starts_with(prefix)
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        if next == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(next)
    }

    fn take_while(&mut self, condition: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(next) = self.peek().filter(|&next| condition(next)) {
            taken.push(next);
            self.next();
        }
        taken
    }

    /// Skips white space, comments and preprocessor lines.
    fn skip_blank(&mut self) -> Result<(), IdlError> {
        loop {
            let is_directive = self.starts_with("#") && self.place.column == 1;
            if self.starts_with("//") || is_directive {
                self.take_while(|next| next != '\n');
            } else if self.starts_with("/*") {
                self.skip_comment()?;
            } else if self.peek().is_some_and(char::is_whitespace) {
                self.next();
            } else {
                return Ok(());
            }
        }
    }

    fn skip_comment(&mut self) -> Result<(), IdlError> {
        let start = self.place;
        self.next();
        self.next();
        while !self.starts_with("*/") {
            if self.next().is_none() {
                return Err(start.error("the comment is not closed: `*/` is missing"));
            }
        }
        self.next();
        self.next();
        Ok(())
    }

    fn token(&mut self) -> Result<TokenKind, IdlError> {
        let Some(first) = self.peek() else {
            return Ok(TokenKind::End);
        };
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(TokenKind::Word(self.word()));
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if self.starts_with("::") {
            self.next();
            self.next();
            return Ok(TokenKind::Scope);
        }
        let place = self.place;
        self.next();
        if first != '@' {
            return Ok(TokenKind::Sign(first));
        }
        let name = self.word();
        if name.is_empty() {
            return Err(place.error("`@` must be followed by the name of an annotation"));
        }
        Ok(TokenKind::Annotation(name))
    }

    fn word(&mut self) -> String {
        self.take_while(|next| next.is_ascii_alphanumeric() || next == '_')
    }

    fn number(&mut self) -> Result<TokenKind, IdlError> {
        let place = self.place;
        let text = self.word();
        let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let number = match hexadecimal {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number
            .map(TokenKind::Number)
            .map_err(|_| place.error(format!("`{text}` is not an integer")))
    }
}
