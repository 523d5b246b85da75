//! Comparisons and `IN`.

use super::Parser;
use super::expression::{Expression, Node};
use crate::error::{Failure, Hint, Parse, Reason};
use crate::plan::{Comparison, Condition, Literal, Literals, Operand, Root};
use crate::precedence::Precedence;
use crate::token::Symbol;

/// An older name of [`JOB_TYPE`], which Azure's documents used.
const OLD_JOB_TYPE: &str = "scheduleTwinUpdate";
const JOB_TYPE: &str = "scheduleUpdateTwin";

impl Parser<'_> {
    /// Parses the rest of `left = right`.
    pub(super) fn comparison(&mut self, left: Node, operator: Comparison) -> Parse<Node> {
        self.advance()?;
        let right = self.expression(Precedence::Add)?;
        let height = left.height.max(right.height);
        let (mut left, mut right) = (left.into_operand(), right.into_operand());
        match (&mut left, &mut right) {
            (path, Operand::Literal(literal)) | (Operand::Literal(literal), path) if is_job_type(path) => {
                rename_job_type(literal);
            }
            _ => {}
        }
        Ok(Node { value: Expression::Condition(Condition::Compare { operator, left, right }), height })
    }

    /// Parses the list of `value IN […]`; the current token is that before the list.
    pub(super) fn membership(&mut self, value: Node) -> Parse<Node> {
        self.advance()?;
        if self.is_symbol(Symbol::OpenParenthesis) {
            let reason = Reason::NotSupported("a list in parentheses");
            return Err(Failure::new(reason, self.current.start).hint(Hint::SquareBrackets));
        }
        let mut list = self.list()?;
        let height = value.height;
        let value = value.into_operand();
        if is_job_type(&value) {
            list.iter_mut().for_each(rename_job_type);
        }
        let condition = Condition::In { value, list: Literals::new(list) };
        Ok(Node { value: Expression::Condition(condition), height })
    }
}

fn is_job_type(operand: &Operand) -> bool {
    matches!(operand, Operand::Path(path) if path.root() == Some(Root::JobType) && path.members().is_empty())
}

fn rename_job_type(literal: &mut Literal) {
    if let Literal::String(text) = literal
        && text == OLD_JOB_TYPE
    {
        JOB_TYPE.clone_into(text);
    }
}
