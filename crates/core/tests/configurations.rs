//! Configurations against a naive model, which applies everything from scratch to what services have written.
//!
//! The hub changes twins step by step, from what it remembers in them. The model remembers only what services wrote and no
//! configuration ever replaced, and puts all matching configurations over it. It shares no rule with the hub but the query
//! language.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test ends by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferrohub_core::configurations::{
    ConfigurationId, ConfigurationSet, ParsedConfiguration, PlanLimits, StoredConfiguration, plan_device,
};
use ferrohub_core::registry::{Identity, apply_device};
use ferrohub_core::twins::{TwinDocument, TwinLimits, UpdateMode};
use ferrohub_model::configuration::{Configuration, ConfigurationContent, ConfigurationStatus};
use ferrohub_model::twin::{Properties, TwinChange};
use ferrohub_model::{IdentityId, Timestamp};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// The ids of the twins of the device.
const TWINS: [&str; 4] = ["d", "d/$edgeAgent", "d/$edgeHub", "d/m"];

/// A configuration of a test.
#[derive(Debug, Clone)]
struct Case {
    kind: Kind,
    /// The value of the tag `t` that it is for; `None` for all.
    tag: Option<u8>,
    priority: i64,
    settings: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Devices,
    Modules,
    /// Replaces all properties of the system modules, and of `m`.
    Base,
    /// Sets properties of `$edgeAgent` and `m`.
    Layer,
}

/// What happens between two evaluations.
#[derive(Debug, Clone)]
enum Step {
    /// Sets the tag `t` of all twins.
    Tag(u8),
    /// A service merges properties into a twin.
    Write(usize, Value),
    Add(Case),
    Remove(usize),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![3 => (0..3_u8).prop_map(Value::from), 1 => Just(json!({}))];
    leaf.prop_recursive(2, 4, 2, |inner| {
        btree_map(select(vec!["a", "b"]), inner, 1..3)
            .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    })
}

fn settings() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let path = select(vec!["a", "a.a", "a.b", "a.b.a", "b", "b.a", "c"]).prop_map(str::to_owned);
    btree_map(path, prop_oneof![5 => value(), 1 => Just(Value::Null)], 1..3)
}

fn case() -> impl Strategy<Value = Case> {
    let kind = select(vec![Kind::Devices, Kind::Modules, Kind::Base, Kind::Layer]);
    (kind, prop::option::of(0..2_u8), 0..3_i64, settings()).prop_map(|(kind, tag, priority, settings)| Case {
        kind,
        tag,
        priority,
        settings,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let object = btree_map(select(vec!["a", "b", "user"]), value(), 1..3).prop_map(|members| {
        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Value>()
    });
    prop_oneof![
        2 => (0..2_u8).prop_map(Step::Tag),
        2 => (0..TWINS.len(), object).prop_map(|(twin, value)| Step::Write(twin, value)),
        4 => case().prop_map(Step::Add),
        2 => (0..8_usize).prop_map(Step::Remove),
    ]
}

fn properties(value: &Value) -> Properties {
    value.as_object().unwrap().clone()
}

impl Case {
    /// Returns the settings for a twin, by path.
    fn settings_of(&self, twin: &str) -> BTreeMap<String, Value> {
        let whole = || BTreeMap::from([(String::new(), tree(&self.settings))]);
        match (self.kind, twin) {
            (Kind::Devices, "d") | (Kind::Modules, "d/m") | (Kind::Layer, "d/$edgeAgent" | "d/m") => {
                self.settings.clone()
            }
            (Kind::Base, "d/$edgeAgent" | "d/$edgeHub" | "d/m") => whole(),
            _ => BTreeMap::new(),
        }
    }

    fn to_configuration(&self, id: &str) -> Configuration {
        let content = |twin: &str| {
            let named = |(path, value): (String, Value)| match path.as_str() {
                "" => ("properties.desired".to_owned(), value),
                path => (format!("properties.desired.{path}"), value),
            };
            self.settings_of(twin).into_iter().map(named).collect::<Properties>()
        };
        let edge = |twins: &[&str]| {
            let modules = twins.iter().map(|twin| (twin.trim_start_matches("d/").to_owned(), content(twin)));
            ConfigurationContent::for_edge_devices(modules.collect())
        };
        let (content, all) = match self.kind {
            Kind::Devices => (ConfigurationContent::for_devices(content("d")), "*"),
            Kind::Modules => (
                ConfigurationContent::for_modules(content("d/m")),
                "FROM devices.modules WHERE moduleId = 'm'",
            ),
            Kind::Base => (edge(&["d/$edgeAgent", "d/$edgeHub", "d/m"]), "*"),
            Kind::Layer => (edge(&["d/$edgeAgent", "d/m"]), "*"),
        };
        let condition = match (self.kind, self.tag) {
            (_, None) => all.to_owned(),
            (Kind::Modules, Some(tag)) => format!("{all} AND tags.t = {tag}"),
            (_, Some(tag)) => format!("tags.t = {tag}"),
        };
        Configuration::new(id, content).with_target_condition(condition).with_priority(self.priority)
    }
}

/// Returns the object that settings make, without the properties that they remove.
fn tree(settings: &BTreeMap<String, Value>) -> Value {
    let mut root = json!({});
    for (path, value) in settings {
        put(&mut root, path, value);
    }
    root
}

/// Replaces or removes the value at a path.
fn put(root: &mut Value, path: &str, value: &Value) {
    if path.is_empty() {
        *root = value.clone();
        return;
    }
    if value.is_null() {
        return take(root, path);
    }
    let mut place = root;
    for name in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = value.clone();
}

/// Removes the value at a path, and empty objects above it.
fn take(root: &mut Value, path: &str) {
    if path.is_empty() {
        *root = json!({});
        return;
    }
    let pointer = |path: &str| format!("/{}", path.replace('.', "/"));
    let mut path = path.to_owned();
    loop {
        let (parent, name) = match path.rsplit_once('.') {
            Some((parent, name)) => (parent.to_owned(), name.to_owned()),
            None => {
                root.as_object_mut().unwrap().remove(&path);
                return;
            }
        };
        let Some(Value::Object(object)) = root.pointer_mut(&pointer(&parent)) else { return };
        object.remove(&name);
        if !object.is_empty() {
            return;
        }
        path = parent;
    }
}

/// Returns the paths above a path.
fn above(path: &str) -> Vec<String> {
    let names: Vec<&str> = path.split('.').collect();
    (1..names.len()).map(|count| names[..count].join(".")).collect()
}

/// The naive model of one device.
#[derive(Default)]
struct Model {
    /// By twin: what services wrote and no configuration replaced.
    written: BTreeMap<&'static str, Value>,
    tag: Option<u8>,
}

impl Model {
    fn write(&mut self, twin: usize, value: &Value) {
        fn merge(into: &mut Value, change: &Value) {
            match (&mut *into, change) {
                (Value::Object(into), Value::Object(change)) => {
                    for (key, value) in change {
                        merge(into.entry(key).or_insert(Value::Null), value);
                    }
                }
                _ => *into = change.clone(),
            }
        }
        merge(self.written.get_mut(TWINS[twin]).unwrap(), value);
    }

    /// Returns the configurations that take effect for a twin, from the lowest to the highest, and those that match it.
    fn layers<'a>(
        &self,
        twin: &str,
        all: &'a BTreeMap<usize, Case>,
    ) -> (Vec<(usize, &'a Case)>, BTreeSet<usize>) {
        let mut matching: Vec<(usize, &Case)> = all
            .iter()
            .map(|(number, case)| (*number, case))
            .filter(|(_, case)| case.tag.is_none() || case.tag == self.tag)
            .collect();
        matching.sort_by_key(|(number, case)| (case.priority, *number));
        let base = matching.iter().rposition(|(_, case)| case.kind == Kind::Base);
        let (mut effective, mut shown) = (Vec::new(), BTreeSet::new());
        for (position, (number, case)) in matching.iter().enumerate() {
            let is_edge = matches!(case.kind, Kind::Base | Kind::Layer);
            if is_edge && twin == "d/$edgeAgent" || !is_edge && !case.settings_of(twin).is_empty() {
                shown.insert(*number);
            }
            if !is_edge || base.is_some_and(|base| position >= base) {
                effective.push((*number, *case));
            }
        }
        (effective, shown)
    }

    /// Returns the desired properties of a twin.
    fn evaluate(&mut self, twin: &'static str, all: &BTreeMap<usize, Case>) -> Value {
        let (effective, _) = self.layers(twin, all);
        let written = self.written.get_mut(twin).unwrap();
        let settings = effective.iter().flat_map(|(_, case)| case.settings_of(twin)).collect::<Vec<_>>();
        for (path, value) in &settings {
            take(written, path);
            if value.is_null() {
                continue;
            }
            for path in above(path) {
                let pointer = format!("/{}", path.replace('.', "/"));
                if written.pointer(&pointer).is_some_and(|value| !value.is_object()) {
                    take(written, &path);
                }
            }
        }
        let mut expected = written.clone();
        for (path, value) in &settings {
            put(&mut expected, path, value);
        }
        expected
    }
}

fn module(name: &str) -> Identity {
    Identity { id: name.parse().unwrap(), iot_edge: false, device_scope: None, ..device() }
}

fn device() -> Identity {
    let request = serde_json::from_value(json!({ "capabilities": { "iotEdge": true } })).unwrap();
    apply_device(&"d".parse().unwrap(), &request, None, NOW).unwrap()
}

fn limits() -> TwinLimits {
    TwinLimits::default()
}

fn set_of(cases: &BTreeMap<usize, Case>) -> ConfigurationSet {
    let parse = |(number, case): (&usize, &Case)| {
        let stored = StoredConfiguration {
            id: ConfigurationId::parse(&format!("c{number}")).unwrap(),
            number: *number as u64,
            revision: 1,
            configuration: case.to_configuration(""),
        };
        Arc::new(ParsedConfiguration::parse(stored, &limits()).unwrap())
    };
    ConfigurationSet::new(cases.iter().map(parse).collect())
}

/// Evaluates the device, and returns its twins.
fn evaluate(set: &ConfigurationSet, twins: &mut Vec<(Identity, TwinDocument)>) {
    let limits = limits();
    let plan_limits = PlanLimits { twins: &limits, modules: 50 };
    let plan = plan_device(set, twins, plan_limits, NOW);
    assert!(plan.refused.is_empty());
    let ids: BTreeSet<&IdentityId> = plan.changes.iter().map(|change| &change.id).collect();
    assert_eq!(ids.len(), plan.changes.len(), "one write for each twin");
    let creates = plan.changes.iter().any(|change| change.is_new);
    for change in &plan.changes {
        if change.is_new {
            twins.push((module(change.id.as_str()), TwinDocument::default()));
        }
        let (_, twin) = twins.iter_mut().find(|(identity, _)| identity.id == change.id).unwrap();
        let Some((new, patch)) = change.apply(twin, NOW, &limits).unwrap() else {
            assert!(change.is_new, "a change that changes nothing");
            continue;
        };
        let step = u64::from(!patch.is_empty());
        assert_eq!((new.desired.version, new.updates), (twin.desired.version + step, twin.updates + step));
        assert_eq!(patch.is_empty(), new.desired.values == twin.desired.values);
        *twin = new;
    }
    if creates {
        // A module is created with what its deployment sets. Configurations for modules see it then.
        evaluate(set, twins);
    }
    assert!(plan_device(set, twins, plan_limits, NOW).changes.is_empty(), "nothing is left to do");
}

fn run(steps: Vec<Step>) {
    let mut twins = vec![
        (device(), TwinDocument::default()),
        (module("d/$edgeAgent"), TwinDocument::default()),
        (module("d/$edgeHub"), TwinDocument::default()),
    ];
    let (mut cases, mut next) = (BTreeMap::new(), 0);
    let mut model = Model { written: TWINS.map(|twin| (twin, json!({}))).into(), tag: None };
    for step in steps {
        match step {
            Step::Tag(tag) => {
                model.tag = Some(tag);
                for (_, twin) in &mut twins {
                    twin.tags = properties(&json!({ "t": tag }));
                }
            }
            Step::Write(index, value) => {
                let Some((_, twin)) =
                    twins.iter_mut().find(|(identity, _)| identity.id.as_str() == TWINS[index])
                else {
                    continue;
                };
                let change = TwinChange::desired(properties(&value));
                *twin = twin.with_change(UpdateMode::Merge, &change, NOW, &limits()).unwrap();
                model.write(index, &value);
            }
            Step::Add(case) => {
                next += 1;
                cases.insert(next, case);
            }
            Step::Remove(index) => {
                let number = cases.keys().nth(index).copied();
                number.map(|number| cases.remove(&number));
            }
        }
        let set = set_of(&cases);
        evaluate(&set, &mut twins);
        // A module that was created has no tags until a service sets them.
        let mut tagged = false;
        for (_, twin) in twins.iter_mut().filter(|(_, twin)| model.tag.is_some() && twin.tags.is_empty()) {
            twin.tags = properties(&json!({ "t": model.tag }));
            tagged = true;
        }
        if tagged {
            evaluate(&set, &mut twins);
        }
        for (identity, twin) in &twins {
            let name = TWINS.into_iter().find(|name| *name == identity.id.as_str()).unwrap();
            let expected = model.evaluate(name, &cases);
            assert_eq!(Value::from(twin.desired.values.clone()), expected, "{name}: {cases:#?}");
            let (_, shown) = model.layers(name, &cases);
            let shown: BTreeSet<String> = shown.into_iter().map(|number| format!("c{number}")).collect();
            let found: BTreeSet<String> = twin.configured.configurations.keys().cloned().collect();
            assert_eq!(found, shown, "{name}");
        }
        let owners: BTreeSet<&String> =
            twins.iter().flat_map(|(_, twin)| twin.configured.paths.values()).collect();
        for (id, state) in twins.iter().flat_map(|(_, twin)| &twin.configured.configurations) {
            assert_eq!(state.status == ConfigurationStatus::Applied, owners.contains(id), "{id}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn twins_are_always_as_if_everything_had_been_applied_from_scratch(steps in vec(step(), 1..16)) {
        run(steps);
    }
}

#[test]
fn a_configuration_that_a_twin_cannot_have_leaves_the_others_in_effect() {
    let limits = TwinLimits { desired_bytes: 100, ..limits() };
    let case = |priority, name: &str, length: usize| Case {
        kind: Kind::Devices,
        tag: None,
        priority,
        settings: [(name.to_owned(), "x".repeat(length).into())].into(),
    };
    let set = set_of(&[(1, case(1, "low", 10)), (2, case(2, "large", 80)), (3, case(3, "high", 30))].into());
    let mut twins = vec![(device(), TwinDocument::default())];
    let plan_limits = PlanLimits { twins: &limits, modules: 50 };
    let plan = plan_device(&set, &twins, plan_limits, NOW);
    let refused: Vec<_> = plan.refused.iter().map(|(configuration, _)| configuration.id().as_str()).collect();
    assert_eq!(refused, ["c2"]);
    assert!(plan.refused[0].1.message.contains("the maximum is 100"), "{}", plan.refused[0].1);
    let (twin, _) = plan.changes[0].apply(&twins[0].1, NOW, &limits).unwrap().unwrap();
    assert_eq!(twin.desired.values.keys().collect::<Vec<_>>(), ["high", "low"]);
    let statuses: Vec<_> = twin.configured.configurations.values().map(|state| state.status).collect();
    use ConfigurationStatus::{Applied, Targeted};
    assert_eq!(statuses, [Applied, Targeted, Applied]);
    twins[0].1 = twin;
    assert!(
        plan_device(&set, &twins, plan_limits, NOW).changes.is_empty(),
        "it is not tried again and again"
    );
}

#[test]
fn a_deployment_with_too_many_modules_is_refused() {
    let base =
        Case { kind: Kind::Base, tag: None, priority: 1, settings: [("a".to_owned(), json!(1))].into() };
    let set = set_of(&[(1, base)].into());
    let modules = ["d/$edgeAgent", "d/$edgeHub"].map(|name| (module(name), TwinDocument::default()));
    let twins: Vec<_> = [(device(), TwinDocument::default())].into_iter().chain(modules).collect();
    let limits = limits();
    let plan = plan_device(&set, &twins, PlanLimits { twins: &limits, modules: 2 }, NOW);
    assert_eq!(plan.refused[0].1.code, ferrohub_model::ErrorCode::TooManyModulesOnDevice);
    assert_eq!(plan.changes.len(), 1, "only $edgeAgent changes, which has the status");
    assert!(!plan.changes[0].is_new);
    let plan = plan_device(&set, &twins, PlanLimits { twins: &limits, modules: 3 }, NOW);
    assert!(plan.refused.is_empty());
    assert_eq!(plan.changes.iter().filter(|change| change.is_new).count(), 1);
}
