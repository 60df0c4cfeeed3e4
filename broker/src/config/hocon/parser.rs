//! Reads a HOCON text into a tree.

use std::path::Path;
use std::rc::Rc;

use super::super::error::Fault;
use super::super::hints;
use super::super::node::{DEPTH_MAX, Step};
use super::super::place::Place;
use super::cursor::{Cursor, is_space};
use super::include::{Include, Includes};
use super::path::read_path;
use super::quoted::read_quoted;
use super::syntax::{Expression, Key, Piece, Substitution};
use super::tree::Tree;

/// Reads one file, and through another parser each file that it includes.
#[derive(Debug)]
pub(super) struct Parser<'t, 'i, 'o> {
    cursor: Cursor<'t>,
    folder: &'t Path,
    includes: &'i mut Includes<'o>,
    include_depth: usize,
    /// Keys and lists around the cursor. Objects are only nested in those.
    depth: usize,
    /// The keys around the cursor; none within a list.
    path: Option<Vec<String>>,
    /// Of an included file: the keys around the include.
    prefix: Option<Rc<[String]>>,
}

impl<'t, 'i, 'o> Parser<'t, 'i, 'o> {
    pub(super) fn new(
        text: &'t str,
        start: Place,
        folder: &'t Path,
        includes: &'i mut Includes<'o>,
    ) -> Self {
        Self {
            cursor: Cursor::new(text, start),
            folder,
            includes,
            include_depth: 0,
            depth: 0,
            path: Some(Vec::new()),
            prefix: None,
        }
    }

    /// Reads the whole file, whose outer braces are optional.
    pub(super) fn parse_root(mut self, tree: &mut Tree) -> Result<(), Fault> {
        self.cursor.skip_blank();
        if self.cursor.starts_with("[") {
            return Err(self
                .cursor
                .fault("a configuration is an object, not a list"));
        }
        if !self.cursor.starts_with("{") {
            return self.parse_fields(tree, None);
        }
        self.parse_object(tree)?;
        self.cursor.skip_blank();
        match self.cursor.peek() {
            None => Ok(()),
            Some(_) => Err(self.cursor.fault("there is text after the closing `}`")),
        }
    }

    fn parse_object(&mut self, tree: &mut Tree) -> Result<(), Fault> {
        let start = self.cursor.place();
        self.cursor.bump();
        self.parse_fields(tree, Some(start))
    }

    /// Reads fields up to the `}` that belongs to the `{` at `start`, or to the end of the file.
    fn parse_fields(&mut self, tree: &mut Tree, start: Option<Place>) -> Result<(), Fault> {
        let mut separated = true;
        loop {
            separated |= self.cursor.skip_blank();
            match (self.cursor.peek(), start) {
                (None, None) => return Ok(()),
                (None, Some(start)) => return Err(Fault::new(start, "this `{` is not closed")),
                (Some('}'), Some(_)) => {
                    self.cursor.bump();
                    return Ok(());
                }
                (Some('}'), None) => return Err(self.cursor.fault("this `}` closes nothing")),
                _ => {}
            }
            if !separated {
                return Err(self.unseparated());
            }
            self.parse_field(tree)?;
            separated = self.eat_separator();
        }
    }

    /// Steps over what may stand between two fields or elements.
    fn eat_separator(&mut self) -> bool {
        let line_ended = self.cursor.skip_blank();
        self.cursor.eat(",") || line_ended
    }

    fn unseparated(&self) -> Fault {
        self.cursor.fault(match self.cursor.peek() {
            Some(']') => "this `]` closes nothing",
            _ => "expected a comma or a new line",
        })
    }

    fn parse_field(&mut self, tree: &mut Tree) -> Result<(), Fault> {
        if let Some(include) = Include::read(&mut self.cursor)? {
            return self.parse_included(&include, tree);
        }
        let path = read_path(&mut self.cursor)?;
        self.enter(path.len())?;
        if let Some(around) = &mut self.path {
            around.extend(path.iter().map(|key| key.name.clone()));
        }
        let (appends, value) = self.parse_assignment(&path)?;
        if let Some(around) = &mut self.path {
            around.truncate(around.len().saturating_sub(path.len()));
        }
        self.depth -= path.len();
        tree.add(path.into_iter(), value, appends);
        Ok(())
    }

    fn parse_included(&mut self, include: &Include, tree: &mut Tree) -> Result<(), Fault> {
        let included = self
            .includes
            .load(include, self.folder, self.include_depth)?;
        let Some(included) = included else {
            return Ok(());
        };
        let parser = Parser {
            cursor: Cursor::new(&included.text, included.start),
            folder: &included.folder,
            includes: self.includes,
            include_depth: self.include_depth + 1,
            depth: self.depth,
            path: self.path.clone(),
            prefix: self.path.clone().map(Rc::from),
        };
        parser.parse_root(tree)
    }

    /// Reads what follows a key. Tells whether the value is appended.
    fn parse_assignment(&mut self, path: &[Key]) -> Result<(bool, Expression), Fault> {
        let after_key = self.cursor.clone();
        self.cursor.skip_blank();
        let appends = self.cursor.eat("+=");
        if !appends && !self.cursor.eat("=") && !self.cursor.eat(":") {
            if self.cursor.starts_with("{") {
                return Ok((false, self.parse_expression()?));
            }
            let key = path.last().map_or("", |key| key.name.as_str());
            let mut message = format!("expected `=`, `:` or `{{` after `{key}`");
            // Mosquitto's files have a key, a space and a value.
            let path = self.path.iter().flatten().cloned().map(Step::Key);
            if let Some(hint) = hints::find(&path.collect::<Vec<_>>()) {
                message = format!("{message}; {hint}");
            }
            return Err(after_key.fault(message));
        }
        self.cursor.skip_spaces();
        let before_value = self.cursor.clone();
        // An object or a list may begin on a later line.
        self.cursor.skip_blank();
        if !self.cursor.starts_with("{") && !self.cursor.starts_with("[") {
            self.cursor = before_value;
        }
        Ok((appends, self.parse_expression()?))
    }

    fn parse_expression(&mut self) -> Result<Expression, Fault> {
        let place = self.cursor.place();
        let mut pieces = Vec::new();
        loop {
            let space = self.cursor.take_while(is_space);
            if self.at_expression_end() {
                break;
            }
            if !pieces.is_empty() && !space.is_empty() {
                pieces.push(Piece::Space(space));
            }
            pieces.push(self.parse_piece()?);
        }
        if !pieces.is_empty() {
            return Ok(Expression { place, pieces });
        }
        Err(self.cursor.fault(if self.cursor.at_comment() {
            "expected a value; a comment begins here, so write quotes around the value"
        } else {
            "expected a value"
        }))
    }

    fn at_expression_end(&self) -> bool {
        let next = self.cursor.peek();
        matches!(next, None | Some('\n' | ',' | '}' | ']')) || self.cursor.at_comment()
    }

    fn parse_piece(&mut self) -> Result<Piece, Fault> {
        match self.cursor.peek() {
            Some('"') => {
                let mut inside = self.cursor.clone();
                let text_start = inside.eat("\"\"\"").then(|| inside.place());
                Ok(Piece::Quoted(read_quoted(&mut self.cursor)?, text_start))
            }
            Some('{') => {
                let mut tree = Tree::default();
                self.parse_object(&mut tree)?;
                Ok(Piece::Object(tree))
            }
            Some('[') => {
                self.enter(1)?;
                // Nothing outside a list can refer to what is in it.
                let around = self.path.take();
                let elements = self.parse_array()?;
                self.path = around;
                self.depth -= 1;
                Ok(Piece::Array(elements))
            }
            Some('$') if self.cursor.starts_with("${") => self.parse_substitution(),
            _ => self.parse_unquoted(),
        }
    }

    fn parse_array(&mut self) -> Result<Vec<Expression>, Fault> {
        let start = self.cursor.place();
        self.cursor.bump();
        let mut elements = Vec::new();
        let mut separated = true;
        loop {
            separated |= self.cursor.skip_blank();
            match self.cursor.peek() {
                None => return Err(Fault::new(start, "this `[` is not closed")),
                Some(']') => {
                    self.cursor.bump();
                    return Ok(elements);
                }
                Some('}') => return Err(self.cursor.fault("expected `]`, found `}`")),
                Some(_) if !separated => return Err(self.unseparated()),
                Some(_) => {}
            }
            elements.push(self.parse_expression()?);
            separated = self.eat_separator();
        }
    }

    fn parse_substitution(&mut self) -> Result<Piece, Fault> {
        let place = self.cursor.place();
        self.cursor.eat("${");
        let optional = self.cursor.eat("?");
        self.cursor.skip_spaces();
        let path = read_path(&mut self.cursor)?;
        self.cursor.skip_spaces();
        if !self.cursor.eat("}") {
            return Err(self
                .cursor
                .fault("expected `}` after the substitution's path"));
        }
        if path.len() > DEPTH_MAX {
            return Err(too_deep(place));
        }
        Ok(Piece::Substitution(Substitution {
            path: path.into_iter().map(|key| key.name).collect(),
            optional,
            place,
            prefix: self.prefix.clone(),
        }))
    }

    fn parse_unquoted(&mut self) -> Result<Piece, Fault> {
        let mut text = String::new();
        while let Some(character) = self.cursor.peek() {
            let ends = character.is_whitespace()
                || "\",{}[]".contains(character)
                || self.cursor.starts_with("${");
            if ends {
                break;
            }
            let next = self.cursor.peek_second();
            let colon_ends = character == ':' && next.is_none_or(char::is_whitespace);
            if character == '=' || character == '\\' || colon_ends {
                let mut message =
                    format!("unexpected `{character}`; a value that contains it needs quotes");
                if character != '\\' {
                    message += ", a further key on the line a comma before it";
                }
                return Err(self.cursor.fault(message));
            }
            text.push(character);
            self.cursor.bump();
        }
        Ok(Piece::Unquoted(text))
    }

    fn enter(&mut self, levels: usize) -> Result<(), Fault> {
        self.depth += levels;
        if self.depth > DEPTH_MAX {
            return Err(too_deep(self.cursor.place()));
        }
        Ok(())
    }
}

fn too_deep(place: Place) -> Fault {
    Fault::new(
        place,
        format!("keys and lists are nested more than {DEPTH_MAX} deep"),
    )
}
