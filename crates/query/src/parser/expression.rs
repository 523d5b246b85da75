//! Expressions, by precedence (Pratt).

use super::Parser;
use crate::error::{Hint, Parse};
use crate::plan::{ArithmeticOperator, Comparison, Condition, Literal, Number, Operand};
use crate::precedence::Precedence;
use crate::token::{Symbol, Token};

/// A parsed expression.
pub(super) struct Node {
    pub(super) value: Expression,
    /// Levels of nesting in it, counted as for the limit.
    pub(super) height: usize,
}

/// A condition or an operand. Either becomes the other where the language needs it.
pub(super) enum Expression {
    Condition(Condition),
    Operand(Operand),
}

impl Node {
    pub(super) fn operand(operand: Operand) -> Self {
        Self { value: Expression::Operand(operand), height: 0 }
    }

    pub(super) fn into_condition(self) -> Condition {
        match self.value {
            Expression::Condition(condition) => condition,
            Expression::Operand(operand) => operand.into(),
        }
    }

    pub(super) fn into_operand(self) -> Operand {
        match self.value {
            Expression::Condition(condition) => condition.into(),
            Expression::Operand(operand) => operand,
        }
    }
}

/// An operator between two expressions, or between an expression and a list.
enum Infix {
    Or,
    And,
    Compare(Comparison),
    In,
    /// `NOT IN` or `NIN`.
    NotIn,
    Arithmetic(ArithmeticOperator),
}

impl Infix {
    fn precedence(&self) -> Precedence {
        match self {
            Self::Or => Precedence::Or,
            Self::And => Precedence::And,
            Self::Compare(_) | Self::In | Self::NotIn => Precedence::Compare,
            Self::Arithmetic(operator) => operator.precedence(),
        }
    }
}

impl Parser<'_> {
    /// Parses a condition of any precedence.
    pub(super) fn condition(&mut self) -> Parse<Condition> {
        Ok(self.expression(Precedence::Or)?.into_condition())
    }

    /// Parses an expression of operators that bind at least as strongly as `least`.
    pub(super) fn expression(&mut self, least: Precedence) -> Parse<Node> {
        // The strongest operator that can follow: after a weaker one, a stronger one would need parentheses.
        let (mut left, mut most) = self.prefix(least)?;
        while let Some(infix) = self.infix() {
            let precedence = infix.precedence();
            if precedence < least || precedence > most {
                break;
            }
            left = match infix {
                Infix::Or => self.sequence(left, "OR", precedence, Condition::Any)?,
                Infix::And => self.sequence(left, "AND", precedence, Condition::All)?,
                Infix::Compare(operator) => self.comparison(left, operator)?,
                Infix::In => self.membership(left)?,
                Infix::NotIn => {
                    self.take_keyword("NOT")?;
                    let node = self.membership(left)?;
                    let height = node.height;
                    let condition = Condition::Not(Box::new(node.into_condition()));
                    Node { value: Expression::Condition(condition), height }
                }
                Infix::Arithmetic(operator) => self.arithmetic(left, operator)?,
            };
            // Comparisons cannot be chained; all other operators can.
            most = if precedence == Precedence::Compare { Precedence::And } else { precedence };
        }
        Ok(left)
    }

    fn infix(&self) -> Option<Infix> {
        let infix = match &self.current.token {
            Token::Word(_) if self.is_keyword("OR") => Infix::Or,
            Token::Word(_) if self.is_keyword("AND") => Infix::And,
            Token::Word(_) if self.is_keyword("IN") => Infix::In,
            Token::Word(_) if self.is_keyword("NIN") || self.is_not_in() => Infix::NotIn,
            Token::Symbol(symbol) => match symbol {
                Symbol::Equal => Infix::Compare(Comparison::Equal),
                Symbol::NotEqual => Infix::Compare(Comparison::NotEqual),
                Symbol::Less => Infix::Compare(Comparison::Less),
                Symbol::LessOrEqual => Infix::Compare(Comparison::LessOrEqual),
                Symbol::Greater => Infix::Compare(Comparison::Greater),
                Symbol::GreaterOrEqual => Infix::Compare(Comparison::GreaterOrEqual),
                Symbol::Plus => Infix::Arithmetic(ArithmeticOperator::Add),
                Symbol::Minus => Infix::Arithmetic(ArithmeticOperator::Subtract),
                Symbol::Star => Infix::Arithmetic(ArithmeticOperator::Multiply),
                Symbol::Slash => Infix::Arithmetic(ArithmeticOperator::Divide),
                Symbol::Percent => Infix::Arithmetic(ArithmeticOperator::Remainder),
                _ => return None,
            },
            _ => return None,
        };
        Some(infix)
    }

    fn is_not_in(&self) -> bool {
        let in_follows = self.next.as_ref().is_ok_and(|next| super::is_keyword(&next.token, "IN"));
        in_follows && self.is_keyword("NOT")
    }

    /// Parses what begins an expression. Returns the strongest precedence of an operator that may follow.
    fn prefix(&mut self, least: Precedence) -> Parse<(Node, Precedence)> {
        if self.is_keyword("NOT") {
            if least > Precedence::Not {
                return Err(self.unexpected("a value").hint(Hint::ParenthesesAroundNot));
            }
            self.advance()?;
            let inner = self.nested(|parser| parser.expression(Precedence::Not))?;
            let height = inner.height + 1;
            let condition = Condition::Not(Box::new(inner.into_condition()));
            return Ok((Node { value: Expression::Condition(condition), height }, Precedence::And));
        }
        let node = if self.is_symbol(Symbol::Minus) { self.negative()? } else { self.primary()? };
        Ok((node, Precedence::Primary))
    }

    /// Parses a minus and its operand. The minus before a number belongs to the constant.
    fn negative(&mut self) -> Parse<Node> {
        self.advance()?;
        if let Some(number) = self.negative_number() {
            self.advance()?;
            return Ok(Node::operand(Operand::Literal(Literal::Number(number))));
        }
        let inner = self.nested(|parser| parser.expression(Precedence::Negate))?;
        let height = inner.height + 1;
        Ok(Node { value: Expression::Operand(inner.into_operand().negated()), height })
    }

    /// Returns the negative of the number that is the current token.
    pub(super) fn negative_number(&self) -> Option<Number> {
        match self.current.token {
            Token::Integer(integer) => {
                let exact = 0_i64.checked_sub_unsigned(integer).map(Number::Integer);
                Some(exact.unwrap_or_else(|| Number::from(integer).negated()))
            }
            Token::Float(float) => Some(Number::Float(-float)),
            _ => None,
        }
    }

    /// Parses the other parts of `left AND …` or `left OR …`.
    fn sequence(
        &mut self,
        left: Node,
        keyword: &'static str,
        precedence: Precedence,
        combine: fn(Vec<Condition>) -> Condition,
    ) -> Parse<Node> {
        let mut height = left.height;
        let mut parts = vec![left.into_condition()];
        while self.take_keyword(keyword)? {
            let part = self.expression(precedence.next_higher())?;
            height = height.max(part.height);
            parts.push(part.into_condition());
        }
        Ok(Node { value: Expression::Condition(combine(parts)), height })
    }

    fn arithmetic(&mut self, left: Node, operator: ArithmeticOperator) -> Parse<Node> {
        self.advance()?;
        let right = self.expression(operator.precedence().next_higher())?;
        let height = left.height.max(right.height) + 1;
        self.check_depth(height)?;
        let operand = Operand::Arithmetic {
            operator,
            left: Box::new(left.into_operand()),
            right: Box::new(right.into_operand()),
        };
        Ok(Node { value: Expression::Operand(operand), height })
    }
}
