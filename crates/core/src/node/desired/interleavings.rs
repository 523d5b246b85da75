//! Random interleavings of changes, notices in any order, lost and repeated notices, subscriptions and reads: in the end the
//! device has the desired properties of the hub, or its connection has ended.

use std::collections::VecDeque;

use ferrohub_model::Timestamp;
use ferrohub_model::twin::{Properties, TwinChange, VERSION};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::twins::{TwinDocument, TwinLimits, UpdateMode};

#[derive(Debug, Clone)]
enum Step {
    /// A service sets or removes a property. The notice is under way.
    Change {
        key: u8,
        value: Option<u8>,
    },
    /// One of the notices under way reaches the connection.
    Deliver(prop::sample::Index),
    /// One of them is lost.
    Lose(prop::sample::Index),
    /// One of them reaches the connection, and will again.
    Repeat(prop::sample::Index),
    /// The device gets what the connection has for it.
    Send,
    Subscribe,
    Unsubscribe,
    /// The hub reads the twin for the device.
    BeginRead,
    /// The device gets the twin that was read.
    EndRead,
    /// So much time passes that missing notices are lost.
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let change = (0..4u8, prop::option::of(any::<u8>())).prop_map(|(key, value)| Step::Change { key, value });
    prop_oneof![
        6 => change,
        6 => any::<prop::sample::Index>().prop_map(Step::Deliver),
        1 => any::<prop::sample::Index>().prop_map(Step::Lose),
        1 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        4 => Just(Step::Send),
        2 => Just(Step::Subscribe),
        1 => Just(Step::Unsubscribe),
        2 => Just(Step::BeginRead),
        2 => Just(Step::EndRead),
        2 => Just(Step::Wait),
    ]
}

/// A device that follows Azure's documentation: it replaces its properties when it reads its twin, and merges patches.
#[derive(Debug, Default)]
struct Device {
    properties: Properties,
    /// The patches since it began to read its twin: it applies them again to the twin that it has read.
    since_read: Vec<DesiredNotice>,
    /// The last version that it was told.
    version: Option<u64>,
    /// It has read its twin since it subscribed, so it knows all desired properties.
    is_complete: bool,
}

fn merge(target: &mut Properties, patch: &Properties) {
    for (key, change) in patch.iter().filter(|(key, _)| *key != VERSION) {
        match change {
            Value::Null => drop(target.remove(key)),
            Value::Object(change) => {
                let inner = target.entry(key.clone()).or_insert_with(|| json!({}));
                if !inner.is_object() {
                    *inner = json!({});
                }
                merge(inner.as_object_mut().unwrap(), change);
            }
            other => drop(target.insert(key.clone(), other.clone())),
        }
    }
}

impl Device {
    fn receive(&mut self, notice: DesiredNotice) {
        merge(&mut self.properties, &serde_json::from_slice(&notice.patch).unwrap());
        self.version = Some(notice.version);
        self.since_read.push(notice);
    }

    fn read(&mut self, twin: &TwinDocument) {
        self.properties = twin.desired.values.clone();
        let newer = |notice: &DesiredNotice| notice.version > twin.desired.version;
        for notice in std::mem::take(&mut self.since_read).into_iter().filter(newer) {
            merge(&mut self.properties, &serde_json::from_slice(&notice.patch).unwrap());
        }
        self.version = self.version.max(Some(twin.desired.version));
    }
}

#[derive(Debug, Default)]
struct World {
    twin: TwinDocument,
    under_way: VecDeque<DesiredNotice>,
    outbox: DesiredOutbox,
    /// The missing versions that the outbox has reported.
    missing: VecDeque<u64>,
    device: Device,
    subscribed: bool,
    reading: Option<TwinDocument>,
    resynced: bool,
    closed: bool,
    /// Whether notices were lost or have overtaken each other.
    disturbed: bool,
}

impl World {
    fn change(&mut self, key: u8, value: Option<u8>) {
        let (name, value) = (format!("k{}", key / 2), value.map_or(Value::Null, Value::from));
        // Some properties are in an object, which may be removed as a whole.
        let patch = match key {
            0 => json!({ "in": { name: value } }),
            1 if value.is_null() => json!({ "in": null }),
            _ => json!({ name: value }),
        };
        let Value::Object(patch) = patch else { unreachable!() };
        let change = TwinChange::desired(patch);
        let now = Timestamp::from_unix_seconds(0);
        self.twin = self.twin.with_change(UpdateMode::Merge, &change, now, &TwinLimits::default()).unwrap();
        let patch = self.twin.desired_notice(UpdateMode::Merge, &change).unwrap();
        let patch = serde_json::to_vec(&patch).unwrap().into();
        self.under_way.push_back(DesiredNotice { version: self.twin.desired.version, patch });
    }

    fn take(&mut self, index: prop::sample::Index) -> Option<DesiredNotice> {
        let index = (!self.under_way.is_empty()).then(|| index.index(self.under_way.len()))?;
        self.disturbed |= index > 0;
        self.under_way.remove(index)
    }

    fn deliver(&mut self, notice: DesiredNotice) {
        if !self.subscribed || self.closed {
            return;
        }
        match self.outbox.push(notice) {
            Pushed::Accepted => {}
            Pushed::Missing(version) => self.missing.push_back(version),
            Pushed::Full | Pushed::FullOfHeld => self.closed = true,
        }
    }

    fn send(&mut self) {
        while let Some(notice) = self.outbox.pop().filter(|_| !self.closed) {
            if let Some(last) = self.device.version.filter(|_| self.subscribed && !self.resynced) {
                assert!(notice.version > last, "a device is never sent an older version");
                assert!(!self.device.is_complete || notice.version == last + 1, "nor one too new");
            }
            self.device.receive(notice);
        }
        self.closed |= self.outbox.has_sent_all();
    }

    fn wait(&mut self) {
        while let Some(missing) = self.missing.pop_front() {
            match self.outbox.check_gap(missing) {
                Gap::Filled => {}
                Gap::Moved(version) => self.missing.push_back(version),
                Gap::Lost => {
                    let patch = serde_json::to_vec(&self.twin.desired.for_device()).unwrap().into();
                    self.outbox.resync(DesiredNotice { version: self.twin.desired.version, patch });
                    self.resynced = true;
                }
            }
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Change { key, value } => self.change(key, value),
            Step::Deliver(index) => {
                if let Some(notice) = self.take(index) {
                    self.deliver(notice);
                }
            }
            Step::Lose(index) => {
                self.disturbed |= self.take(index).is_some();
            }
            Step::Repeat(index) => {
                if let Some(notice) = self.take(index) {
                    self.deliver(notice.clone());
                    self.under_way.push_back(notice);
                    self.disturbed = true;
                }
            }
            Step::Send => self.send(),
            // The requests of a device are served one after the other.
            Step::Subscribe if self.reading.is_none() => self.subscribed = true,
            Step::Unsubscribe if self.reading.is_none() => {
                self.subscribed = false;
                self.outbox.clear();
                (self.device.version, self.device.is_complete) = (None, false);
            }
            Step::BeginRead if self.reading.is_none() => {
                self.reading = Some(self.twin.clone());
                self.device.since_read.clear();
            }
            Step::EndRead => {
                let Some(twin) = self.reading.take() else { return };
                self.missing.extend(self.outbox.mark_read(twin.desired.version, self.subscribed));
                self.device.read(&twin);
                self.device.is_complete = self.subscribed;
            }
            Step::Wait => self.wait(),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_device_has_the_desired_properties_of_the_hub_or_its_connection_has_ended(
        steps in prop::collection::vec(step(), 0..60),
        rest in any::<prop::sample::Index>(),
    ) {
        let mut world = World::default();
        for step in steps {
            world.run(step);
        }
        world.run(Step::EndRead);
        // The last notice of all arrives, as it shows that others do not.
        world.change(3, Some(1));
        while let Some(notice) = world.take(rest) {
            world.deliver(notice);
        }
        // Gaps that move are found one after the other.
        for _ in 0..3 {
            world.wait();
            world.send();
        }
        if world.subscribed && !world.closed {
            prop_assert_eq!(world.device.version, Some(world.twin.desired.version));
            if world.device.is_complete {
                prop_assert_eq!(&world.device.properties, &world.twin.desired.values);
            }
        }
        // The last notice before the end has every property that is not removed.
        if world.resynced && world.closed {
            let of_hub = &world.twin.desired.values;
            let stale = world.device.properties.iter().find(|(key, value)| {
                of_hub.get(*key).is_some_and(|new| new != *value && !new.is_object())
            });
            prop_assert!(world.device.version < Some(world.twin.desired.version) || stale.is_none());
        }
        prop_assert!(world.disturbed || !world.closed || world.under_way.len() > MAX_PENDING);
        prop_assert!(world.closed || world.outbox.pending.is_none() || !world.subscribed);
    }
}
