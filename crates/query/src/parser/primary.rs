//! Constants, lists, paths and parentheses.

use super::expression::Node;
use super::{Parser, limit};
use crate::error::{Failure, Hint, Parse, Reason};
use crate::limits::LimitName;
use crate::plan::{Literal, Literals, Number, Operand};
use crate::precedence::Precedence;
use crate::token::{Symbol, Token};

impl Parser<'_> {
    /// Parses a constant, list, path, call, or an expression in parentheses.
    pub(super) fn primary(&mut self) -> Parse<Node> {
        if self.is_symbol(Symbol::OpenBracket) {
            return Ok(Node::operand(Operand::List(Literals::new(self.list()?))));
        }
        if self.is_symbol(Symbol::OpenParenthesis) {
            return self.parentheses();
        }
        if let Some(constant) = self.constant()? {
            return Ok(Node::operand(constant.map_or(Operand::Undefined, Operand::Literal)));
        }
        match self.current.token {
            Token::Word(name) if self.next_is_symbol(Symbol::OpenParenthesis) => self.call(name),
            _ => {
                let path = self.path_builder("a value")?;
                Ok(Node::operand(Operand::Path(self.resolve(path)?)))
            }
        }
    }

    fn parentheses(&mut self) -> Parse<Node> {
        self.advance()?;
        if self.is_keyword("SELECT") {
            return Err(Failure::new(Reason::NotSupported("a sub-select"), self.current.start));
        }
        let mut node = self.nested(|parser| parser.expression(Precedence::Or))?;
        self.expect_symbol(Symbol::CloseParenthesis, "an operator or )")?;
        node.height += 1;
        Ok(node)
    }

    /// Parses a constant, if the current token begins one; `undefined` is `Some(None)`.
    fn constant(&mut self) -> Parse<Option<Option<Literal>>> {
        let constant = match &self.current.token {
            Token::Integer(integer) => Some(Literal::Number((*integer).into())),
            Token::Float(float) => Some(Literal::Number(Number::Float(*float))),
            Token::Text(text) => Some(Literal::String(text.clone().into_owned())),
            _ if self.is_keyword("null") => Some(Literal::Null),
            _ if self.is_keyword("true") => Some(Literal::Bool(true)),
            _ if self.is_keyword("false") => Some(Literal::Bool(false)),
            _ if self.is_keyword("undefined") => None,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some(constant))
    }

    /// Parses a list of constants in square brackets. `undefined` is left out: it equals nothing.
    pub(super) fn list(&mut self) -> Parse<Vec<Literal>> {
        self.expect_symbol(Symbol::OpenBracket, "a list in square brackets")?;
        let mut elements = Vec::new();
        for count in 0.. {
            if count == self.limits.list_elements {
                return Err(limit(LimitName::ListElements, self.limits.list_elements, self.current.start));
            }
            elements.extend(self.element()?);
            if !self.take_symbol(Symbol::Comma)? {
                break;
            }
        }
        self.expect_symbol(Symbol::CloseBracket, ", or ]")?;
        Ok(elements)
    }

    /// Parses an element of a list.
    fn element(&mut self) -> Parse<Option<Literal>> {
        if self.take_symbol(Symbol::Minus)? {
            let number = self.negative_number().ok_or_else(|| self.unexpected("a number"))?;
            self.advance()?;
            return Ok(Some(Literal::Number(number)));
        }
        let constant = self.constant()?;
        constant.ok_or_else(|| self.unexpected("a constant").hint(Hint::ConstantsInLists))
    }
}
