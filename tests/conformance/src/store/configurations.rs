//! Configurations, and the twins that they are applied to.

use ferrohub_core::configurations::{
    ConfigurationId, CreateConfigurationOutcome, DeviceTwins, DeviceTwinsRequest, StoredConfiguration,
    WriteConfigurationOutcome,
};
use ferrohub_core::store::Store;
use ferrohub_core::twins::{Configured, TwinDocument};
use ferrohub_model::configuration::{
    Configuration, ConfigurationContent, ConfigurationStatus, Settings, TwinConfiguration,
};
use ferrohub_model::{DeviceId, Timestamp};

use super::OpenStore;
use crate::changes::{change_twin, create, delete};
use crate::samples::{id, identity};

fn configuration_id(text: &str) -> ConfigurationId {
    ConfigurationId::parse(text).unwrap()
}

/// A configuration with every stored member set to a value other than its default.
fn configuration(priority: i64) -> Configuration {
    let settings =
        Settings::from_iter([("properties.desired.a\"b".to_owned(), serde_json::json!({ "x": 28.02 }))]);
    let mut configuration = Configuration::new("", ConfigurationContent::for_devices(settings))
        .with_target_condition("tags.a = 'it''s'")
        .with_priority(priority)
        .with_label("é", "\"")
        .with_metric("m", "select *");
    configuration.content_type = Some("assignment".to_owned());
    configuration.created_time_utc = Some(Timestamp::from_unix_millis(1_700_000_000_123));
    configuration.last_updated_time_utc = Some(Timestamp::from_unix_millis(1_800_000_000_000));
    configuration
}

async fn created(store: &dyn Store, id: &str, priority: i64) -> StoredConfiguration {
    match store.create_configuration(&configuration_id(id), &configuration(priority), 9).await.unwrap() {
        CreateConfigurationOutcome::Created(created) => *created,
        other => panic!("{other:?}"),
    }
}

pub async fn configurations_are_read_back_in_the_order_of_their_ids(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let (second, first) = (created(store, "b", 1).await, created(store, "a", 2).await);
    assert_eq!((&second.configuration, second.id.as_str()), (&configuration(1), "b"));
    assert!(second.number < first.number && second.revision < first.revision);
    assert_eq!(store.configurations().await.unwrap(), [first, second]);
    let again = store.create_configuration(&configuration_id("a"), &configuration(3), 9).await.unwrap();
    assert_eq!(again, CreateConfigurationOutcome::Exists);
    let more = store.create_configuration(&configuration_id("c"), &configuration(3), 2).await.unwrap();
    assert_eq!(more, CreateConfigurationOutcome::Full);
    assert_eq!(store.configurations().await.unwrap().len(), 2);
}

pub async fn a_configuration_is_written_only_at_the_expected_revision(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let (id, first) = (configuration_id("a"), created(store, "a", 1).await);
    let update = async |revision| store.update_configuration(&id, revision, &configuration(5)).await.unwrap();
    assert_eq!(update(first.revision + 1).await, WriteConfigurationOutcome::Changed);
    let WriteConfigurationOutcome::Written(second) = update(first.revision).await else {
        panic!("not written")
    };
    assert_eq!((second.number, second.configuration.priority), (first.number, Some(5)));
    assert!(second.revision > first.revision);
    assert_eq!(update(first.revision).await, WriteConfigurationOutcome::Changed);
    assert_eq!(store.configurations().await.unwrap(), [(*second).clone()]);
    let remove = async |revision| store.delete_configuration(&id, revision).await.unwrap();
    assert_eq!(remove(Some(first.revision)).await, WriteConfigurationOutcome::Changed);
    assert_eq!(remove(None).await, WriteConfigurationOutcome::Written(second.clone()));
    assert_eq!(remove(None).await, WriteConfigurationOutcome::NotFound);
    assert_eq!(update(second.revision).await, WriteConfigurationOutcome::NotFound);
    // An editor that has read the deleted one does not change its successor.
    let third = created(store, "a", 1).await;
    assert!(third.revision > second.revision && third.number > second.number);
    let again = store.create_configuration(&id, &configuration(1), 9).await.unwrap();
    assert_eq!(again, CreateConfigurationOutcome::Exists);
}

fn configured(text: &str) -> Configured {
    let status = TwinConfiguration { status: ConfigurationStatus::Applied };
    Configured {
        configurations: [(text.to_owned(), status)].into(),
        paths: [(String::new(), text.to_owned()), ("a\"b.c".to_owned(), text.to_owned())].into(),
    }
}

fn names(read: &[DeviceTwins]) -> Vec<Vec<&str>> {
    read.iter().map(|twins| twins.iter().map(|(identity, _)| identity.id.as_str()).collect()).collect()
}

async fn read(
    store: &dyn Store,
    after: Option<&str>,
    devices: usize,
    only_configured: bool,
) -> Vec<DeviceTwins> {
    let after = after.map(|after| DeviceId::new(after).unwrap());
    store.twins_of_devices(&DeviceTwinsRequest { after, devices, only_configured }).await.unwrap()
}

pub async fn devices_are_read_with_their_modules_and_twins(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    for name in ["b", "a", "b-1", "c", "b/z", "b/m", "c/m"] {
        create(store, &identity(name), 10).await.unwrap();
    }
    for name in ["b/m", "c"] {
        let set = |twin: &TwinDocument| Ok(TwinDocument { configured: configured("x"), ..twin.clone() });
        change_twin(store, &id(name), Box::new(set)).await.unwrap();
    }
    assert_eq!(
        names(&read(store, None, 9, false).await),
        [vec!["a"], vec!["b", "b/m", "b/z"], vec!["b-1"], vec!["c", "c/m"]]
    );
    assert_eq!(names(&read(store, Some("a"), 2, false).await), [vec!["b", "b/m", "b/z"], vec!["b-1"]]);
    assert!(read(store, Some("c"), 9, false).await.is_empty());
    let only = read(store, None, 9, true).await;
    assert_eq!(names(&only), [vec!["b", "b/m", "b/z"], vec!["c", "c/m"]]);
    assert_eq!(names(&read(store, Some("b"), 9, true).await), [vec!["c", "c/m"]]);
    assert_eq!(only[0][1].1.configured, configured("x"));
    assert!(only[0][0].1.configured.is_empty());
    let one = store.device_twins(&DeviceId::new("b").unwrap()).await.unwrap();
    assert_eq!(one, only[0]);
    assert!(store.device_twins(&DeviceId::new("nobody").unwrap()).await.unwrap().is_empty());
    let (_, twin) = store.twin(&id("c")).await.unwrap().unwrap();
    assert_eq!(twin.configured, configured("x"));
    change_twin(store, &id("c"), Box::new(|_| Ok(TwinDocument::default()))).await.unwrap();
    delete(store, &id("b"), None).await.unwrap();
    assert!(read(store, None, 9, true).await.is_empty());
}

pub async fn the_position_of_a_sweep_is_kept(open: impl OpenStore) {
    let store = open().await;
    assert_eq!(store.sweep_position().await.unwrap(), None);
    let device = DeviceId::new("d").unwrap();
    store.save_sweep_position(Some(&device)).await.unwrap();
    assert_eq!(store.sweep_position().await.unwrap(), Some(device));
    store.save_sweep_position(None).await.unwrap();
    assert_eq!(store.sweep_position().await.unwrap(), None);
}
