//! Tokens → plan.
//!
//! Statements are parsed by recursive descent, expressions by precedence (Pratt). The plan is built directly: there is
//! no syntax tree. Every recursion is counted, so the stack is bounded by [`Limits::depth`].

mod call;
mod columns;
mod comparison;
mod expression;
mod path;
mod primary;
mod statement;
mod suggestion;
mod unexpected;

use crate::dialect::Dialect;
use crate::error::{Failure, Parse, QueryError, Reason};
use crate::lexer::Lexer;
use crate::limits::{LimitName, Limits};
use crate::plan::{Collection, Filter, Path, Query};
use crate::token::{Lexeme, Symbol, Token};

impl Query {
    /// Parses a query: `SELECT [TOP n] columns FROM collection [WHERE condition] [GROUP BY path] [;]`.
    ///
    /// # Errors
    /// The first place where the text is not a query, or exceeds a limit.
    pub fn parse(text: &str, dialect: Dialect, limits: &Limits) -> Result<Self, QueryError> {
        let parse = || Parser::new(text, dialect, limits)?.query();
        parse().map_err(|failure| failure.in_text(text))
    }
}

impl Filter {
    /// Parses a condition without `SELECT`: a condition on devices, `*` for all devices, or `FROM collection [WHERE
    /// condition]`. Target conditions and conditions of jobs have this form.
    ///
    /// # Errors
    /// The first place where the text is not a condition, or exceeds a limit; [`Reason::Empty`] if the text is blank.
    pub fn parse(text: &str, dialect: Dialect, limits: &Limits) -> Result<Self, QueryError> {
        let parse = || Parser::new(text, dialect, limits)?.filter();
        parse().map_err(|failure| failure.in_text(text))
    }
}

impl Path {
    /// Parses a path of devices and modules, such as `tags.building`.
    ///
    /// # Errors
    /// The first place where the text is not a path.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let parse = || Parser::new(text, Dialect::Twins, &Limits::QUERY)?.only_path();
        parse().map_err(|failure| failure.in_text(text))
    }
}

/// Reads tokens and builds the plan.
struct Parser<'t> {
    lexer: Lexer<'t>,
    limits: &'t Limits,
    dialect: Dialect,
    /// The collection of the query; known after `FROM`.
    collection: Collection,
    current: Lexeme<'t>,
    /// The token after the current one. Its error counts when it becomes the current one.
    next: Parse<Lexeme<'t>>,
    /// Offset after the last token before the current one.
    previous_end: usize,
    /// Start and end of the last path that is a single unknown word: possibly a string without quotes.
    bare_word: Option<(usize, usize)>,
    /// Levels of nesting around the current token.
    depth: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, dialect: Dialect, limits: &'t Limits) -> Parse<Self> {
        if let Some((offset, _)) = text.char_indices().nth(limits.characters) {
            return Err(limit(LimitName::Characters, limits.characters, offset));
        }
        let mut lexer = Lexer::new(text);
        let current = lexer.next()?;
        let next = lexer.next();
        Ok(Self {
            lexer,
            limits,
            dialect,
            collection: Collection::Devices,
            current,
            next,
            previous_end: 0,
            bare_word: None,
            depth: 0,
        })
    }

    /// Takes the current token.
    fn advance(&mut self) -> Parse<Lexeme<'t>> {
        let following = std::mem::replace(&mut self.next, self.lexer.next())?;
        self.previous_end = self.current.end;
        Ok(std::mem::replace(&mut self.current, following))
    }

    fn is_symbol(&self, symbol: Symbol) -> bool {
        self.current.token == Token::Symbol(symbol)
    }

    /// Returns whether the token after the current one is this symbol.
    fn next_is_symbol(&self, symbol: Symbol) -> bool {
        self.next.as_ref().is_ok_and(|next| next.token == Token::Symbol(symbol))
    }

    /// Takes the current token if it is this symbol.
    fn take_symbol(&mut self, symbol: Symbol) -> Parse<bool> {
        let found = self.is_symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect_symbol(&mut self, symbol: Symbol, expected: &'static str) -> Parse<()> {
        if self.take_symbol(symbol)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        is_keyword(&self.current.token, keyword)
    }

    /// Takes the current token if it is this keyword.
    fn take_keyword(&mut self, keyword: &str) -> Parse<bool> {
        let found = self.is_keyword(keyword);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect_keyword(&mut self, keyword: &'static str) -> Parse<()> {
        if self.take_keyword(keyword)? { Ok(()) } else { Err(self.unexpected(keyword)) }
    }

    /// Parses something one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        self.depth += 1;
        self.check_depth(self.depth)?;
        let result = parse(self)?;
        self.depth -= 1;
        Ok(result)
    }

    fn check_depth(&self, depth: usize) -> Parse<()> {
        let allowed = self.limits.depth;
        if depth <= allowed { Ok(()) } else { Err(limit(LimitName::Depth, allowed, self.current.start)) }
    }
}

fn is_keyword(token: &Token<'_>, keyword: &str) -> bool {
    matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
}

fn limit(name: LimitName, limit: usize, offset: usize) -> Box<Failure> {
    Failure::new(Reason::Limit { name, limit }, offset)
}

#[cfg(test)]
mod tests;
