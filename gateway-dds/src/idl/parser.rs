//! From words to types: recursive descent with a bounded depth.

use std::sync::Arc;

use super::annotation::{self, Annotation};
use super::token::{Place, Token, TokenKind, tokens};
use super::{DEPTH_MAX, IdlError, LEAST_BYTES_MAX, NAME_BYTES_MAX, NODES_MAX, TEXT_BYTES_MAX};
use crate::type_tree::{Enumeration, Extensibility, Member, Primitive, Structure, Type};

type Parsed<T> = Result<T, IdlError>;

/// Reads all structs of a text.
pub(super) fn parse(text: &str) -> Parsed<Vec<Arc<Structure>>> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        scope: Vec::new(),
        structures: Vec::new(),
        enumerations: Vec::new(),
    };
    if text.len() > TEXT_BYTES_MAX {
        let detail = format!("the text is longer than {TEXT_BYTES_MAX} bytes");
        return Err(parser.place().error(detail));
    }
    while parser.peek() != &TokenKind::End {
        parser.definition()?;
    }
    Ok(parser.structures)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// The modules around the current place.
    scope: Vec<String>,
    structures: Vec<Arc<Structure>>,
    enumerations: Vec<Arc<Enumeration>>,
}

impl Parser {
    fn token(&self) -> &Token {
        // The last word is `End`, which is never consumed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> &TokenKind {
        &self.token().kind
    }

    fn place(&self) -> Place {
        self.token().place
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn expected<T>(&self, what: &str) -> Parsed<T> {
        let found = self.peek().describe();
        Err(self
            .place()
            .error(format!("expected {what}, found {found}")))
    }

    /// Consumes a sign if it is next.
    fn accept(&mut self, sign: char) -> bool {
        let is_next = self.peek() == &TokenKind::Sign(sign);
        if is_next {
            self.advance();
        }
        is_next
    }

    fn expect(&mut self, sign: char) -> Parsed<()> {
        if self.accept(sign) {
            return Ok(());
        }
        self.expected(&format!("`{sign}`"))
    }

    /// Consumes a keyword if it is next.
    fn accept_word(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.peek(), TokenKind::Word(word) if word == keyword);
        if is_next {
            self.advance();
        }
        is_next
    }

    fn name(&mut self, what: &str) -> Parsed<String> {
        let TokenKind::Word(name) = self.peek() else {
            return self.expected(what);
        };
        // A leading underscore escapes a word that is also a keyword.
        let (name, place) = (name.strip_prefix('_').unwrap_or(name), self.place());
        let name = name.to_owned();
        self.advance();
        if name.is_empty() || self.qualified(&name).len() > NAME_BYTES_MAX {
            let detail = format!("a name with its modules has 1 to {NAME_BYTES_MAX} bytes");
            return Err(place.error(detail));
        }
        Ok(name)
    }

    fn bound(&mut self) -> Parsed<u32> {
        let place = self.place();
        let &TokenKind::Number(number) = self.peek() else {
            return self.expected("a number");
        };
        self.advance();
        let bound = u32::try_from(number).ok().filter(|&bound| bound > 0);
        bound.ok_or_else(|| place.error("a length is a number from 1 to 4294967295"))
    }

    fn qualified(&self, name: &str) -> String {
        let mut qualified = self.scope.join("::");
        if !qualified.is_empty() {
            qualified.push_str("::");
        }
        qualified.push_str(name);
        qualified
    }

    fn annotations(&mut self) -> Parsed<Vec<Annotation>> {
        let mut annotations = Vec::new();
        while let TokenKind::Annotation(name) = self.peek() {
            let (name, place) = (name.clone(), self.place());
            self.advance();
            if self.accept('(') {
                let detail = format!("`@{name}` with a value in parentheses is not supported");
                return Err(place.error(detail));
            }
            annotations.push(Annotation { name, place });
        }
        Ok(annotations)
    }

    fn definition(&mut self) -> Parsed<()> {
        let annotations = self.annotations()?;
        let place = self.place();
        let TokenKind::Word(keyword) = self.peek() else {
            return self.expected("`module`, `struct` or `enum`");
        };
        let keyword = keyword.clone();
        self.advance();
        match keyword.as_str() {
            "module" => {
                annotation::refuse(&annotations, "a module")?;
                self.module()
            }
            "struct" => {
                let extensibility = annotation::extensibility(&annotations)?;
                self.structure(extensibility)
            }
            "enum" => {
                // An enum has no members to add; XTypes lets it be final or appendable.
                annotation::extensibility(&annotations)?;
                self.enumeration()
            }
            "union" | "typedef" | "const" | "bitmask" | "bitset" | "interface" | "valuetype"
            | "native" | "exception" => {
                Err(place.error(format!("`{keyword}` is not supported by the gateway")))
            }
            _ => Err(place.error(format!(
                "expected `module`, `struct` or `enum`, found `{keyword}`"
            ))),
        }
    }

    fn module(&mut self) -> Parsed<()> {
        let place = self.place();
        let name = self.name("the name of the module")?;
        if self.scope.len() >= DEPTH_MAX {
            return Err(place.error(format!("modules are nested more than {DEPTH_MAX} deep")));
        }
        self.scope.push(name);
        self.expect('{')?;
        while !self.accept('}') {
            self.definition()?;
        }
        self.scope.pop();
        self.expect(';')
    }

    /// The name of a new type.
    fn type_name(&mut self, what: &str) -> Parsed<String> {
        let place = self.place();
        let name = self.name(what)?;
        let name = self.qualified(&name);
        if self.find(&name).is_some() {
            return Err(place.error(format!("`{name}` is declared twice")));
        }
        Ok(name)
    }

    fn structure(&mut self, extensibility: Extensibility) -> Parsed<()> {
        let place = self.place();
        let name = self.type_name("the name of the struct")?;
        if self.peek() == &TokenKind::Sign(':') {
            return Err(self.place().error("inheritance is not supported"));
        }
        if self.peek() == &TokenKind::Sign(';') {
            return Err(self.place().error("forward declarations are not supported"));
        }
        self.expect('{')?;
        let mut members = Vec::new();
        while !self.accept('}') {
            self.members(&mut members)?;
        }
        self.expect(';')?;
        let structure = Structure {
            name,
            extensibility,
            members,
        };
        check_limits(&structure, place)?;
        self.structures.push(Arc::new(structure));
        Ok(())
    }

    /// One declaration, which may have several names: `long x, y[3];`.
    fn members(&mut self, members: &mut Vec<Member>) -> Parsed<()> {
        let annotations = self.annotations()?;
        let is_key = annotation::key(&annotations)?;
        let base = self.type_spec(1)?;
        loop {
            let place = self.place();
            let name = self.name("the name of the member")?;
            if members.iter().any(|member| member.name == name) {
                return Err(place.error(format!("the member `{name}` is declared twice")));
            }
            let member_type = self.dimensions(base.clone())?;
            if is_key && !can_be_key(&member_type) {
                let detail = format!("`{name}` cannot be a key: it is or has a sequence");
                return Err(place.error(detail));
            }
            if members.len() >= NODES_MAX {
                return Err(place.error(format!("a struct has more than {NODES_MAX} members")));
            }
            members.push(Member {
                name,
                member_type,
                is_key,
            });
            if !self.accept(',') {
                return self.expect(';');
            }
        }
    }

    fn dimensions(&mut self, element: Type) -> Parsed<Type> {
        let mut dimensions = Vec::new();
        while self.accept('[') {
            let place = self.place();
            dimensions.push(self.bound()?);
            self.expect(']')?;
            if dimensions.len() > DEPTH_MAX / 2 {
                return Err(place.error("an array has too many dimensions"));
            }
        }
        if dimensions.is_empty() {
            return Ok(element);
        }
        Ok(Type::Array {
            element: Box::new(element),
            dimensions,
        })
    }

    fn enumeration(&mut self) -> Parsed<()> {
        let name = self.type_name("the name of the enum")?;
        self.expect('{')?;
        let mut literals: Vec<String> = Vec::new();
        loop {
            for annotation in self.annotations()? {
                if annotation.name != "default_literal" {
                    return Err(annotation.unsupported("an enum literal"));
                }
            }
            let place = self.place();
            let literal = self.name("the name of a literal")?;
            if literals.contains(&literal) {
                return Err(place.error(format!("the literal `{literal}` is declared twice")));
            }
            if literals.len() >= NODES_MAX {
                return Err(place.error(format!("an enum has more than {NODES_MAX} literals")));
            }
            literals.push(literal);
            if !self.accept(',') {
                break;
            }
        }
        self.expect('}')?;
        self.expect(';')?;
        self.enumerations
            .push(Arc::new(Enumeration { name, literals }));
        Ok(())
    }

    fn type_spec(&mut self, depth: usize) -> Parsed<Type> {
        let place = self.place();
        if depth > DEPTH_MAX {
            return Err(place.error(format!("types are nested more than {DEPTH_MAX} deep")));
        }
        if self.peek() == &TokenKind::Scope {
            return self.reference();
        }
        let TokenKind::Word(word) = self.peek() else {
            return self.expected("a type");
        };
        let word = word.clone();
        if let Some(primitive) = simple_primitive(&word) {
            self.advance();
            return Ok(Type::Primitive(primitive));
        }
        match word.as_str() {
            "unsigned" => {
                self.advance();
                self.unsigned().map(Type::Primitive)
            }
            "long" => {
                self.advance();
                self.long().map(Type::Primitive)
            }
            "string" => {
                self.advance();
                self.string()
            }
            "sequence" => {
                self.advance();
                self.sequence(depth)
            }
            "wchar" | "wstring" | "map" | "any" | "fixed" | "Object" | "struct" | "union"
            | "enum" => Err(place.error(format!("`{word}` is not supported as a member's type"))),
            _ => self.reference(),
        }
    }

    fn unsigned(&mut self) -> Parsed<Primitive> {
        if self.accept_word("short") {
            return Ok(Primitive::UInt16);
        }
        if !self.accept_word("long") {
            return self.expected("`short` or `long`");
        }
        if self.accept_word("long") {
            return Ok(Primitive::UInt64);
        }
        Ok(Primitive::UInt32)
    }

    fn long(&mut self) -> Parsed<Primitive> {
        let place = self.place();
        if self.accept_word("double") {
            return Err(place.error("`long double` is not supported"));
        }
        if self.accept_word("long") {
            return Ok(Primitive::Int64);
        }
        Ok(Primitive::Int32)
    }

    fn string(&mut self) -> Parsed<Type> {
        let mut bound = None;
        if self.accept('<') {
            bound = Some(self.bound()?);
            self.expect('>')?;
        }
        Ok(Type::Text { bound })
    }

    fn sequence(&mut self, depth: usize) -> Parsed<Type> {
        self.expect('<')?;
        let element = Box::new(self.type_spec(depth + 1)?);
        let mut bound = None;
        if self.accept(',') {
            bound = Some(self.bound()?);
        }
        self.expect('>')?;
        Ok(Type::Sequence { element, bound })
    }

    /// A type that was declared before, looked up from the innermost module outwards.
    fn reference(&mut self) -> Parsed<Type> {
        let place = self.place();
        let mut is_absolute = self.peek() == &TokenKind::Scope;
        if is_absolute {
            self.advance();
        }
        let mut name = self.name("a type")?;
        while self.peek() == &TokenKind::Scope {
            self.advance();
            name.push_str("::");
            name.push_str(&self.name("a name")?);
        }
        let mut outer = self.scope.len();
        loop {
            let candidate = match (is_absolute, outer) {
                (true, _) | (false, 0) => name.clone(),
                (false, levels) => format!("{}::{name}", self.scope[..levels].join("::")),
            };
            if let Some(found) = self.find(&candidate) {
                return Ok(found);
            }
            if outer == 0 {
                is_absolute = true;
            }
            if is_absolute {
                return Err(place.error(format!("unknown type `{name}`")));
            }
            outer -= 1;
        }
    }

    fn find(&self, name: &str) -> Option<Type> {
        let structures = self.structures.iter();
        let enumerations = self.enumerations.iter();
        let structure = structures
            .filter(|structure| structure.name == name)
            .map(|structure| Type::Structure(Arc::clone(structure)));
        let enumeration = enumerations
            .filter(|enumeration| enumeration.name == name)
            .map(|enumeration| Type::Enumeration(Arc::clone(enumeration)));
        structure.chain(enumeration).next()
    }
}

fn simple_primitive(word: &str) -> Option<Primitive> {
    let primitive = match word {
        "boolean" => Primitive::Boolean,
        "octet" => Primitive::Octet,
        "char" => Primitive::Char,
        "int8" => Primitive::Int8,
        "uint8" => Primitive::UInt8,
        "short" | "int16" => Primitive::Int16,
        "uint16" => Primitive::UInt16,
        "int32" => Primitive::Int32,
        "uint32" => Primitive::UInt32,
        "int64" => Primitive::Int64,
        "uint64" => Primitive::UInt64,
        "float" => Primitive::Float32,
        "double" => Primitive::Float64,
        _ => return None,
    };
    Some(primitive)
}

/// Cyclone DDS has no keys of variable length apart from strings, nor arrays of strings.
fn can_be_key(member_type: &Type) -> bool {
    match member_type {
        Type::Primitive(_) | Type::Text { .. } | Type::Enumeration(_) => true,
        Type::Sequence { .. } => false,
        Type::Array { element, .. } => {
            matches!(**element, Type::Primitive(_) | Type::Enumeration(_))
        }
        Type::Structure(structure) => {
            let has_key = structure.members.iter().any(|member| member.is_key);
            let mut members = structure.members.iter();
            members.all(|member| (has_key && !member.is_key) || can_be_key(&member.member_type))
        }
    }
}

fn check_limits(structure: &Structure, place: Place) -> Parsed<()> {
    let name = &structure.name;
    let detail = if structure.members.is_empty() {
        format!("the struct `{name}` has no members")
    } else if structure.depth() > DEPTH_MAX {
        format!("the types in `{name}` are nested more than {DEPTH_MAX} deep")
    } else if structure.node_count() > NODES_MAX {
        format!("`{name}` is made of more than {NODES_MAX} types")
    } else if structure.least_bytes() > LEAST_BYTES_MAX {
        format!("a sample of `{name}` has more than {LEAST_BYTES_MAX} bytes at least")
    } else {
        return Ok(());
    };
    Err(place.error(detail))
}

#[cfg(test)]
mod tests;
