//! Numbers that compare exactly.

use std::cmp::Ordering;

/// A finite number. Integers of 64 bits stay exact; all other numbers are doubles. Comparison is by value: `1 = 1.0`,
/// `-0 = 0`, and 2^53 + 1 differs from 2^53.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// An integer.
    Integer(i64),
    /// Any other number; never infinite and never NaN.
    Float(f64),
}

/// 2^63: all doubles below it and not below its negative truncate to an `i64`.
const INTEGERS_END: f64 = 9_223_372_036_854_775_808.0;
/// 2^53: below it, a double without fraction is exactly one integer.
const EXACT_INTEGERS_END: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// Returns a finite double as a number; `None` for infinity and NaN.
    #[must_use]
    pub fn from_f64(float: f64) -> Option<Self> {
        float.is_finite().then_some(Self::Float(float))
    }

    /// Returns the number of a JSON value. An unsigned integer beyond `i64` becomes the nearest double.
    #[must_use]
    pub fn from_json(number: &serde_json::Number) -> Option<Self> {
        number.as_i64().map(Self::Integer).or_else(|| Self::from_f64(number.as_f64()?))
    }

    /// Returns the nearest double.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        match self {
            // Rounding is intended.
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }

    /// Returns the number as JSON.
    #[must_use]
    pub fn to_json(self) -> serde_json::Value {
        match self {
            Self::Integer(integer) => integer.into(),
            Self::Float(float) => float.into(),
        }
    }

    /// Returns the same number as integer, if it is a double without fraction below 2^53. Results of aggregates have this
    /// form: 2 and not `2.0`.
    #[must_use]
    pub fn normalized(self) -> Self {
        match self {
            Self::Float(float) if float.fract() == 0.0 && float.abs() < EXACT_INTEGERS_END => {
                Self::Integer(float as i64)
            }
            other => other,
        }
    }

    /// Returns `-self`.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Integer(integer) => {
                integer.checked_neg().map_or(Self::Float(-(integer as f64)), Self::Integer)
            }
            Self::Float(float) => Self::Float(-float),
        }
    }
}

/// An unsigned integer beyond `i64` becomes the nearest double.
impl From<u64> for Number {
    fn from(integer: u64) -> Self {
        i64::try_from(integer).map_or(Self::Float(integer as f64), Self::Integer)
    }
}

fn compare_integer_with_float(integer: i64, float: f64) -> Ordering {
    if float >= INTEGERS_END {
        return Ordering::Less;
    }
    if float < -INTEGERS_END {
        return Ordering::Greater;
    }
    let whole = float.trunc();
    integer.cmp(&(whole as i64)).then_with(|| whole.total_cmp(&float))
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(&right),
            (Self::Integer(left), Self::Float(right)) => compare_integer_with_float(left, right),
            (Self::Float(left), Self::Integer(right)) => compare_integer_with_float(right, left).reverse(),
            // Both are finite.
            (Self::Float(left), Self::Float(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

#[cfg(test)]
mod tests {
    use super::Number::{Float, Integer};
    use super::*;

    #[test]
    fn integers_and_doubles_compare_by_value() {
        assert_eq!(Integer(1), Float(1.0));
        assert_eq!(Float(-0.0), Integer(0));
        assert_eq!(Float(-0.0), Float(0.0));
        assert!(Integer(1) < Float(1.5) && Float(-1.5) < Integer(-1) && Integer(-2) < Float(-1.5));
        assert!(Float(1e300) > Integer(i64::MAX) && Float(-1e300) < Integer(i64::MIN));
    }

    #[test]
    fn integers_beyond_the_precision_of_doubles_differ() {
        let (even, odd) = (1 << 53, (1 << 53) + 1);
        assert_eq!(odd as f64, even as f64);
        assert!(Integer(odd) > Integer(even));
        assert!(Integer(odd) > Float(even as f64));
        assert!(Integer(i64::MAX) < Float(INTEGERS_END));
        assert_eq!(Integer(i64::MIN), Float(-INTEGERS_END));
    }

    #[test]
    fn results_without_fraction_are_written_as_integers() {
        for (number, text) in [
            (Float(4.0), "4"),
            (Float(-0.0), "0"),
            (Float(0.5), "0.5"),
            (Float(1e300), "1e+300"),
            (Integer(i64::MIN), "-9223372036854775808"),
        ] {
            assert_eq!(number.normalized().to_json().to_string(), text);
        }
    }

    #[test]
    fn the_negative_of_the_least_integer_is_a_double() {
        assert_eq!(Integer(i64::MIN).negated(), Float(INTEGERS_END));
        assert_eq!(Integer(5).negated(), Integer(-5));
        assert_eq!(Number::from_json(&u64::MAX.into()), Some(Float(2f64.powi(64))));
    }
}
