//! Paths.

use super::{Parser, limit};
use crate::error::{Failure, Hint, Parse, Reason};
use crate::limits::LimitName;
use crate::plan::{Member, Path, PathBuilder, Root};
use crate::token::{Symbol, Token};

/// Words that cannot begin a path. After a dot every word is a name.
const RESERVED: [&str; 15] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "NIN",
    "undefined",
    "null",
    "true",
    "false",
];

impl Parser<'_> {
    /// Parses a path of the collection.
    pub(super) fn path(&mut self) -> Parse<Path> {
        let path = self.path_builder("a path")?;
        self.resolve(path)
    }

    pub(super) fn resolve(&self, path: PathBuilder) -> Parse<Path> {
        let offset = path.offset;
        path.resolve(self.collection)
            .map_err(|name| Failure::new(Reason::TwinPathInJobs(name), offset).hint(Hint::QueryTwins))
    }

    /// Parses a path whose collection may not be known yet.
    pub(super) fn path_builder(&mut self, expected: &'static str) -> Parse<PathBuilder> {
        let offset = self.current.start;
        let (first, mut plain) = match self.current.token {
            Token::Word(word) if !RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word)) => {
                (word, 1)
            }
            Token::QuotedName(name) => (name, 0),
            _ => return Err(self.unexpected(expected)),
        };
        self.advance()?;
        let mut members = Vec::new();
        while let Some(member) = self.member()? {
            if members.len() == self.limits.path_members {
                return Err(limit(LimitName::PathMembers, self.limits.path_members, self.current.start));
            }
            let (member, is_plain) = member;
            if is_plain && plain == members.len() + 1 {
                plain += 1;
            }
            members.push(member);
        }
        if members.is_empty() && plain == 1 && Root::named(first, self.collection).is_none() {
            self.bare_word = Some((offset, self.previous_end));
        }
        Ok(PathBuilder { offset, first: first.to_owned(), members, plain })
    }

    /// Parses `.name`, `.[[name]]`, `['name']` or `[0]`. Returns whether it is a name without quotes.
    fn member(&mut self) -> Parse<Option<(Member, bool)>> {
        if self.take_symbol(Symbol::Dot)? {
            let member = match self.current.token {
                Token::Word(name) => (Member::Name(name.to_owned()), true),
                Token::QuotedName(name) => (Member::Name(name.to_owned()), false),
                _ => return Err(self.unexpected("the name of a member").hint(self.quote_name_hint())),
            };
            self.advance()?;
            return Ok(Some(member));
        }
        if !self.take_symbol(Symbol::OpenBracket)? {
            return Ok(None);
        }
        let member = match &self.current.token {
            Token::Integer(index) => u32::try_from(*index).ok().map(Member::Index),
            Token::Text(name) if name.is_empty() => {
                return Err(Failure::new(Reason::EmptyName, self.current.start));
            }
            Token::Text(name) => Some(Member::Name(name.clone().into_owned())),
            _ => None,
        };
        let Some(member) = member else { return Err(self.unexpected("an index or a name in quotes")) };
        self.advance()?;
        self.expect_symbol(Symbol::CloseBracket, "]")?;
        Ok(Some((member, false)))
    }

    /// Advice for a number or a string where a name is expected.
    fn quote_name_hint(&self) -> Option<Hint> {
        match &self.current.token {
            Token::Integer(number) => Some(Hint::QuoteName(number.to_string())),
            Token::Text(text) => Some(Hint::QuoteName(text.chars().take(32).collect())),
            _ => None,
        }
    }
}
