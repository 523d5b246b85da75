//! Calls of functions.

use super::Parser;
use super::columns::aggregate_name;
use super::expression::{Expression, Node};
use super::suggestion::closest;
use crate::error::{Failure, Hint, Parse, Reason};
use crate::function::{Function, routes_only};
use crate::plan::{Condition, Operand};
use crate::precedence::Precedence;
use crate::token::Symbol;

impl Parser<'_> {
    /// Parses a call; the current token is the name.
    pub(super) fn call(&mut self, name: &str) -> Parse<Node> {
        let offset = self.current.start;
        let function = Function::named(name, self.dialect).ok_or_else(|| self.unknown_function(name))?;
        self.advance()?;
        self.advance()?;
        let wrong_count = || {
            let (function, expected) = (function.name(), function.arguments());
            Failure::new(Reason::Arguments { function, expected }, offset)
        };
        let mut height = 0;
        let mut arguments = [Operand::Undefined, Operand::Undefined];
        for (index, argument) in arguments.iter_mut().take(function.arguments()).enumerate() {
            if self.is_symbol(Symbol::CloseParenthesis) || (index > 0 && !self.take_symbol(Symbol::Comma)?) {
                return Err(self.end_of_argument(wrong_count()));
            }
            let node = self.nested(|parser| parser.expression(Precedence::Or))?;
            height = height.max(node.height + 1);
            *argument = node.into_operand();
        }
        if !self.take_symbol(Symbol::CloseParenthesis)? {
            return Err(self.end_of_argument(wrong_count()));
        }
        let [first, second] = arguments;
        let condition = match (function, first) {
            (Function::IsDefined, operand) => Condition::IsDefined(operand),
            (Function::HasType(value_type), operand) => Condition::HasType(value_type, operand),
            (Function::Text(test), text) => Condition::Text { test, text, part: second },
            (Function::ArrayContains, Operand::List(list)) => Condition::In { value: second, list },
            (Function::ArrayContains, array) => Condition::ArrayContains { array, value: second },
        };
        Ok(Node { value: Expression::Condition(condition), height })
    }

    /// Returns `wrong_count` if an argument ends at the current token, else that the token is unexpected.
    fn end_of_argument(&self, wrong_count: Box<Failure>) -> Box<Failure> {
        if self.is_symbol(Symbol::Comma) || self.is_symbol(Symbol::CloseParenthesis) {
            wrong_count
        } else {
            self.unexpected("an operator, a comma or )")
        }
    }

    fn unknown_function(&self, name: &str) -> Box<Failure> {
        let offset = self.current.start;
        if let Some(name) = aggregate_name(name) {
            return Failure::new(Reason::AggregateInCondition(name), offset);
        }
        if let Some((name, same)) = routes_only(name) {
            return Failure::new(Reason::RoutesOnly(name), offset).hint(same.map(Hint::DidYouMean));
        }
        let known = Function::of(self.dialect).iter().map(|function| function.name());
        let name_start = name.chars().take(32).collect();
        Failure::new(Reason::UnknownFunction(name_start), offset)
            .hint(closest(name, known).map(Hint::DidYouMean))
    }
}
