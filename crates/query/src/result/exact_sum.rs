//! The sum of doubles, rounded once at the end: it does not depend on their order, as adding one after the other does.

/// 2^960. Larger doubles are summed apart, so that a sum exceeds the range of a double only if its result does.
const LARGE: f64 = f64::from_bits((1023 + 960) << 52);
/// 2^64.
const SCALE: f64 = 18_446_744_073_709_551_616.0;

/// A sum of finite doubles.
#[derive(Debug, Default, Clone)]
pub(super) struct ExactSum {
    small: Partials,
    /// Large doubles, divided by [`SCALE`].
    large: Partials,
}

impl ExactSum {
    pub(super) fn add(&mut self, value: f64) {
        if value.abs() < LARGE { self.small.add(value) } else { self.large.add(value / SCALE) }
    }

    /// Returns the memory that the sum has allocated, in bytes.
    pub(super) fn allocated(&self) -> usize {
        (self.small.0.capacity() + self.large.0.capacity()) * size_of::<f64>()
    }

    /// Returns the sum; infinite if it is beyond the range of a double.
    pub(super) fn total(&self) -> f64 {
        self.large.total() * SCALE + self.small.total()
    }
}

/// A sum as doubles whose digits do not overlap, by increasing magnitude (Shewchuk, "Adaptive precision floating-point
/// arithmetic", 1997).
#[derive(Debug, Default, Clone)]
struct Partials(Vec<f64>);

/// Returns the rounded sum and the error of the rounding.
fn two_sum(left: f64, right: f64) -> (f64, f64) {
    let (large, small) = if left.abs() < right.abs() { (right, left) } else { (left, right) };
    let sum = large + small;
    (sum, small - (sum - large))
}

impl Partials {
    fn add(&mut self, value: f64) {
        let mut rest = value;
        self.0.retain_mut(|partial| {
            let (sum, error) = two_sum(rest, *partial);
            (rest, *partial) = (sum, error);
            error != 0.0
        });
        self.0.push(rest);
    }

    /// Returns the double that is nearest to the sum.
    fn total(&self) -> f64 {
        let mut partials = self.0.iter().rev().copied();
        let mut total = partials.next().unwrap_or(0.0);
        let mut error = 0.0;
        for partial in partials.by_ref() {
            (total, error) = two_sum(total, partial);
            if error != 0.0 {
                break;
            }
        }
        // The error may be exactly half of the last digit. The next partial decides in which direction to round.
        if partials.next().is_some_and(|next| (error < 0.0) == (next < 0.0) && error != 0.0 && next != 0.0) {
            let twice = error * 2.0;
            let rounded = total + twice;
            if rounded - total == twice {
                return rounded;
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.total()
    }

    #[test]
    fn digits_are_not_lost() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[1e308, 1e308, -1e308]), 1e308);
        assert_eq!(sum(&[1e308, 1e308]), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, 1.0, -f64::MAX]), 1.0);
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(mut values in prop::collection::vec(
            prop_oneof![prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL, -2.0..2.0_f64, -1e17..1e17_f64], 0..12
        )) {
            let forwards = sum(&values);
            values.reverse();
            prop_assert_eq!(forwards.to_bits(), sum(&values).to_bits());
            values.sort_by(f64::total_cmp);
            prop_assert_eq!(forwards.to_bits(), sum(&values).to_bits());
        }
    }
}
