//! Configurations: when devices are evaluated, what they are told, and what a hub that was killed goes on with.

use std::sync::Arc;

use ferrohub_core::configurations::{ConfigurationId, ConfigurationStore as _};
use ferrohub_core::registry::IfMatch;
use ferrohub_core::{HubSettings, Operation};
use ferrohub_model::configuration::{Configuration, ConfigurationContent, ConfigurationQueries};
use ferrohub_model::device::Device;
use ferrohub_model::twin::{Properties, Twin, TwinChange};
use ferrohub_model::{DeviceId, ErrorCode, HubError, Timestamp};
use serde_json::{Value, json};

use crate::test_hub::{TestHub, id, pass, seconds};

fn configuration_id(text: &str) -> ConfigurationId {
    ConfigurationId::parse(text).unwrap()
}

fn object(value: Value) -> Properties {
    serde_json::from_value(value).unwrap()
}

/// A configuration for devices.
fn for_devices(condition: &str, priority: i64, settings: Value) -> Configuration {
    let named =
        object(settings).into_iter().map(|(path, value)| (format!("properties.desired.{path}"), value));
    Configuration::new("", ConfigurationContent::for_devices(named.collect()))
        .with_target_condition(condition)
        .with_priority(priority)
}

impl TestHub {
    /// Runs the task that applies configurations, until the hub ends.
    fn apply_configurations(&self) {
        let hub = Arc::downgrade(&self.hub);
        self.hub.background().start("configurations", move |stop| {
            let hub = hub.clone();
            async move {
                if let Some(hub) = hub.upgrade() {
                    hub.run_configurations(stop).await;
                }
            }
        });
    }

    async fn put(&self, name: &str, configuration: Configuration) -> Result<Configuration, HubError> {
        self.service().await.put_configuration(&configuration_id(name), configuration, None).await
    }

    async fn twin(&self, of: &str) -> Twin {
        self.service().await.get_twin(&id(of)).await.unwrap()
    }

    /// Returns the desired properties of a twin without version and metadata, and the statuses of its configurations.
    async fn state(&self, of: &str) -> (Value, Value) {
        let twin = self.twin(of).await;
        let mut desired = twin.properties.unwrap().desired.unwrap();
        desired.retain(|key, _| !key.starts_with('$'));
        let statuses = twin.configurations.into_iter().map(|(id, state)| (id, json!(state.status)));
        (desired.into(), statuses.collect())
    }

    async fn tag(&self, of: &str, tags: Value) {
        let change = TwinChange::tags(object(tags));
        self.service().await.patch_twin(&id(of), change, IfMatch::Any).await.unwrap();
    }
}

async fn start() -> TestHub {
    let test = TestHub::start().await;
    test.apply_configurations();
    test
}

/// Lets the task do its work, which is much faster than this.
async fn settle() {
    pass(seconds(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_begins_to_match_is_changed_and_one_that_no_longer_matches_loses_the_settings() {
    let test = start().await;
    test.create("d").await;
    test.put(
        "c",
        for_devices(
            "tags.floor = 3 AND properties.reported.ready = true",
            1,
            json!({ "fan": { "speed": 2 } }),
        ),
    )
    .await
    .unwrap();
    settle().await;
    assert_eq!(test.state("d").await, (json!({}), json!({})));
    test.tag("d", json!({ "floor": 3 })).await;
    let device = test.connect("d").await;
    device.patch_reported(br#"{"ready":true}"#, None).await.unwrap();
    settle().await;
    assert_eq!(test.state("d").await, (json!({ "fan": { "speed": 2 } }), json!({ "c": "Applied" })));
    let version = test.twin("d").await.version;
    // A change that no condition reads causes nothing.
    let before = test.store.calls();
    device.patch_reported(br#"{"other":1}"#, None).await.unwrap();
    settle().await;
    assert!(test.store.calls() <= before + 2, "{} calls", test.store.calls() - before);
    assert_eq!(test.twin("d").await.version, version.map(|version| version + 1), "only the report");
    device.patch_reported(br#"{"ready":false}"#, None).await.unwrap();
    settle().await;
    assert_eq!(test.state("d").await, (json!({}), json!({})));
}

#[tokio::test(start_paused = true)]
async fn a_new_device_is_configured_and_a_connected_one_is_notified_once() {
    let test = start().await;
    test.put("low", for_devices("*", 1, json!({ "a": 1, "b": 1 }))).await.unwrap();
    test.put("high", for_devices("*", 2, json!({ "a": 2, "c": 2 }))).await.unwrap();
    test.create("d").await;
    settle().await;
    assert_eq!(
        test.state("d").await,
        (json!({ "a": 2, "b": 1, "c": 2 }), json!({ "low": "Applied", "high": "Applied" }))
    );
    let twin = test.twin("d").await;
    let version = ferrohub_model::twin::version(&twin.properties.unwrap().desired.unwrap());
    assert_eq!(version, Some(2), "one write, however many configurations");
    let service = test.service().await;
    service.delete_configuration(&configuration_id("high"), &IfMatch::Any).await.unwrap();
    settle().await;
    assert_eq!(test.state("d").await, (json!({ "a": 1, "b": 1 }), json!({ "low": "Applied" })));
    service.delete_configuration(&configuration_id("low"), &IfMatch::Any).await.unwrap();
    settle().await;
    assert_eq!(test.state("d").await, (json!({}), json!({})));
}

#[tokio::test(start_paused = true)]
async fn two_configurations_that_fight_over_a_property_are_decided_by_priority_then_by_creation() {
    let test = start().await;
    test.create("d").await;
    test.put("first", for_devices("*", 5, json!({ "a": "first" }))).await.unwrap();
    test.put("second", for_devices("*", 5, json!({ "a": "second" }))).await.unwrap();
    settle().await;
    let both = |first: &str, second: &str| json!({ "first": first, "second": second });
    assert_eq!(test.state("d").await, (json!({ "a": "second" }), both("Targeted", "Applied")));
    let service = test.service().await;
    let id = configuration_id("first");
    let change = for_devices("*", 6, json!({ "a": "first" }));
    service.put_configuration(&id, change, Some(IfMatch::Any)).await.unwrap();
    settle().await;
    assert_eq!(test.state("d").await, (json!({ "a": "first" }), both("Applied", "Targeted")));
    // A change of priority is a new revision, but not a new creation.
    let change = for_devices("*", 5, json!({ "a": "first" }));
    service.put_configuration(&id, change, Some(IfMatch::Any)).await.unwrap();
    settle().await;
    assert_eq!(test.state("d").await, (json!({ "a": "second" }), both("Targeted", "Applied")));
}

#[tokio::test(start_paused = true)]
async fn a_managed_property_that_a_service_changes_is_restored_by_the_sweep() {
    let test = start().await;
    test.create("d").await;
    test.put("c", for_devices("*", 1, json!({ "a": 1 }))).await.unwrap();
    settle().await;
    let change = TwinChange::desired(object(json!({ "a": 9, "own": 1 })));
    test.service().await.patch_twin(&id("d"), change, IfMatch::Any).await.unwrap();
    settle().await;
    assert_eq!(test.state("d").await.0, json!({ "a": 9, "own": 1 }));
    pass(seconds(301)).await;
    assert_eq!(test.state("d").await.0, json!({ "a": 1, "own": 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_was_killed_goes_on_where_it_was() {
    let test = TestHub::start().await;
    for number in 0..1200 {
        test.create(&format!("d{number:04}")).await;
    }
    // The task never runs before the crash.
    test.put("c", for_devices("*", 1, json!({ "a": 1 }))).await.unwrap();
    let device = DeviceId::new("d0999").unwrap();
    test.store.save_sweep_position(Some(&device)).await.unwrap();
    let test = test.crash().await;
    test.apply_configurations();
    pass(seconds(5)).await;
    for number in [0, 1, 998, 999, 1000, 1199] {
        assert_eq!(test.state(&format!("d{number:04}")).await.0, json!({ "a": 1 }), "{number}");
    }
    assert_eq!(test.store.sweep_position().await.unwrap(), None);
    // A configuration that was deleted just before a crash leaves nothing behind.
    let test = test.crash().await;
    let service = test.service().await;
    service.delete_configuration(&configuration_id("c"), &IfMatch::Any).await.unwrap();
    let test = test.crash().await;
    test.apply_configurations();
    pass(seconds(5)).await;
    for number in [0, 999, 1199] {
        assert_eq!(test.state(&format!("d{number:04}")).await, (json!({}), json!({})), "{number}");
    }
}

fn few_waiting(settings: &mut HubSettings) {
    settings.limits.configurations.waiting_devices = 3;
}

#[tokio::test(start_paused = true)]
async fn more_changed_devices_than_may_wait_are_all_evaluated() {
    let test = TestHub::start_with(few_waiting).await;
    test.put("c", for_devices("tags.t = 1", 1, json!({ "a": 1 }))).await.unwrap();
    for number in 0..20 {
        let device = format!("d{number}");
        test.create(&device).await;
        test.tag(&device, json!({ "t": 1 })).await;
    }
    test.apply_configurations();
    settle().await;
    for number in 0..20 {
        assert_eq!(test.state(&format!("d{number}")).await.0, json!({ "a": 1 }), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_editors_the_second_one_is_refused() {
    let test = start().await;
    let created = test.put("c", for_devices("*", 1, json!({ "a": 1 }))).await.unwrap();
    let (service, id) = (test.service().await, configuration_id("c"));
    let if_match = Some(IfMatch::Etag(created.etag.clone().unwrap()));
    let edit = async |priority| {
        let change = for_devices("*", priority, json!({ "a": 1 }));
        service.put_configuration(&id, change, if_match.clone()).await
    };
    let changed = edit(2).await.unwrap();
    assert_ne!(changed.etag, created.etag);
    assert_eq!(edit(3).await.unwrap_err().code, ErrorCode::PreconditionFailed);
    let stale = service.delete_configuration(&id, if_match.as_ref().unwrap()).await;
    assert_eq!(stale.unwrap_err().code, ErrorCode::PreconditionFailed);
    assert_eq!(service.get_configuration(&id).await.unwrap().priority, Some(2));
    // Its successor of the same name has another etag too.
    service.delete_configuration(&id, &IfMatch::Any).await.unwrap();
    let again = test.put("c", for_devices("*", 1, json!({ "a": 1 }))).await.unwrap();
    assert!(again.etag != created.etag && again.etag != changed.etag);
    assert_eq!(edit(3).await.unwrap_err().code, ErrorCode::PreconditionFailed);
}

fn two_configurations(settings: &mut HubSettings) {
    settings.limits.configurations.count = 2;
    settings.limits.configurations.bytes = 2000;
    settings.limits.configurations.metrics = 1;
}

#[tokio::test(start_paused = true)]
async fn limits_and_invalid_configurations_are_refused_with_a_reason() {
    let test = TestHub::start_with(two_configurations).await;
    let code = |result: Result<Configuration, HubError>| result.unwrap_err().code;
    let valid = || for_devices("*", 1, json!({ "a": 1 }));
    test.put("a", valid()).await.unwrap();
    assert_eq!(code(test.put("a", valid()).await), ErrorCode::ConfigurationAlreadyExists);
    let large = valid().with_label("l", "x".repeat(2000));
    assert_eq!(code(test.put("b", large).await), ErrorCode::MessageTooLarge);
    let metrics = valid().with_metric("m", "select *").with_metric("n", "select *");
    assert_eq!(code(test.put("b", metrics).await), ErrorCode::InvalidConfigurationCustomMetricsQuery);
    let condition = valid().with_target_condition("properties.desired.a = 1");
    assert_eq!(code(test.put("b", condition).await), ErrorCode::InvalidConfigurationTargetCondition);
    let modules = Configuration::new(
        "",
        ConfigurationContent::for_modules(object(json!({ "properties.desired.a": 1 }))),
    );
    assert_eq!(
        code(test.put("b", modules.with_target_condition("*")).await),
        ErrorCode::InvalidConfigurationTargetCondition
    );
    assert_eq!(code(test.put("b", Configuration::default()).await), ErrorCode::InvalidConfigurationContent);
    assert_eq!(code(test.put("b", valid().with_priority(-1)).await), ErrorCode::ArgumentInvalid);
    assert_eq!(
        code(test.put("b", Configuration { id: "x".to_owned(), ..valid() }).await),
        ErrorCode::ArgumentInvalid
    );
    test.put("b", valid().with_metric("m", "select *")).await.unwrap();
    assert_eq!(code(test.put("c", valid()).await), ErrorCode::ConfigurationCountLimitExceeded);
    let service = test.service().await;
    let other = for_devices("*", 1, json!({ "a": 2 }));
    let changed = service.put_configuration(&configuration_id("a"), other, Some(IfMatch::Any)).await;
    assert_eq!(code(changed), ErrorCode::CannotModifyImmutableConfigurationContent);
    let unknown = service.put_configuration(&configuration_id("c"), valid(), Some(IfMatch::Any)).await;
    assert_eq!(code(unknown), ErrorCode::ConfigurationNotFound);
    assert_eq!(
        code(service.get_configuration(&configuration_id("c")).await),
        ErrorCode::ConfigurationNotFound
    );
    let gone = service.delete_configuration(&configuration_id("c"), &IfMatch::Any).await;
    assert_eq!(gone.unwrap_err().code, ErrorCode::ConfigurationNotFound);
    assert_eq!(service.list_configurations(100).await.unwrap().len(), 2);
    assert_eq!(service.list_configurations(1).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_counted_when_a_configuration_is_read() {
    let test = start().await;
    for device in ["a", "b", "c"] {
        test.create(device).await;
    }
    test.tag("a", json!({ "t": 1 })).await;
    test.tag("b", json!({ "t": 1 })).await;
    let configuration = for_devices("tags.t = 1", 1, json!({ "x": 1 }))
        .with_metric("others", "SELECT deviceId FROM devices WHERE NOT IS_DEFINED(tags.t)")
        .with_metric("groups", "SELECT tags.t, COUNT() AS n FROM devices GROUP BY tags.t")
        .with_metric("broken", "select *");
    let created = test.put("m", configuration).await.unwrap();
    assert!(created.system_metrics.results.is_empty());
    settle().await;
    let service = test.service().await;
    let read = service.get_configuration(&configuration_id("m")).await.unwrap();
    assert_eq!(json!(read.system_metrics.results), json!({ "appliedCount": 2, "targetedCount": 2 }));
    assert_eq!(json!(read.metrics.results), json!({ "others": 1, "groups": 2 }));
    // Results are kept for some seconds.
    test.tag("c", json!({ "t": 1 })).await;
    settle().await;
    let again = service.get_configuration(&configuration_id("m")).await.unwrap();
    assert_eq!(again.system_metrics.results, read.system_metrics.results);
    pass(seconds(10)).await;
    let later = service.list_configurations(100).await.unwrap().remove(0);
    assert_eq!(json!(later.system_metrics.results), json!({ "appliedCount": 3, "targetedCount": 3 }));
    test.put("nothing", for_devices("", 1, json!({ "x": 1 }))).await.unwrap();
    let nothing = service.get_configuration(&configuration_id("nothing")).await.unwrap();
    assert_eq!(
        (nothing.system_metrics.results.len(), nothing.system_metrics.queries["targetedCount"].as_str()),
        (0, "")
    );
}

async fn create_edge_device(test: &TestHub, name: &str) {
    let device: Device = serde_json::from_value(json!({ "capabilities": { "iotEdge": true } })).unwrap();
    test.service().await.put_device(&DeviceId::new(name).unwrap(), &device, None).await.unwrap();
}

fn deployment(modules: Value) -> Configuration {
    let content = serde_json::from_value(json!({ "modulesContent": modules })).unwrap();
    Configuration::new("", content).with_target_condition("*")
}

#[tokio::test(start_paused = true)]
async fn a_deployment_sets_the_modules_of_edge_devices_and_creates_them() {
    let test = start().await;
    create_edge_device(&test, "e").await;
    test.create("leaf").await;
    let agent = json!({ "properties.desired": { "modules": { "m": { "version": "1" } } } });
    let base = json!({ "$edgeAgent": agent, "$edgeHub": { "properties.desired": { "routes": {} } },
        "m": { "properties.desired": { "interval": 5 } } });
    let layer = json!({ "$edgeAgent": { "properties.desired.modules.n": { "version": "2" } } });
    test.put("layer", deployment(layer).with_priority(2)).await.unwrap();
    settle().await;
    assert_eq!(
        test.state("e/$edgeAgent").await,
        (json!({}), json!({ "layer": "Targeted" })),
        "there is no base"
    );
    test.put("base", deployment(base).with_priority(1)).await.unwrap();
    settle().await;
    let statuses = json!({ "base": "Applied", "layer": "Applied" });
    let modules = json!({ "modules": { "m": { "version": "1" }, "n": { "version": "2" } } });
    assert_eq!(test.state("e/$edgeAgent").await, (modules, statuses));
    assert_eq!(test.state("e/m").await, (json!({ "interval": 5 }), json!({})));
    assert_eq!(test.state("leaf").await, (json!({}), json!({})));
    let service = test.service().await;
    let listed = service.list_modules(&DeviceId::new("e").unwrap()).await.unwrap();
    let module = listed.iter().find(|module| module.module_id == "m").unwrap();
    assert_eq!(module.managed_by.as_deref(), Some("IotEdge"));
    service.delete_configuration(&configuration_id("base"), &IfMatch::Any).await.unwrap();
    settle().await;
    assert_eq!(test.state("e/$edgeAgent").await, (json!({}), json!({ "layer": "Targeted" })));
    assert_eq!(test.state("e/m").await, (json!({}), json!({})));
}

#[tokio::test(start_paused = true)]
async fn content_is_applied_to_one_edge_device_until_a_deployment_overrides_it() {
    let test = start().await;
    create_edge_device(&test, "e").await;
    test.create("leaf").await;
    let service = test.service().await;
    let apply = async |device: &str, content: Value| {
        let content = serde_json::from_value(content).unwrap();
        service.apply_configuration_content(&DeviceId::new(device).unwrap(), &content).await
    };
    let modules = json!({ "modulesContent": { "$edgeAgent": { "properties.desired": { "modules": {} } },
        "m": { "properties.desired": { "a": 1 } } } });
    apply("e", modules.clone()).await.unwrap();
    settle().await;
    assert_eq!(test.state("e/$edgeAgent").await, (json!({ "modules": {} }), json!({})));
    assert_eq!(test.state("e/m").await, (json!({ "a": 1 }), json!({})));
    apply("e", json!({ "modulesContent": { "m": { "properties.desired": { "b": 2 } } } })).await.unwrap();
    assert_eq!(test.state("e/m").await.0, json!({ "b": 2 }), "all its properties are replaced");
    for (device, content, code) in [
        ("nobody", modules.clone(), ErrorCode::DeviceNotFound),
        ("leaf", modules.clone(), ErrorCode::InvalidConfigurationContent),
        (
            "leaf",
            json!({ "deviceContent": { "properties.desired.a": 1 } }),
            ErrorCode::InvalidConfigurationContent,
        ),
        (
            "e",
            json!({ "deviceContent": { "properties.desired.a": 1 } }),
            ErrorCode::InvalidConfigurationContent,
        ),
        ("e", json!({}), ErrorCode::InvalidConfigurationContent),
    ] {
        assert_eq!(apply(device, content.clone()).await.unwrap_err().code, code, "{device}: {content}");
    }
    let base = json!({ "$edgeAgent": { "properties.desired": { "modules": { "m": {} } } } });
    test.put("base", deployment(base)).await.unwrap();
    settle().await;
    apply("e", modules.clone()).await.unwrap();
    settle().await;
    assert_eq!(
        test.state("e/$edgeAgent").await,
        (json!({ "modules": { "m": {} } }), json!({ "base": "Applied" }))
    );
    // Of two requests at the same time, one is refused.
    let content = serde_json::from_value(modules).unwrap();
    let device = DeviceId::new("e").unwrap();
    let (first, second) = tokio::join!(
        service.apply_configuration_content(&device, &content),
        service.apply_configuration_content(&device, &content)
    );
    let failed: Vec<_> =
        [first, second].into_iter().filter_map(Result::err).map(|error| error.code).collect();
    assert_eq!(failed, [ErrorCode::ApplyConfigurationAlreadyInProgressOnDevice]);
    apply("e", serde_json::to_value(&content).unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn queries_are_tested() {
    let test = TestHub::start().await;
    let request = |value: Value| serde_json::from_value::<ConfigurationQueries>(value).unwrap();
    let service = test.service().await;
    let check = async |value| json!(service.test_configuration_queries(&request(value)).await.unwrap());
    let valid =
        json!({ "targetCondition": "tags.a = 1", "customMetricQueries": { "m": "SELECT * FROM devices" } });
    assert_eq!(check(valid).await, json!({}));
    assert_eq!(check(json!({ "targetCondition": "FROM devices.modules WHERE tags.a = 1" })).await, json!({}));
    let wrong = json!({ "targetCondition": "tags.a =", "customMetricQueries": { "good": "SELECT * FROM devices",
        "bad": "SELECT *" } });
    let errors = check(wrong).await;
    assert!(errors["targetConditionError"].as_str().unwrap().contains("column"), "{errors}");
    assert_eq!(errors["customMetricQueryErrors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["bad"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_changes_nothing_of_the_order() {
    let test = start().await;
    test.create("d").await;
    test.put("first", for_devices("*", 1, json!({ "a": "first" }))).await.unwrap();
    // What a hub whose clock was set back stores: the second one seems to be older.
    let second = Configuration {
        created_time_utc: Some(Timestamp::from_unix_seconds(0)),
        last_updated_time_utc: Some(Timestamp::from_unix_seconds(0)),
        ..for_devices("*", 1, json!({ "a": "second" }))
    };
    test.store.create_configuration(&configuration_id("second"), &second, 100).await.unwrap();
    let test = test.crash().await;
    test.apply_configurations();
    settle().await;
    assert_eq!(test.state("d").await.0, json!({ "a": "second" }));
    assert!(test.service().await.may(Operation::ListConfigurations));
}
