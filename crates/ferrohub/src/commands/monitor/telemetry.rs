//! `ferrohub monitor events`: prints events.

use std::fmt::Write as _;

use clap::Args;
use ferrohub_service::{Event, EventStart, ServiceClient, Timestamp};

use crate::output::{Output, one_line};

/// Flags of `ferrohub monitor events`.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Only events of this device, or of this module: DEVICE/MODULE
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Start position: start, end, or a time such as 2024-01-31T12:00:00Z
    #[arg(long, value_name = "POSITION", default_value = "end", value_parser = parse_start)]
    from: EventStart,
    /// Consumer group [default: $Default]
    #[arg(long, value_name = "NAME")]
    consumer_group: Option<String>,
    /// Only this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u16>,
}

fn parse_start(text: &str) -> Result<EventStart, String> {
    match text {
        "start" => Ok(EventStart::Earliest),
        "end" => Ok(EventStart::Latest),
        time => Timestamp::parse(time)
            .map(EventStart::Time)
            .ok_or_else(|| "not start, end or a time such as 2024-01-31T12:00:00Z".to_owned()),
    }
}

impl Events {
    pub(super) async fn run(self, client: &ServiceClient, output: Output) -> anyhow::Result<()> {
        let mut reader = client.events().start(self.from.clone());
        if let Some(group) = &self.consumer_group {
            reader = reader.consumer_group(group);
        }
        if let Some(partition) = self.partition {
            reader = reader.partition(partition);
        }
        let mut events = reader.open().await?;
        output.note("waiting for events; press Ctrl-C to stop");
        while let Some(event) = events.next().await {
            let event = event?;
            if !self.matches(&event) {
                continue;
            }
            output.print_each(&event, format_event)?;
        }
        Ok(())
    }

    fn matches(&self, event: &Event) -> bool {
        let Some(wanted) = &self.device else { return true };
        match wanted.split_once('/') {
            None => event.device_id() == Some(wanted),
            Some((device, module)) => event.device_id() == Some(device) && event.module_id() == Some(module),
        }
    }
}

/// Formats an event as a table entry: one line about it, its properties and its body.
fn format_event(event: &Event) -> String {
    let mut text = format!("{} {}", event.enqueued_time, event.device_id().unwrap_or_default());
    if let Some(module) = event.module_id() {
        let _ = write!(text, "/{module}");
    }
    let source = event.system_properties.get("iothub-message-source").map_or("", String::as_str);
    let _ = writeln!(text, " {source} ({}:{})", event.partition, event.sequence_number);
    let is_shown = |name: &str| !name.starts_with("iothub-connection-") && name != "iothub-message-source";
    let system =
        event.system_properties.iter().filter(|(name, _)| is_shown(name) && *name != "iothub-enqueuedtime");
    for (name, value) in system.chain(&event.properties) {
        let _ = writeln!(text, "  {}: {}", one_line(name), one_line(value));
    }
    let body = event.body.to_text();
    for line in body.lines() {
        let _ = writeln!(text, "  {}", one_line(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_events_are_escaped() {
        let event = Event {
            partition: 1,
            sequence_number: 7,
            offset: "7".to_owned(),
            enqueued_time: Timestamp::from_unix_millis(0),
            system_properties: [
                ("iothub-connection-device-id", "d"),
                ("iothub-connection-module-id", "m"),
                ("iothub-message-source", "Telemetry"),
                ("message-id", "1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            properties: [("a".to_owned(), "b\u{1b}[2J".to_owned())].into(),
            body: b"one\ntwo\x07".to_vec().into(),
        };
        assert_eq!(
            format_event(&event),
            "1970-01-01T00:00:00Z d/m Telemetry (1:7)\n  message-id: 1\n  a: b\\u{1b}[2J\n  one\n  two\\u{7}\n"
        );
        let events = |device: &str| Events {
            device: Some(device.to_owned()),
            from: EventStart::Latest,
            consumer_group: None,
            partition: None,
        };
        for (device, wanted) in [("d", true), ("d/m", true), ("d/n", false), ("e", false)] {
            assert_eq!(events(device).matches(&event), wanted, "{device}");
        }
    }

    #[test]
    fn a_start_position_is_a_keyword_or_a_time() {
        assert_eq!(parse_start("start"), Ok(EventStart::Earliest));
        assert_eq!(parse_start("end"), Ok(EventStart::Latest));
        assert!(matches!(parse_start("2026-11-24T00:00:00Z"), Ok(EventStart::Time(_))));
        assert!(parse_start("yesterday").is_err());
    }
}
