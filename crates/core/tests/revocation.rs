//! Revoked credentials: no connection outlives its credential, not even one that is made at the same time.
//!
//! A connect authenticates and then enters the connection table. A revocation between the two does not find it there.
//! The clock of these tests stops a connect at exactly that point.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends by panicking")]

#[path = "../../bus/tests/bus/loopback.rs"]
mod loopback;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc;

use ferrohub_bus::LocalBus;
use ferrohub_core::auth::{Authority, PeerCertificate};
use ferrohub_core::bus::Bus;
use ferrohub_core::clock::Clock;
use ferrohub_core::connections::{ConnectRefusal, ConnectRequest, RenewalError};
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::{Connection, Connections};
use ferrohub_core::policies::{Policy, PolicyKey, PolicySource};
use ferrohub_core::registry::IfMatch;
use ferrohub_core::telemetry::EventSettings;
use ferrohub_core::{ConnectedDevice, Credentials, Hub, HubPorts, HubSettings, Operation, ServiceCaller};
use ferrohub_memory::{MemoryEventLog, MemoryStore};
use ferrohub_model::{DeviceId, IdentityId, KeyChange, ModuleId, Rights, SharedAccessKey, Timestamp, sas};
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use loopback::LoopbackBus;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);
const EXPIRY: Timestamp = Timestamp::from_unix_seconds(1_700_003_600);
const HOST: &str = "hub.example";

tokio::task_local! {
    /// Stops the task between the authentication and the entry into the connection table.
    static PAUSE: Pause;
}

/// A connect reads the clock to authenticate, and again when it has authenticated.
const READS_BEFORE_PAUSE: u32 = 1;

struct Pause {
    reads: Cell<u32>,
    reached: Cell<Option<oneshot::Sender<()>>>,
    resume: mpsc::Receiver<()>,
}

struct PausingClock;

impl Clock for PausingClock {
    fn now(&self) -> Timestamp {
        let _ = PAUSE.try_with(|pause| {
            let reads = pause.reads.replace(pause.reads.get() + 1);
            if reads == READS_BEFORE_PAUSE {
                let _ = pause.reached.take().unwrap().send(());
                tokio::task::block_in_place(|| pause.resume.recv().unwrap());
            }
        });
        NOW
    }
}

/// How a client authenticates.
#[derive(Debug, Clone)]
enum Proof {
    Token(String),
    Certificate(PeerCertificate),
}

/// A hub with a device `d` that has a module `m`, and devices with certificates: `signed` by a CA, `listed` by thumbprint.
struct World {
    /// The node to which clients connect.
    hub: Arc<Hub>,
    /// A service with every right, on the node that services use.
    owner: ServiceCaller,
    connections: Arc<Connections>,
    signed: CertificateDer<'static>,
    listed: CertificateDer<'static>,
}

/// Returns a new certificate of this name, self-signed if there is no issuer.
fn certificate(name: &str, issuer: Option<&CertifiedIssuer<'_, KeyPair>>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    certificate.der().clone()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn module(name: &str) -> ModuleId {
    ModuleId::new(name).unwrap()
}

fn id(text: &str) -> IdentityId {
    IdentityId::parse(text).unwrap()
}

/// How many nodes a hub has. With two, clients connect to one and services use the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    OneNode,
    TwoNodes,
}

impl World {
    async fn new() -> Self {
        Self::of_size(Size::OneNode).await
    }

    async fn of_size(size: Size) -> Self {
        let (store, events) = (Arc::new(MemoryStore::default()), Arc::new(MemoryEventLog::new(4)));
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Fleet Root");
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let owner_key = SharedAccessKey::generate();
        let start = async |node: &str, connections: &Arc<Connections>, bus: Arc<dyn Bus>| {
            let settings = HubSettings {
                host: HOST.to_owned(),
                node: node.to_owned(),
                limits: Limits::default(),
                policies: vec![owner_policy(&owner_key)],
                authorities: vec![Authority::new("fleet", root.der().to_vec(), true, false).unwrap()],
                entra: None,
                events: EventSettings::default(),
            };
            let ports = HubPorts {
                store: store.clone(),
                events: events.clone(),
                bus,
                clock: Arc::new(PausingClock),
                connections: connections.clone(),
                files: None,
                containers: None,
            };
            let metrics = Metrics::register(&mut Registry::default());
            let hub = Hub::start(settings, ports, metrics).await.unwrap();
            let reloading = hub.clone();
            tokio::spawn(async move { reloading.run_reloads().await });
            hub
        };
        let connections = Arc::new(Connections::new(8));
        let (hub, hub_of_services) = match size {
            Size::OneNode => {
                let hub = start("a", &connections, Arc::new(LocalBus::new(connections.clone()))).await;
                (hub.clone(), hub)
            }
            Size::TwoNodes => {
                let other = Arc::new(Connections::new(8));
                let [bus, other_bus] = LoopbackBus::between([connections.clone(), other.clone()]);
                let hub = start("a", &connections, Arc::new(bus)).await;
                (hub, start("b", &other, Arc::new(other_bus)).await)
            }
        };
        let (signed, listed) = (certificate("signed", Some(&root)), certificate("listed", None));
        let token = sas::sign(HOST, &owner_key, Some("owner"), EXPIRY);
        let owner = hub_of_services.authenticate_service(Some(&token), Operation::PutDevice).await.unwrap();
        let world = Self { hub, owner, connections, signed, listed };
        world.put("d", json!({}), None).await;
        world.put("other", json!({}), None).await;
        world.put("signed", json!({ "authentication": { "type": "certificateAuthority" } }), None).await;
        world.put("listed", thumbprint(&world.listed), None).await;
        world.put_module("d", "m", json!({}), None).await;
        world
    }

    async fn put(&self, name: &str, body: Value, if_match: Option<&IfMatch>) {
        let request = serde_json::from_value(with_id(name, body)).unwrap();
        self.owner.put_device(&device(name), &request, if_match).await.unwrap();
    }

    async fn update(&self, name: &str, body: Value) {
        self.put(name, body, Some(&IfMatch::Any)).await;
    }

    async fn put_module(&self, of: &str, name: &str, body: Value, if_match: Option<&IfMatch>) {
        let request = serde_json::from_value(body).unwrap();
        self.owner.put_module(&device(of), &module(name), &request, if_match).await.unwrap();
    }

    /// Returns a token of this identity, signed with the primary key of `signer`.
    async fn token(&self, identity: &str, signer: &str) -> Proof {
        let signer = id(signer);
        let of = device(signer.device_str());
        let authentication = match signer.module_str() {
            None => self.owner.get_device(&of).await.unwrap().authentication,
            Some(name) => self.owner.get_module(&of, &module(name)).await.unwrap().authentication,
        };
        let key = authentication.unwrap().symmetric_key.unwrap().primary_key.unwrap();
        let resource = format!("{HOST}{}", id(identity).resource_path());
        let key = SharedAccessKey::from_base64(&key).unwrap();
        Proof::Token(sas::sign(&resource, &key, None, EXPIRY))
    }

    fn policy_token(&self) -> Proof {
        let key = &self.owner.get_policy("device").unwrap().primary_key;
        Proof::Token(sas::sign(HOST, key, Some("device"), EXPIRY))
    }

    /// Returns the identity's connection, if it is open.
    fn open_connection(&self, identity: &str) -> Option<Arc<Connection>> {
        self.connections.get(&id(identity)).filter(|connection| connection.close_reason().is_none())
    }
}

fn owner_policy(key: &SharedAccessKey) -> Policy {
    Policy {
        name: "owner".into(),
        rights: Rights::ALL,
        primary_key: key.clone(),
        secondary_key: key.clone(),
        source: PolicySource::Configuration,
    }
}

fn of_certificate(certificate: &CertificateDer<'static>) -> Proof {
    Proof::Certificate(PeerCertificate::new(std::slice::from_ref(certificate)).unwrap())
}

fn with_id(name: &str, mut body: Value) -> Value {
    body["deviceId"] = json!(name);
    body
}

fn new_keys() -> Value {
    let [primary, secondary] = [(); 2].map(|()| SharedAccessKey::generate().to_base64());
    let keys = json!({ "primaryKey": primary, "secondaryKey": secondary });
    json!({ "authentication": { "type": "sas", "symmetricKey": keys } })
}

fn thumbprint(certificate: &CertificateDer<'_>) -> Value {
    let thumbprint = ferrohub_core::auth::thumbprint_sha256(certificate);
    json!({ "authentication": { "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": thumbprint } } })
}

async fn connect(hub: &Arc<Hub>, identity: &str, proof: &Proof) -> Result<Arc<Connection>, ConnectRefusal> {
    Ok(connect_device(hub, identity, proof).await?.connection().clone())
}

fn credentials(proof: &Proof) -> Credentials<'_> {
    match proof {
        Proof::Token(token) => Credentials { token: Some(token), certificate: None },
        Proof::Certificate(certificate) => Credentials { token: None, certificate: Some(certificate) },
    }
}

async fn connect_device(
    hub: &Arc<Hub>,
    identity: &str,
    proof: &Proof,
) -> Result<ConnectedDevice, ConnectRefusal> {
    let Credentials { token, certificate } = credentials(proof);
    let request = ConnectRequest {
        id: &id(identity),
        token,
        certificate,
        model_id: None,
        clean_session: true,
        protocol: "test",
        peer: ([127, 0, 0, 1], 1).into(),
    };
    Ok(hub.authenticate_connect(&request).await?.attach().await?.device)
}

/// Everything that ends a connection, and the connection that it ends.
#[derive(Debug, Clone, Copy)]
enum Revocation {
    DeviceKeyRegenerated,
    DeviceKeysReplaced,
    DeviceDisabled,
    DeviceDeleted,
    DeviceRecreated,
    DeviceTypeChanged,
    ModuleKeyRegenerated,
    ModuleKeysReplaced,
    ModuleDeleted,
    ModuleDisabledWithDevice,
    ModuleDeletedWithDevice,
    KeyOfModulesDeviceRegenerated,
    KeysOfModulesDeviceReplaced,
    TypeOfModulesDeviceChanged,
    ModulesDeviceDisabled,
    ModulesDeviceDeleted,
    ModuleTypeChanged,
    PolicyKeyRegenerated,
    AuthorityRemoved,
    ThumbprintChanged,
    HubStopped,
}

use Revocation::*;

const ALL: [Revocation; 21] = [
    DeviceKeyRegenerated,
    DeviceKeysReplaced,
    DeviceDisabled,
    DeviceDeleted,
    DeviceRecreated,
    DeviceTypeChanged,
    ModuleKeyRegenerated,
    ModuleKeysReplaced,
    ModuleDeleted,
    ModuleDisabledWithDevice,
    ModuleDeletedWithDevice,
    KeyOfModulesDeviceRegenerated,
    KeysOfModulesDeviceReplaced,
    TypeOfModulesDeviceChanged,
    ModulesDeviceDisabled,
    ModulesDeviceDeleted,
    ModuleTypeChanged,
    PolicyKeyRegenerated,
    AuthorityRemoved,
    ThumbprintChanged,
    HubStopped,
];

/// Returns each revocation with each size of a hub.
fn cases() -> impl Iterator<Item = (Size, Revocation)> {
    [Size::OneNode, Size::TwoNodes].into_iter().flat_map(|size| ALL.map(|revocation| (size, revocation)))
}

impl Revocation {
    /// Returns the identity that connects, and its credential.
    async fn client(self, world: &World) -> (&'static str, Proof) {
        match self {
            DeviceKeyRegenerated | DeviceKeysReplaced | DeviceDisabled | DeviceDeleted | DeviceRecreated
            | DeviceTypeChanged | HubStopped => ("d", world.token("d", "d").await),
            ModuleKeyRegenerated
            | ModuleKeysReplaced
            | ModuleDeleted
            | ModuleDisabledWithDevice
            | ModuleDeletedWithDevice => ("d/m", world.token("d/m", "d/m").await),
            KeyOfModulesDeviceRegenerated
            | KeysOfModulesDeviceReplaced
            | TypeOfModulesDeviceChanged
            | ModulesDeviceDisabled
            | ModulesDeviceDeleted
            | ModuleTypeChanged => ("d/m", world.token("d/m", "d").await),
            PolicyKeyRegenerated => ("d", world.policy_token()),
            AuthorityRemoved => ("signed", of_certificate(&world.signed)),
            ThumbprintChanged => ("listed", of_certificate(&world.listed)),
        }
    }

    async fn run(self, world: &World) {
        let (owner, d, m) = (&world.owner, device("d"), module("m"));
        let by_certificate = json!({ "authentication": { "type": "certificateAuthority" } });
        match self {
            DeviceKeyRegenerated | KeyOfModulesDeviceRegenerated => {
                owner.regenerate_device_key(&d, KeyChange::Primary, &IfMatch::Any).await.map(drop).unwrap();
            }
            DeviceKeysReplaced | KeysOfModulesDeviceReplaced => world.update("d", new_keys()).await,
            DeviceDisabled | ModuleDisabledWithDevice | ModulesDeviceDisabled => {
                world.update("d", json!({ "status": "disabled" })).await;
            }
            DeviceDeleted | ModuleDeletedWithDevice | ModulesDeviceDeleted => {
                owner.delete_device(&d, &IfMatch::Any).await.unwrap();
            }
            DeviceRecreated => {
                let keys = owner.get_device(&d).await.unwrap().authentication;
                owner.delete_device(&d, &IfMatch::Any).await.unwrap();
                world.put("d", json!({ "authentication": keys }), None).await;
            }
            DeviceTypeChanged | TypeOfModulesDeviceChanged => world.update("d", by_certificate).await,
            ModuleKeyRegenerated => {
                owner
                    .regenerate_module_key(&d, &m, KeyChange::Primary, &IfMatch::Any)
                    .await
                    .map(drop)
                    .unwrap();
            }
            ModuleKeysReplaced => world.put_module("d", "m", new_keys(), Some(&IfMatch::Any)).await,
            ModuleTypeChanged => world.put_module("d", "m", by_certificate, Some(&IfMatch::Any)).await,
            ModuleDeleted => owner.delete_module(&d, &m, &IfMatch::Any).await.unwrap(),
            PolicyKeyRegenerated => {
                owner.regenerate_policy_key("device", PolicyKey::Primary).await.map(drop).unwrap();
            }
            AuthorityRemoved => owner.remove_authority("fleet").await.unwrap(),
            ThumbprintChanged => {
                world.update("listed", thumbprint(&certificate("listed", None))).await;
            }
            HubStopped => world.hub.drain().await,
        }
    }
}

/// Connects, and runs `meanwhile` when the client has authenticated and is not in the connection table yet.
async fn connect_during(
    world: &World,
    identity: &'static str,
    proof: Proof,
    meanwhile: impl Future<Output = ()>,
) -> Result<Arc<Connection>, ConnectRefusal> {
    let ((reached, is_reached), (resume, resumed)) = (oneshot::channel(), mpsc::sync_channel(1));
    let pause = Pause { reads: Cell::new(0), reached: Cell::new(Some(reached)), resume: resumed };
    let hub = world.hub.clone();
    let connecting = tokio::spawn(PAUSE.scope(pause, async move { connect(&hub, identity, &proof).await }));
    is_reached.await.expect("the client authenticates");
    assert!(world.open_connection(identity).is_none());
    meanwhile.await;
    resume.send(()).unwrap();
    connecting.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_credential_that_is_revoked_during_a_connect_does_not_connect() {
    for (size, revocation) in cases() {
        let world = World::of_size(size).await;
        let (identity, proof) = revocation.client(&world).await;
        let result = connect_during(&world, identity, proof, revocation.run(&world)).await;
        assert!(result.is_err(), "{revocation:?}, {size:?}");
        assert!(world.open_connection(identity).is_none(), "{revocation:?}, {size:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_credential_that_is_revoked_after_a_connect_ends_the_connection() {
    for (size, revocation) in cases() {
        let world = World::of_size(size).await;
        let (identity, proof) = revocation.client(&world).await;
        let connection = connect(&world.hub, identity, &proof).await.unwrap();
        revocation.run(&world).await;
        assert!(connection.close_reason().is_some(), "{revocation:?}, {size:?}");
        let accepted_again = connect(&world.hub, identity, &proof).await.is_ok();
        assert_eq!(accepted_again, matches!(revocation, DeviceRecreated), "{revocation:?}, {size:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_revocation_of_another_credential_does_not_disturb_a_connect() {
    for (identity, signer, revocation) in [
        ("d", "d", ModuleKeyRegenerated),
        ("d", "d", PolicyKeyRegenerated),
        ("d", "d", AuthorityRemoved),
        ("d/m", "d/m", DeviceKeyRegenerated),
        ("d/m", "d", ModuleKeyRegenerated),
        ("other", "other", DeviceDeleted),
    ] {
        let world = World::new().await;
        let proof = world.token(identity, signer).await;
        let result = connect_during(&world, identity, proof.clone(), revocation.run(&world)).await;
        let connection = result.expect("the credential is still valid");
        assert_eq!(connection.close_reason(), None, "{identity} {revocation:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_module_with_its_own_key_stays_connected_when_the_key_of_its_device_is_regenerated() {
    let world = World::new().await;
    let own = connect(&world.hub, "d/m", &world.token("d/m", "d/m").await).await.unwrap();
    DeviceKeyRegenerated.run(&world).await;
    assert_eq!(own.close_reason(), None);
    let of_device = connect(&world.hub, "d/m", &world.token("d/m", "d").await).await.unwrap();
    ModuleKeyRegenerated.run(&world).await;
    assert_eq!(of_device.close_reason(), None, "the key of the device is still valid");
    world.update("d", json!({ "statusReason": "any" })).await;
    assert_eq!(of_device.close_reason(), None);
    KeyOfModulesDeviceRegenerated.run(&world).await;
    assert!(of_device.close_reason().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_module_may_use_its_devices_key_unless_it_authenticates_with_certificates() {
    let world = World::new().await;
    let proof = world.token("d/m", "d").await;
    let of_other = world.token("d/m", "other").await;
    assert!(connect(&world.hub, "d/m", &of_other).await.is_err(), "the key of another device");
    let own = world.token("d", "d/m").await;
    assert!(connect(&world.hub, "d", &own).await.is_err(), "a device with the key of its module");
    for (authentication, accepted) in [
        (json!({ "type": "none" }), true),
        (json!({ "type": "certificateAuthority" }), false),
        (thumbprint(&world.listed)["authentication"].clone(), false),
        (json!({ "type": "sas" }), true),
    ] {
        let body = json!({ "authentication": authentication });
        world.put_module("d", "m", body, Some(&IfMatch::Any)).await;
        assert_eq!(connect(&world.hub, "d/m", &proof).await.is_ok(), accepted, "{authentication}");
    }
    world.put_module("listed", "m", json!({}), None).await;
    let certificate = of_certificate(&world.listed);
    assert!(connect(&world.hub, "listed/m", &certificate).await.is_err(), "the certificate of the device");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_accepts_the_credentials_that_were_added_on_another() {
    let world = World::of_size(Size::TwoNodes).await;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Second Root");
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let proof = of_certificate(&certificate("signed", Some(&root)));
    assert!(connect(&world.hub, "signed", &proof).await.is_err());
    world.owner.add_authority("second", root.der().to_vec()).await.unwrap();
    let code = world.owner.challenge_authority("second").await.unwrap();
    world.owner.verify_authority("second", &certificate(&code, Some(&root))).await.unwrap();
    assert!(connect(&world.hub, "signed", &proof).await.is_ok());

    PolicyKeyRegenerated.run(&world).await;
    let connection = connect(&world.hub, "d", &world.policy_token()).await.unwrap();
    world.owner.regenerate_policy_key("service", PolicyKey::Primary).await.unwrap();
    assert_eq!(connection.close_reason(), None, "its policy is the same");
}

/// Many clients connect while their credential is revoked, before it and after it: none is connected in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_connection_survives_a_race_with_a_revocation() {
    const MODULES: usize = 12;
    const ROUNDS: usize = 25;
    for size in [Size::OneNode, Size::TwoNodes] {
        let world = Arc::new(World::of_size(size).await);
        let modules: Vec<String> = (0..MODULES).map(|number| format!("d/m{number}")).collect();
        for name in &modules {
            world.put_module("d", name.strip_prefix("d/").unwrap(), json!({}), None).await;
        }
        for round in 0..ROUNDS {
            for revocation in
                [PolicyKeyRegenerated, KeyOfModulesDeviceRegenerated, KeysOfModulesDeviceReplaced]
            {
                let mut connects = Vec::new();
                for name in &modules {
                    let proof = match revocation {
                        PolicyKeyRegenerated => world.policy_token(),
                        _ => world.token(name, "d").await,
                    };
                    let (world, name) = (world.clone(), name.clone());
                    connects.push(async move { drop(connect(&world.hub, &name, &proof).await) });
                }
                let mut tasks = JoinSet::new();
                for (number, connect) in connects.into_iter().enumerate() {
                    if number == round % MODULES {
                        let world = world.clone();
                        tasks.spawn(async move { revocation.run(&world).await });
                    }
                    tasks.spawn(connect);
                }
                tasks.join_all().await;
                for name in &modules {
                    assert!(
                        world.open_connection(name).is_none(),
                        "round {round}, {revocation:?}, {name}, {size:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_with_a_renewed_credential_ends_with_the_new_one() {
    let world = World::new().await;
    let device = connect_device(&world.hub, "d", &world.policy_token()).await.unwrap();
    let is_open = || device.connection().close_reason().is_none();
    let own = world.token("d", "d").await;
    assert_eq!(device.renew(credentials(&own)).await.unwrap(), EXPIRY);
    PolicyKeyRegenerated.run(&world).await;
    assert!(is_open(), "the old credential does not matter any more");
    // What is not valid for this device changes nothing.
    let wrong_key = sas::sign(&format!("{HOST}/devices/d"), &SharedAccessKey::generate(), None, EXPIRY);
    for wrong in [world.token("other", "other").await, Proof::Token(wrong_key), of_certificate(&world.listed)]
    {
        let refused = device.renew(credentials(&wrong)).await;
        assert!(matches!(refused, Err(RenewalError::NotAuthorized(_))), "{refused:?}");
        assert!(is_open());
    }
    DeviceKeyRegenerated.run(&world).await;
    assert!(!is_open(), "the new credential was revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_a_deleted_device_cannot_renew_its_credential_with_that_of_its_successor() {
    let world = World::new().await;
    let device = connect_device(&world.hub, "d", &world.token("d", "d").await).await.unwrap();
    DeviceRecreated.run(&world).await;
    let successor = world.token("d", "d").await;
    assert!(connect(&world.hub, "d", &successor).await.is_ok());
    assert!(device.renew(credentials(&successor)).await.is_err());
}

/// A renewal and the revocation of the new credential at the same time: the connection does not survive.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_connection_survives_a_race_of_its_renewal_with_a_revocation() {
    let world = World::new().await;
    for round in 0..200 {
        let device = connect_device(&world.hub, "d", &world.policy_token()).await.unwrap();
        let own = world.token("d", "d").await;
        let renewing = device.clone();
        let renewal = tokio::spawn(async move { renewing.renew(credentials(&own)).await.is_ok() });
        DeviceKeyRegenerated.run(&world).await;
        let renewed = renewal.await.unwrap();
        assert!(!renewed || device.connection().close_reason().is_some(), "round {round}");
    }
}
