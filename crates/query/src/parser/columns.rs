//! The columns after `SELECT`. Their paths are resolved when the collection is known.

use super::{Parser, limit};
use crate::error::{Failure, Hint, Parse, Reason};
use crate::limits::LimitName;
use crate::plan::{Aggregate, Collection, Column, GroupValue, Output, Path, PathBuilder, unnamed_key};
use crate::token::{Symbol, Token};

/// What follows `SELECT`, as written.
pub(super) struct Selection {
    /// Offset of its first byte.
    offset: usize,
    /// The columns; `None` for `*`.
    items: Option<Vec<Item>>,
}

struct Item {
    value: ItemValue,
    alias: Option<String>,
}

enum ItemValue {
    Path(PathBuilder),
    Count,
    /// One of `SUM`, `AVG`, `MIN` and `MAX`.
    Aggregate(OfPath, PathBuilder),
}

/// Makes an aggregate of the values at a path.
type OfPath = fn(Path) -> Aggregate;

const OF_PATHS: [(&str, OfPath); 4] = [
    ("SUM", Aggregate::Sum),
    ("AVG", Aggregate::Average),
    ("MIN", Aggregate::Minimum),
    ("MAX", Aggregate::Maximum),
];

/// Returns the name of an aggregate that is written in any case.
pub(super) fn aggregate_name(word: &str) -> Option<&'static str> {
    let names = OF_PATHS.iter().map(|(name, _)| *name).chain(["COUNT"]);
    names.into_iter().find(|name| name.eq_ignore_ascii_case(word))
}

const COLUMN: &str = "*, a path or an aggregate";

impl Parser<'_> {
    /// Parses `*` or a list of columns.
    pub(super) fn selection(&mut self) -> Parse<Selection> {
        let offset = self.current.start;
        if self.take_symbol(Symbol::Star)? {
            return Ok(Selection { offset, items: None });
        }
        let mut items = Vec::new();
        loop {
            if items.len() == self.limits.columns {
                return Err(limit(LimitName::Columns, self.limits.columns, self.current.start));
            }
            items.push(self.item()?);
            if !self.take_symbol(Symbol::Comma)? {
                return Ok(Selection { offset, items: Some(items) });
            }
        }
    }

    fn item(&mut self) -> Parse<Item> {
        let is_path = self.next_is_symbol(Symbol::Comma) || self.next_is_symbol(Symbol::Dot);
        if self.is_keyword("DISTINCT") && !is_path {
            return Err(
                Failure::new(Reason::NotSupported("DISTINCT"), self.current.start).hint(Hint::UseGroupBy)
            );
        }
        let value = match self.current.token {
            Token::Word(name) if self.next_is_symbol(Symbol::OpenParenthesis) => self.aggregate(name)?,
            Token::Word(_) | Token::QuotedName(_) => ItemValue::Path(self.path_builder(COLUMN)?),
            _ => return Err(self.unexpected(COLUMN)),
        };
        let mut alias = None;
        if self.take_keyword("AS")? {
            let Token::Word(name) = self.current.token else { return Err(self.unexpected("a name")) };
            alias = Some(name.to_owned());
            self.advance()?;
        }
        Ok(Item { value, alias })
    }

    fn aggregate(&mut self, name: &str) -> Parse<ItemValue> {
        let Some(known) = aggregate_name(name) else {
            return Err(self.not_expected(COLUMN).hint(Hint::Aggregates));
        };
        self.advance()?;
        self.expect_symbol(Symbol::OpenParenthesis, "(")?;
        let Some((_, aggregate)) = OF_PATHS.iter().find(|(name, _)| *name == known) else {
            if self.is_symbol(Symbol::Star) || self.current.token == Token::Integer(1) {
                self.advance()?;
            }
            self.expect_symbol(Symbol::CloseParenthesis, ")")
                .map_err(|failure| failure.hint(Hint::CountRows))?;
            return Ok(ItemValue::Count);
        };
        let path = self.path_builder("a path")?;
        self.expect_symbol(Symbol::CloseParenthesis, ")")?;
        Ok(ItemValue::Aggregate(*aggregate, path))
    }

    /// Returns the output of a query with these columns, grouped by a path.
    pub(super) fn output(&self, selection: Selection, by: Option<Path>) -> Parse<Output> {
        if self.collection == Collection::Jobs && (selection.items.is_some() || by.is_some()) {
            return Err(Failure::new(Reason::JobColumns, selection.offset).hint(Hint::SelectAll));
        }
        match (selection.items, by) {
            (None, None) => Ok(Output::Documents),
            (None, Some(_)) => Err(Failure::new(Reason::AllWithGroupBy, selection.offset)),
            (Some(items), None) => self.ungrouped(items),
            (Some(items), Some(by)) => self.grouped(items, by),
        }
    }

    /// Columns of rows, or of the totals of all rows, but not both.
    fn ungrouped(&self, items: Vec<Item>) -> Parse<Output> {
        let (mut paths, mut totals) = (Vec::new(), Vec::new());
        let mut first_offset = 0;
        for (index, item) in items.into_iter().enumerate() {
            match self.resolve_item(item.value)? {
                (Resolved::Path(path), offset) => {
                    first_offset = if paths.is_empty() { offset } else { first_offset };
                    paths.push(Column { key: key(item.alias, path.key(), index), value: path });
                }
                (Resolved::Aggregate(aggregate), _) => {
                    totals.push(Column { key: key(item.alias, None, index), value: aggregate });
                }
            }
        }
        match paths.first() {
            Some(path) if !totals.is_empty() => Err(not_grouped(&path.value, first_offset)),
            Some(_) => Ok(Output::Columns(paths)),
            None => Ok(Output::Totals(totals)),
        }
    }

    /// Columns of groups.
    fn grouped(&self, items: Vec<Item>, by: Path) -> Parse<Output> {
        let mut columns = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            columns.push(match self.resolve_item(item.value)? {
                (Resolved::Path(path), _) if path == by => {
                    Column { key: key(item.alias, path.key(), index), value: GroupValue::Key }
                }
                (Resolved::Path(path), offset) => return Err(not_grouped(&path, offset)),
                (Resolved::Aggregate(aggregate), _) => {
                    Column { key: key(item.alias, None, index), value: GroupValue::Aggregate(aggregate) }
                }
            });
        }
        Ok(Output::Groups { by, columns })
    }

    /// Returns the value of a column, and its offset.
    fn resolve_item(&self, value: ItemValue) -> Parse<(Resolved, usize)> {
        match value {
            ItemValue::Count => Ok((Resolved::Aggregate(Aggregate::Count), 0)),
            ItemValue::Aggregate(of, path) => {
                let offset = path.offset;
                Ok((Resolved::Aggregate(of(self.resolve(path)?)), offset))
            }
            ItemValue::Path(path) => {
                let offset = path.offset;
                Ok((Resolved::Path(self.resolve(path)?), offset))
            }
        }
    }
}

/// A column whose path is resolved.
enum Resolved {
    Path(Path),
    Aggregate(Aggregate),
}

fn key(alias: Option<String>, of_path: Option<&str>, index: usize) -> String {
    alias.or_else(|| of_path.map(str::to_owned)).unwrap_or_else(|| unnamed_key(index))
}

fn not_grouped(path: &Path, offset: usize) -> Box<Failure> {
    Failure::new(Reason::NotGrouped(path.to_string()), offset)
}
