//! Topic filters (MQTT 3.1.1, section 4.7).

/// Returns whether `filter` is valid: not empty, not too long, without U+0000, and with `+` only as a whole level and
/// `#` only as the whole last level (MQTT-4.7.1-2, MQTT-4.7.1-3).
pub fn is_valid(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > crate::Utf8::MAX_LEN || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        match level {
            "+" => {}
            "#" => return levels.peek().is_none(),
            level if level.contains(['+', '#']) => return false,
            _ => {}
        }
    }
    true
}

/// Returns whether `filter`, which must be valid, matches `topic`.
///
/// `a/#` also matches `a` (MQTT 3.1.1, section 4.7.1.2). A wildcard in the first level matches no topic that begins
/// with `$` (MQTT-4.7.2-1).
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        match (level, topic_levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(topic_level)) if level == topic_level => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_must_be_a_whole_level() {
        for valid in ["#", "+", "/", "a", "a/#", "+/+", "a/+/b", "/#", "$iothub/methods/POST/#", "a//b"] {
            assert!(is_valid(valid), "{valid}");
        }
        for invalid in ["", "a#", "a/#/b", "#/", "a+", "a/b+/c", "+a", "##", "a\0"] {
            assert!(!is_valid(invalid), "{invalid}");
        }
    }

    #[test]
    fn filters_match_as_in_the_specification() {
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "a/b"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
            ("$iothub/methods/POST/#", "$iothub/methods/POST/reboot/?$rid=1"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/a"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("a/b", "a"),
            ("a", "a/b"),
            ("ACCOUNTS", "Accounts"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }
}
