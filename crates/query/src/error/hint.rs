//! Advice in errors.

/// Advice to the author of a text that is not a query. Its `Display` is one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Hint {
    /// A known word that is spelled similarly.
    #[error("Did you mean {0}?")]
    DidYouMean(&'static str),
    /// A word where a string was probably meant.
    #[error("String literals need quotes: '{0}'.")]
    QuoteString(String),
    /// Typographic quotes or backticks.
    #[error("String literals need straight quotes: 'text'.")]
    StraightQuotes,
    /// The escapes of string literals.
    #[error(r#"Valid escapes are \', \", \\ and \u with four hexadecimal digits."#)]
    Escapes,
    /// A name that is not made of letters, digits, `_`, `$` and `-`.
    #[error(
        "Other names are written in double brackets after a dot: .[[{0}]], and elements of arrays as [0]."
    )]
    QuoteName(String),
    /// `IN (…)`.
    #[error("IN takes a list in square brackets: IN ['a', 'b'].")]
    SquareBrackets,
    /// Lists contain constants only.
    #[error("A list contains only constants: strings, numbers, true, false, null.")]
    ConstantsInLists,
    /// `==`.
    #[error("Equality is written with one =.")]
    SingleEqual,
    /// `&&`.
    #[error("Combine conditions with AND.")]
    UseAnd,
    /// `||`.
    #[error("Combine conditions with OR; strings cannot be concatenated.")]
    UseOr,
    /// `!`.
    #[error("Negate a condition with NOT, or compare with !=.")]
    UseNot,
    /// `NOT` after an operator that binds tighter.
    #[error("NOT binds weaker than this operator: put NOT and its condition in parentheses.")]
    ParenthesesAroundNot,
    /// `1 < 2 < 3`.
    #[error("Comparisons cannot be chained: combine two of them with AND.")]
    ChainedComparison,
    /// `a- b`.
    #[error("A hyphen belongs to the name before it: put a blank before a minus sign.")]
    BlankBeforeMinus,
    /// `IS NULL`.
    #[error("Use IS_NULL(path), IS_DEFINED(path) or = null.")]
    UseIsNull,
    /// `LIKE`.
    #[error("Use STARTSWITH, ENDSWITH or CONTAINS.")]
    UseStartsWith,
    /// `BETWEEN`.
    #[error("Use >= and <= with AND.")]
    UseComparisons,
    /// `ORDER BY`.
    #[error("Rows are ordered by their ids.")]
    FixedOrder,
    /// `LIMIT`.
    #[error("Use SELECT TOP n.")]
    UseTop,
    /// `DISTINCT`.
    #[error("Use GROUP BY.")]
    UseGroupBy,
    /// `HAVING`.
    #[error("Filter the groups in the application.")]
    FilterGroups,
    /// An alias after the collection.
    #[error("A collection has no alias: write paths from their first member, such as tags.building.")]
    NoAlias,
    /// Text after `;`.
    #[error("Send one query at a time.")]
    OneQuery,
    /// A complete query where a condition is expected.
    #[error("A condition is what follows WHERE; only FROM devices.modules WHERE may precede it.")]
    ConditionOnly,
    /// A function that is not an aggregate after `SELECT`.
    #[error("The aggregates are COUNT, SUM, AVG, MIN and MAX; other functions are allowed after WHERE.")]
    Aggregates,
    /// `COUNT(path)`.
    #[error("COUNT() counts rows; combine it with IS_DEFINED(path) after WHERE.")]
    CountRows,
    /// Several paths after `GROUP BY`.
    #[error("GROUP BY takes one path.")]
    OneGroup,
    /// `SELECT *` in queries on jobs.
    #[error("Use SELECT * FROM devices.jobs, without GROUP BY.")]
    SelectAll,
    /// Conditions on twins in queries on jobs.
    #[error("Query devices or devices.modules for twins.")]
    QueryTwins,
}
