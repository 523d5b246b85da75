//! Points in time and their formats on the wire.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// The date format that HTTP senders must use (RFC 9110, 5.6.7).
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The form of the times in twins.
const FIXED_WIDTH: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");

impl Timestamp {
    /// Azure's "never": `0001-01-01T00:00:00Z`.
    pub const NEVER: Self = Self(-62_135_596_800_000);

    /// The earliest timestamp.
    pub const MIN: Self = Self(i64::MIN);

    /// Creates a timestamp from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Creates a timestamp from seconds since the Unix epoch; saturates.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the timestamp this many milliseconds later (earlier if negative); saturates.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    fn to_datetime(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Returns the form used in tracking ids: `MM/dd/yyyy HH:mm:ss`, UTC.
    #[must_use]
    pub fn to_tracking_id_format(self) -> String {
        let form = format_description!("[month]/[day]/[year] [hour]:[minute]:[second]");
        self.to_datetime().format(&form).unwrap_or_default()
    }

    /// Returns the form used in HTTP headers: `Sun, 06 Nov 1994 08:49:37 GMT`.
    #[must_use]
    pub fn to_http_date(self) -> String {
        self.to_datetime().format(HTTP_DATE).unwrap_or_default()
    }

    /// Returns the form used in twins: `2024-01-01T00:00:00.1230000Z`. All times have this form except [`Self::NEVER`],
    /// which is `0001-01-01T00:00:00Z`, so that the order of the texts is that of the times: queries compare texts.
    #[must_use]
    pub fn to_fixed_width(self) -> String {
        if self == Self::NEVER {
            return self.to_string();
        }
        self.to_datetime().format(FIXED_WIDTH).unwrap_or_default()
    }

    /// Serializes an optional time in the form used in twins. For the attribute `serialize_with`.
    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(crate) fn serialize_fixed_width<S: Serializer>(
        time: &Option<Self>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Self::to_fixed_width).serialize(serializer)
    }

    /// Parses the form used in HTTP headers; `None` if the text has another form.
    #[must_use]
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let moment = PrimitiveDateTime::parse(text, HTTP_DATE).ok()?.assume_utc();
        Some(Self::from_unix_seconds(moment.unix_timestamp()))
    }

    /// Parses RFC 3339; `None` if the text has another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339)
            // Azure writes some times without an offset; they are UTC.
            .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
            .ok()?;
        i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Self)
    }
}

/// In whole milliseconds; saturates.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => millis(before.duration()).saturating_neg(),
        })
    }
}

impl fmt::Display for Timestamp {
    /// Formats ISO 8601 in UTC, with milliseconds unless they are zero: `2024-01-01T00:00:00.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_datetime().format(&Rfc3339).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_times_are_converted_before_and_after_1970() {
        let millis = Duration::from_micros(1_500_900);
        assert_eq!(Timestamp::from(UNIX_EPOCH + millis), Timestamp(1500));
        assert_eq!(Timestamp::from(UNIX_EPOCH - millis), Timestamp(-1500));
    }

    #[test]
    fn the_times_of_twins_are_ordered_as_texts() {
        let times = [Timestamp::NEVER.0, -1, 0, 1, 999, 1000, 1_800_000_000_120, 1_800_000_001_000];
        let texts = times.map(|millis| Timestamp(millis).to_fixed_width());
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts[0], "0001-01-01T00:00:00Z");
        assert_eq!(texts[6], "2027-01-15T08:00:00.1200000Z");
        assert!(
            times.iter().zip(&texts).all(|(time, text)| Timestamp::parse(text) == Some(Timestamp(*time)))
        );
    }

    #[test]
    fn times_read_back_as_written() {
        for text in ["0001-01-01T00:00:00Z", "2024-01-01T00:00:00.123Z", "1970-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Timestamp::parse("0001-01-01T00:00:00"), Some(Timestamp::NEVER));
        assert_eq!(
            Timestamp::parse("2024-01-01T00:00:00.1234567+01:00").unwrap().to_string(),
            "2023-12-31T23:00:00.123Z"
        );
        assert_eq!(Timestamp::parse(""), None);
        let date = Timestamp::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.to_string(), "1994-11-06T08:49:37Z");
        assert_eq!(date.plus_millis(999).to_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(Timestamp::parse_http_date("1994-11-06T08:49:37Z"), None);
        assert_eq!(Timestamp::from_unix_seconds(0).to_tracking_id_format(), "01/01/1970 00:00:00");
    }
}
