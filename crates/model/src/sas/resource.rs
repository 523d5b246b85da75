//! The resource of a token (`sr`), in the forms that clients send.
//!
//! Clients percent-encode `sr` zero to three times: C and the Edge identity service not at all, Java the ids, Python and
//! Node the whole, .NET the ids and then the whole, Go's module client everything once more. Before comparison, `sr` is
//! split at its slashes; if it has none, it is decoded first. What an id segment means then depends on the key:
//!
//! - A token that is signed with the identity's own key proves the identity by itself. `sr` is only compared with the
//!   identity that the caller claims, in every encoding, ignoring case (the Edge identity service lower-cases `sr`). A
//!   prefix of the identity suffices (Go's device client signs the host alone): it grants no more than the key does.
//! - A token that is signed with the key of a policy covers what its `sr` says. There `sr` has exactly one meaning.
//!
//! Readers of events sign URIs with the scheme `sb`. Such a token covers events only, even if it names the host alone: on
//! Azure the Event Hubs-compatible endpoint is another host.

use crate::event_hub::event_hub_path;
use crate::identity::{DeviceId, IdentityId, ModuleId};
use crate::percent;

/// How often a text without a slash is decoded: Go's module client encodes its slashes twice.
const MAX_STRUCTURE_DECODINGS: usize = 2;
/// How often an id segment may still be encoded: Edge encodes ids three times and the whole once.
const MAX_ID_DECODINGS: usize = 2;
/// Segments of the longest resource that means anything, that of a partition:
/// `messages/events/consumergroups/{group}/partitions/{partition}`. A caller is kept with its path.
const MAX_SEGMENTS: usize = 6;
/// What readers of events write before the host.
const EVENT_SCHEMES: [&str; 2] = ["sb://", "amqps://"];
/// Some tools also sign the end of the MQTT user name.
const API_VERSION: &str = "api-version=";

/// The resource that a token is valid for: a host, and path segments below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    host: String,
    segments: Vec<String>,
    /// Whether `sr` was split before it was decoded.
    is_raw: bool,
    /// Whether `sr` has the scheme of a reader of events.
    is_event_uri: bool,
}

impl Resource {
    /// Parses the literal text of `sr`. `None` if it has no host, or more than [`MAX_SEGMENTS`] segments.
    pub(super) fn parse(literal: &str) -> Option<Self> {
        let mut text = literal.to_owned();
        let mut decodings = 0;
        while decodings < MAX_STRUCTURE_DECODINGS && !text.contains('/') {
            text = percent::decode_lossy(&text);
            decodings += 1;
        }
        let scheme = EVENT_SCHEMES
            .into_iter()
            .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        let mut parts = text.get(scheme.map_or(0, str::len)..).unwrap_or_default().split('/');
        let host = parts.next().filter(|host| !host.is_empty())?;
        // A port, if any, is not part of the hub's name.
        let host = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(host, _)| host);
        // One more for the slash at the end, and one to see that there are too many.
        let mut segments: Vec<String> = parts.take(MAX_SEGMENTS + 2).map(str::to_owned).collect();
        if segments.last().is_some_and(String::is_empty) {
            segments.pop();
        }
        if segments.len() > MAX_SEGMENTS {
            return None;
        }
        let is_event_uri = scheme.is_some();
        Some(Self { host: host.to_ascii_lowercase(), segments, is_raw: decodings == 0, is_event_uri })
    }

    /// Returns whether the resource is on the hub with this host name, ignoring case, and not only for reading events.
    #[must_use]
    pub fn is_on_host(&self, host: &str) -> bool {
        !self.is_event_uri && self.host.eq_ignore_ascii_case(host)
    }

    /// Returns whether the resource is the whole hub.
    #[must_use]
    pub fn is_hub(&self) -> bool {
        !self.is_event_uri && self.segments.is_empty()
    }

    /// Returns the path of the resource below the Event Hubs-compatible endpoint of the hub `host`: segments in lower case,
    /// none for the whole endpoint. `None` if the resource is something else.
    #[must_use]
    pub fn event_hub_path(&self, host: &str) -> Option<Vec<String>> {
        if !self.host.eq_ignore_ascii_case(host) {
            return None;
        }
        let segments: Vec<String> =
            self.exact_segments().iter().map(|segment| segment.to_ascii_lowercase()).collect();
        if segments.is_empty() {
            return self.is_event_uri.then_some(segments);
        }
        event_hub_path(host, segments.iter().map(String::as_str))
            .map(|path| path.map(str::to_owned).collect())
    }

    /// Returns the device or module, if the resource is one.
    #[must_use]
    pub fn identity(&self) -> Option<IdentityId> {
        let segments = self.exact_segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match *segments {
            ["devices", device] => DeviceId::new(device).ok().map(IdentityId::from),
            ["devices", device, "modules", module] => {
                Some(IdentityId::module(&DeviceId::new(device).ok()?, &ModuleId::new(module).ok()?))
            }
            _ => None,
        }
    }

    /// Returns whether a token of a policy covers `id`: the resource is the identity or above it, compared by segments.
    /// `/devices` covers `/devices/a`, and `/devices/a` does not cover `/devices/ab`.
    #[must_use]
    pub fn covers(&self, id: &IdentityId) -> bool {
        let path = id.resource_path();
        let mut path = path.split('/').skip(1);
        self.exact_segments().iter().all(|segment| path.next() == Some(segment))
    }

    /// Returns whether a token that is signed with the own key of `id` is for `id`: the resource is the identity or
    /// above it, in any encoding.
    #[must_use]
    pub fn matches_own_key_of(&self, id: &IdentityId) -> bool {
        let segments = self.segments.as_slice();
        // Go's device client over HTTPS leaves out `devices`.
        if let [only] = segments
            && is_id(only, id.device_str())
        {
            return true;
        }
        let path = id.resource_path();
        let path: Vec<&str> = path.split('/').skip(1).collect();
        let segments = match segments {
            [complete @ .., last] if complete.len() == path.len() && last.starts_with(API_VERSION) => {
                complete
            }
            other => other,
        };
        let matches = |(index, (segment, expected)): (usize, (&String, &&str))| match index % 2 {
            0 => segment.eq_ignore_ascii_case(expected),
            _ => is_id(segment, expected),
        };
        segments.len() <= path.len() && segments.iter().zip(&path).enumerate().all(matches)
    }

    /// Returns the segments with one meaning only: decoded once altogether, without an `api-version=` below a complete
    /// identity.
    fn exact_segments(&self) -> Vec<String> {
        let decode = |segment: &String| match self.is_raw {
            true => percent::decode_lossy(segment),
            false => segment.clone(),
        };
        let mut segments: Vec<String> = self.segments.iter().map(decode).collect();
        let has_version = match segments.as_slice() {
            [devices, _, last] => devices == "devices" && last.starts_with(API_VERSION),
            [devices, _, modules, _, last] => {
                devices == "devices" && modules == "modules" && last.starts_with(API_VERSION)
            }
            _ => false,
        };
        if has_version {
            segments.pop();
        }
        segments
    }
}

/// Returns whether the segment is the id, encoded up to [`MAX_ID_DECODINGS`] times, ignoring case.
fn is_id(segment: &str, id: &str) -> bool {
    let mut text = segment.to_owned();
    for _ in 0..MAX_ID_DECODINGS {
        if text.eq_ignore_ascii_case(id) {
            return true;
        }
        text = percent::decode_lossy(&text);
    }
    text.eq_ignore_ascii_case(id)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(text: &str) -> Resource {
        Resource::parse(text).unwrap()
    }

    fn id(text: &str) -> IdentityId {
        IdentityId::parse(text).unwrap()
    }

    #[test]
    fn a_resource_may_be_a_device_or_a_module() {
        let identity = |text| resource(text).identity().map(|id| id.to_string());
        assert_eq!(identity("host/devices/d"), Some("d".to_owned()));
        assert_eq!(identity("host/devices/d/modules/m/"), Some("d/m".to_owned()));
        assert_eq!(identity("host%2Fdevices%2Fa%253Ab"), Some("a%3Ab".to_owned()));
        assert_eq!(identity("host/devices/a%3Ab"), Some("a:b".to_owned()));
        for other in [
            "host",
            "host/devices",
            "host/devices/d/modules",
            "host/devices/d/m",
            "host/x/d",
            "host/devices/a b",
        ] {
            assert_eq!(identity(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_of_the_own_key_may_name_the_identity_or_a_prefix_of_it_in_any_encoding() {
        for (sr, accepted) in [
            ("h", "d"),
            ("h/", "d"),
            ("h%2Fdevices", "d"),
            ("H%2fdevices%2fd", "d"),
            ("h%3A8443%2Fdevices%2Fd", "d"),
            ("h:8443/devices/d/", "d"),
            ("h/DEVICES/D", "d"),
            ("h%2Fd", "d"),
            ("h/devices/100%", "100%"),
            ("h/devices/g%41h", "g%41h"),
            ("h/devices/d/api-version=2016-11-14", "d"),
            ("h/devices/api-version=1", "api-version=1"),
            ("h/devices/api-version=1/api-version=2", "api-version=1"),
            ("h/devices/a%253Ab", "a:b"),
            ("h/devices/a%253Ab", "a%3Ab"),
            ("h", "d/m"),
            ("h/devices/d", "d/m"),
            ("h/devices/d/modules", "d/m"),
            ("h/devices/d/modules/m/api-version=2016-11-14", "d/m"),
            ("h%2Fdevices%2Fd%2Fmodules%2F%252524edgeHub", "d/$edgeHub"),
        ] {
            assert!(resource(sr).matches_own_key_of(&id(accepted)), "{sr} {accepted}");
        }
        for (sr, refused) in [
            ("h/devices/d", "d1"),
            ("h/devices/d11", "d1"),
            ("h/devices/d1/modules/m", "d1"),
            ("h/devices/d1/modules", "d1"),
            ("h/devices/d1/x", "d1"),
            ("h/devices/d1//", "d1"),
            ("h//devices/d1", "d1"),
            ("h/x", "d1"),
            ("h/x/d1", "d1"),
            ("h/devices/d1/api-version=1/api-version=2", "d1"),
            ("h/api-version=1", "d1"),
            ("h/devices/api-version=1", "d1"),
            ("h/devices/d1/modules/m2", "d1/m"),
            ("h/devices/d2", "d1/m"),
            ("h/devices/d1/modules/m/x", "d1/m"),
            ("h/devices/a%2525253Ab", "a:b"),
            ("h/devices%2Fd1", "d1"),
        ] {
            assert!(!resource(sr).matches_own_key_of(&id(refused)), "{sr} {refused}");
        }
    }

    #[test]
    fn a_token_of_a_policy_has_one_meaning_and_covers_whole_segments() {
        for (sr, covered) in [
            ("h", "a"),
            ("h/devices", "a"),
            ("h%2Fdevices", "a/m"),
            ("h/devices/a", "a"),
            ("h/devices/a", "a/m"),
            ("h/devices/a/api-version=2016-11-14", "a"),
            ("h/devices/a/modules/m/api-version=2016-11-14", "a/m"),
            ("h/devices/api-version=x", "api-version=x"),
            ("h%2Fdevices%2Fa%253Ab", "a%3Ab"),
            ("h%2Fdevices%2Fa%3Ab", "a:b"),
            ("h/devices/a%3Ab", "a:b"),
            ("h/devices/a:b", "a:b"),
        ] {
            assert!(resource(sr).covers(&id(covered)), "{sr} {covered}");
        }
        for (sr, not_covered) in [
            ("h/devices/a", "ab"),
            ("h/devices/ab", "a"),
            ("h/devices/a/modules/m", "a"),
            ("h/devices/a/modules/m", "a/mm"),
            ("h/devices/A", "a"),
            ("h/DEVICES/a", "a"),
            ("h/a", "a"),
            ("h/devices/api-version=x", "a"),
            ("h/api-version=x", "a"),
            ("h/devices/a/modules/api-version=x", "a/m"),
            ("h/devices/a/api-version=1/api-version=2", "a"),
            ("h%2Fdevices%2Fa%253Ab", "a:b"),
            ("h/devices/a%253Ab", "a:b"),
            ("h/devices//", "a"),
        ] {
            assert!(!resource(sr).covers(&id(not_covered)), "{sr} {not_covered}");
        }
    }

    #[test]
    fn readers_of_events_sign_the_endpoint_or_a_part_of_it() {
        let path = |text: &str| resource(text).event_hub_path("myhub.example.lan");
        for (text, expected) in [
            ("sb%3A%2F%2Fmyhub.example.lan%2Fmyhub", Some(vec![])),
            ("sb://myhub.example.lan/MyHub/", Some(vec![])),
            ("sb://myhub.example.lan", Some(vec![])),
            ("sb://myhub.example.lan:5671/", Some(vec![])),
            ("myhub.example.lan/myhub", Some(vec![])),
            (
                "sb%3A%2F%2Fmyhub.example.lan%2Fmyhub%2Fconsumergroups%2F%24Default",
                Some(vec!["consumergroups", "$default"]),
            ),
            (
                "sb://myhub.example.lan/myhub/ConsumerGroups/%24Default/Partitions/0",
                Some(vec!["consumergroups", "$default", "partitions", "0"]),
            ),
            ("sb%3A%2F%2Fmyhub.example.lan%2Fmessages%2Fevents%2F%24management", Some(vec!["$management"])),
            ("amqps://myhub.example.lan/messages/events", Some(vec![])),
            ("myhub.example.lan", None),
            ("sb://other.example.lan/myhub", None),
            ("sb://myhub.example.lan/other", None),
            ("sb://myhub.example.lan/messages", None),
            ("myhub.example.lan/devices/myhub", None),
            ("http://myhub.example.lan/myhub", None),
        ] {
            let expected = expected.map(|path| path.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(path(text), expected, "{text}");
        }
        // Such a token covers nothing else.
        for text in ["sb://myhub.example.lan", "sb%3A%2F%2Fmyhub.example.lan%2Fdevices%2Fd"] {
            let resource = resource(text);
            assert!(!resource.is_hub() && !resource.is_on_host("myhub.example.lan"), "{text}");
        }
    }

    #[test]
    fn a_resource_has_no_more_segments_than_that_of_a_partition() {
        let longest = "sb://h/messages/events/consumergroups/g/partitions/1";
        for text in [longest, &format!("{longest}/"), &longest.replace('/', "%2F")] {
            let path = resource(text).event_hub_path("h").expect(text);
            assert_eq!(path, ["consumergroups", "g", "partitions", "1"], "{text}");
        }
        for tail in ["/x", "/x/", "//", "//x", &"/x".repeat(2_000)] {
            let text = format!("{longest}{tail}");
            assert_eq!(Resource::parse(&text), None, "{tail:.8}");
            assert_eq!(Resource::parse(&text.replace('/', "%2F")), None, "encoded {tail:.8}");
        }
    }

    #[test]
    fn the_whole_hub_is_the_host_alone() {
        for hub in ["h", "H", "h/", "h:8443", "h%3A8443", "h%253A8443"] {
            assert!(resource(hub).is_hub() && resource(hub).is_on_host("h"), "{hub}");
        }
        for other in ["h/api-version=1", "h/devices", "h//"] {
            assert!(!resource(other).is_hub(), "{other}");
        }
        assert_eq!(Resource::parse("/devices/a"), None);
        assert!(!resource("h.x").is_on_host("h"));
    }
}
