//! Whole queries, and conditions without `SELECT`.

use super::Parser;
use crate::error::{Failure, Hint, Parse, Reason};
use crate::plan::{Collection, Filter, Path, Query};
use crate::token::{Symbol, Token};

impl Parser<'_> {
    /// Parses a query.
    pub(super) fn query(mut self) -> Parse<Query> {
        self.check_not_empty()?;
        self.expect_keyword("SELECT")?;
        let top = self.top()?;
        let selection = self.selection()?;
        self.expect_keyword("FROM")?;
        self.collection = self.collection()?;
        let mut following = "WHERE, GROUP BY or the end of the query";
        let mut condition = None;
        if self.take_keyword("WHERE")? {
            condition = Some(self.condition()?);
            following = "AND, OR, GROUP BY or the end of the query";
        }
        let mut by = None;
        if self.take_keyword("GROUP")? {
            self.expect_keyword("BY")?;
            by = Some(self.path()?);
            following = "the end of the query";
        }
        if self.take_symbol(Symbol::Semicolon)? {
            self.expect_end("the end of the query").map_err(|failure| failure.hint(Hint::OneQuery))?;
        }
        self.expect_end(following).map_err(|failure| match (&condition, &by) {
            (_, Some(_)) if self.is_symbol(Symbol::Comma) => failure.hint(Hint::OneGroup),
            (None, None) => failure.or_hint(Hint::NoAlias),
            _ => failure,
        })?;
        let output = self.output(selection, by)?;
        Ok(Query { filter: Filter { collection: self.collection, condition }, output, top })
    }

    /// Parses a condition, `*`, or `FROM … WHERE …`.
    pub(super) fn filter(mut self) -> Parse<Filter> {
        self.check_not_empty()?;
        if self.is_keyword("SELECT") || self.is_keyword("WHERE") {
            return Err(self.not_expected("a condition").hint(Hint::ConditionOnly));
        }
        if self.take_symbol(Symbol::Star)? {
            self.expect_end("the end of the condition")?;
            return Ok(Filter { collection: self.collection, condition: None });
        }
        if !self.take_keyword("FROM")? {
            return self.filter_condition();
        }
        self.collection = self.collection()?;
        if self.take_keyword("WHERE")? {
            return self.filter_condition();
        }
        self.expect_end("WHERE or the end of the condition")?;
        Ok(Filter { collection: self.collection, condition: None })
    }

    /// Parses a path and nothing else.
    pub(super) fn only_path(mut self) -> Parse<Path> {
        self.check_not_empty()?;
        let path = self.path()?;
        self.expect_end("the end of the path")?;
        Ok(path)
    }

    fn filter_condition(mut self) -> Parse<Filter> {
        let condition = self.condition()?;
        self.expect_end("AND, OR or the end of the condition")?;
        Ok(Filter { collection: self.collection, condition: Some(condition) })
    }

    fn check_not_empty(&self) -> Parse<()> {
        match self.current.token {
            Token::End => Err(Failure::new(Reason::Empty, self.current.start)),
            _ => Ok(()),
        }
    }

    /// Parses `TOP n`. Without a number, `TOP` is a path.
    fn top(&mut self) -> Parse<Option<u64>> {
        match &self.next {
            Ok(next) if self.is_keyword("TOP") && matches!(next.token, Token::Integer(_)) => {}
            _ => return Ok(None),
        }
        self.advance()?;
        match self.advance()?.token {
            Token::Integer(rows) => Ok(Some(rows)),
            _ => Ok(None),
        }
    }

    /// Parses the name of a collection.
    fn collection(&mut self) -> Parse<Collection> {
        const EXPECTED: &str = "devices, devices.modules or devices.jobs";
        if self.is_symbol(Symbol::OpenParenthesis) {
            return Err(Failure::new(Reason::NotSupported("a sub-select"), self.current.start));
        }
        if !self.take_keyword("devices")? {
            return Err(self.unexpected(EXPECTED));
        }
        if !self.take_symbol(Symbol::Dot)? {
            return Ok(Collection::Devices);
        }
        if self.take_keyword("modules")? {
            Ok(Collection::Modules)
        } else if self.take_keyword("jobs")? {
            Ok(Collection::Jobs)
        } else {
            Err(self.unexpected(EXPECTED))
        }
    }

    fn expect_end(&self, expected: &'static str) -> Parse<()> {
        if self.current.token == Token::End { Ok(()) } else { Err(self.unexpected(expected)) }
    }
}
