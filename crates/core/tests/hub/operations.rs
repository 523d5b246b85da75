//! Every operation of the hub is refused to callers that lack the right, and changes nothing then.
//!
//! The tests walk the table of operations. Each function `call_…` has one arm per operation, so an operation that is added
//! does not compile until it is called here.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::cloud_to_device::Settlement;
use ferrohub_core::configurations::ConfigurationId;
use ferrohub_core::digital_twins::CommandCall;
use ferrohub_core::files::{
    BlobError, BlobFolder as _, BlobOperationError, ByteStream, Condition, PutOptions,
};
use ferrohub_core::jobs::{JobFilter, JobWork, NewJob};
use ferrohub_core::methods::MethodCall;
use ferrohub_core::node::RequestId;
use ferrohub_core::operations::Identities;
use ferrohub_core::policies::PolicyKey;
use ferrohub_core::queries::QueryRequest;
use ferrohub_core::registry::{DeviceFilter, IfMatch};
use ferrohub_core::store::Store;
use ferrohub_core::telemetry::{DeviceMessage, EventProperties, ReadRequest, StartPosition};
use ferrohub_core::{
    BlobCaller, BlobDenied, ConnectedDevice, Credentials, DeviceCaller, Hub, HubSettings, Operation,
    ServiceCaller,
};
use ferrohub_model::blob_sas::{self, BlobAddress, BlobRight, BlobRights};
use ferrohub_model::bulk::{BulkKeyRequest, KeyOwner, RenewedKey};
use ferrohub_model::configuration::{Configuration, ConfigurationQueries};
use ferrohub_model::digital_twin::{CommandName, DigitalTwinPatch};
use ferrohub_model::fault::{FaultKind, FaultRequest};
use ferrohub_model::file::{BlobName, FileUploadOutcome, FileUploadRequest};
use ferrohub_model::import_export::{ContainerUrlRequest, ImportExportRequest};
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::method::MethodName;
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId, JobId, KeyChange, ModuleId, Right, sas};
use serde_json::{Value, json};

use crate::test_hub::{EXPIRY, HOST, TestHub, id, key, policy};

/// The device that exists, and an id that does not: operations on it fail without a change.
const DEVICE: &str = "d";
const NOBODY: &str = "nobody";

fn configuration_id(name: &str) -> ConfigurationId {
    ConfigurationId::parse(name).unwrap()
}

fn configuration() -> Configuration {
    let content = json!({ "deviceContent": { "properties.desired.a": 1 } });
    Configuration::new("", serde_json::from_value(content).unwrap())
}

/// The name of the policy with these rights.
fn policy_name(rights: &[Right]) -> String {
    rights.iter().map(|right| right.name()).collect::<Vec<_>>().join("+")
}

/// All sets of rights.
fn sets_of_rights() -> Vec<Vec<Right>> {
    let pick = |set: usize| {
        let with_bit = Right::ALL.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0);
        with_bit.map(|(_, right)| *right).collect()
    };
    (0..1 << Right::ALL.len()).map(pick).collect()
}

/// A hub with a policy for every set of rights, a device `d` with a module `m`, and a folder for files.
struct World {
    test: TestHub,
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    owner: ServiceCaller,
}

fn with_all_policies(settings: &mut HubSettings) {
    let sets = sets_of_rights().into_iter().filter(|set| !set.is_empty());
    settings.policies.extend(sets.map(|set| policy(&policy_name(&set), &set)));
    settings.limits.faults = 4;
}

impl World {
    async fn new() -> Self {
        let test = TestHub::start_with(with_all_policies).await;
        test.create(DEVICE).await;
        test.create("d/m").await;
        let (hub, store, owner) = (test.hub.clone(), test.store.clone(), test.service().await);
        owner.put_configuration(&configuration_id(DEVICE), configuration(), None).await.unwrap();
        Self { test, hub, store, owner }
    }

    fn token_of_policy(&self, rights: &[Right]) -> String {
        sas::sign(HOST, &key(), Some(&policy_name(rights)), EXPIRY)
    }

    /// Returns a caller with exactly these rights. `None` if they permit no operation at all.
    async fn service(&self, rights: &[Right]) -> Option<ServiceCaller> {
        let token = self.token_of_policy(rights);
        for operation in Operation::ALL {
            if let Ok(caller) = self.hub.authenticate_service(Some(&token), *operation).await {
                return Some(caller);
            }
        }
        None
    }

    /// Returns the holder of a URL with these rights for the file `f` of the device.
    async fn blob(&self, rights: &[BlobRight]) -> BlobCaller {
        let key = self.store.signing_keys().await.unwrap().remove(0).key;
        let identity = self.store.identity(&id(DEVICE)).await.unwrap().unwrap();
        let account = format!("account/{}", identity.generation_id);
        let name = BlobName::new(DEVICE, "f").unwrap();
        let address = BlobAddress { account: &account, container: "container", blob: name.as_str() };
        let url = blob_sas::sign(address, BlobRights::of(rights), EXPIRY, true, &key);
        let query = url.trim_start_matches('?');
        for operation in Operation::ALL {
            if let Ok(caller) = self.hub.authenticate_blob(query, &name, *operation).await {
                return caller;
            }
        }
        panic!("no operation for {rights:?}");
    }

    /// Returns the holder of a URL with these rights for the blob `f` of the container for import and export.
    async fn container(&self, rights: &[BlobRight]) -> BlobCaller {
        let key = self.store.signing_keys().await.unwrap().remove(0).key;
        let rights = BlobRights::of(rights);
        let url = blob_sas::sign_container("account", "ferrohub-import-export", rights, EXPIRY, true, &key);
        let query = url.trim_start_matches('?');
        let name = BlobName::in_container("f").unwrap();
        for operation in Operation::ALL {
            if let Ok(caller) = self.hub.authenticate_container(query, Some(name.clone()), *operation).await {
                return caller;
            }
        }
        panic!("no operation for {rights:?}");
    }

    /// Returns everything that operations change.
    async fn state(&self) -> String {
        let device = DeviceId::new(DEVICE).unwrap();
        let page = self.owner.list_devices(&DeviceFilter::default(), None, 10).await.unwrap();
        let modules = self.owner.list_modules(&device).await.unwrap();
        let twin = self.owner.get_twin(&id(DEVICE)).await.unwrap();
        let configurations = self.owner.list_configurations(10).await.unwrap();
        let identities: Value = json!([page.devices, page.total, modules, twin, configurations]);
        let policies = self.owner.list_policies().unwrap();
        let authorities = self.owner.list_authorities().unwrap().len();
        let faults = self.owner.list_faults().unwrap();
        let files = self.owner.list_files(None, None, 10).await.unwrap();
        let events = self.owner.get_event_log().await.unwrap();
        let next: Vec<u64> = events.partitions.iter().map(|partition| partition.next).collect();
        let queued = self.store.queued_messages(&id(DEVICE)).await.unwrap().len();
        let jobs = self.owner.list_jobs(&JobFilter::default()).await.unwrap().jobs.len();
        format!("{identities}{policies:?}{authorities}{faults:?}{files:?}{next:?}{queued}{jobs}")
    }
}

type Called = Option<Result<(), HubError>>;

fn done<T>(result: Result<T, HubError>) -> Called {
    Some(result.map(drop))
}

fn message_to(device: &str) -> MessageProperties {
    let mut properties = MessageProperties::default();
    properties.system.insert(SystemProperty::To, format!("/devices/{device}/messages/deviceBound"));
    properties
}

/// A job on a device that does not exist.
fn new_job(id: &str, work: JobWork) -> NewJob {
    let condition = "deviceId = 'nobody'".to_owned();
    NewJob { id: JobId::new(id).unwrap(), work, condition, start: None, max_seconds: 60 }
}

fn method_call() -> MethodCall {
    MethodCall { name: MethodName::new("m").unwrap(), payload: None, response_timeout: 5, connect_timeout: 0 }
}

/// Calls an operation as a service, on this device. `None` if it is no operation of services.
async fn call_as_service(caller: &ServiceCaller, operation: Operation, name: &str) -> Called {
    let (device, module) = (DeviceId::new(name).unwrap(), ModuleId::new("m").unwrap());
    let (identity, any) = (IdentityId::device(&device), IfMatch::Any);
    let change = || serde_json::from_value(json!({ "tags": { "a": 1 } })).unwrap();
    let file = BlobName::new(name, "f").unwrap();
    match operation {
        Operation::ListDevices => done(caller.list_devices(&DeviceFilter::default(), None, 1).await),
        Operation::GetDevice => done(caller.get_device(&device).await),
        Operation::PutDevice => {
            let body = serde_json::from_value(json!({ "deviceId": name, "status": "disabled" })).unwrap();
            done(caller.put_device(&device, &body, Some(&any)).await)
        }
        Operation::ChangeIdentities => {
            let item = json!({ "id": name, "importMode": "update", "status": "disabled" });
            let result = caller.change_identities(vec![item]).await;
            Some(result.map(|result| assert!(name == DEVICE || !result.is_successful)))
        }
        Operation::RegenerateKeys => {
            let owner = KeyOwner { id: name.to_owned(), module_id: None };
            let request = BulkKeyRequest { policy_key: RenewedKey::Primary, devices: vec![owner] };
            done(caller.regenerate_keys(&request).await)
        }
        Operation::DeleteDevice => done(caller.delete_device(&device, &any).await),
        Operation::RegenerateDeviceKey => {
            done(caller.regenerate_device_key(&device, KeyChange::Primary, &any).await)
        }
        Operation::ListModules => done(caller.list_modules(&device).await),
        Operation::GetModule => done(caller.get_module(&device, &module).await),
        Operation::PutModule => {
            let body = serde_json::from_value(json!({})).unwrap();
            done(caller.put_module(&device, &module, &body, Some(&any)).await)
        }
        Operation::DeleteModule => done(caller.delete_module(&device, &module, &any).await),
        Operation::RegenerateModuleKey => {
            done(caller.regenerate_module_key(&device, &module, KeyChange::Primary, &any).await)
        }
        Operation::GetRegistryStatistics => done(caller.get_registry_statistics().await),
        Operation::GetServiceStatistics => done(caller.get_service_statistics().await),
        Operation::GetTwin => done(caller.get_twin(&identity).await),
        Operation::PatchTwin => done(caller.patch_twin(&identity, change(), any).await),
        Operation::PutTwin => done(caller.put_twin(&identity, change(), any).await),
        Operation::GetDigitalTwin => done(caller.get_digital_twin(&device).await),
        Operation::PatchDigitalTwin => {
            let patch = DigitalTwinPatch::new().add("/a", 1).unwrap();
            done(caller.patch_digital_twin(&device, patch, any).await)
        }
        Operation::InvokeCommand => {
            let name = CommandName::of_device("m").unwrap();
            let call = CommandCall { name, payload: None, response_timeout: 5, connect_timeout: 0 };
            done(caller.invoke_command(&device, call).await)
        }
        Operation::QueryTwins => {
            let text = "SELECT * FROM devices WHERE deviceId = 'nobody'".to_owned();
            done(caller.query_twins(QueryRequest { text, ..QueryRequest::default() }).await)
        }
        Operation::ListConfigurations => done(caller.list_configurations(10).await),
        Operation::GetConfiguration => done(caller.get_configuration(&configuration_id(name)).await),
        Operation::PutConfiguration => {
            let changed = configuration().with_priority(1);
            done(caller.put_configuration(&configuration_id(name), changed, Some(any)).await)
        }
        Operation::DeleteConfiguration => {
            done(caller.delete_configuration(&configuration_id(name), &any).await)
        }
        Operation::TestConfigurationQueries => {
            done(caller.test_configuration_queries(&ConfigurationQueries::default()).await)
        }
        Operation::ApplyConfigurationContent => {
            let content = json!({ "modulesContent": { "m": { "properties.desired.a": 1 } } });
            let content = serde_json::from_value(content).unwrap();
            done(caller.apply_configuration_content(&device, &content).await)
        }
        Operation::CreateJob => {
            let work = JobWork::Twin(change());
            done(caller.create_job(new_job(name, work)).await)
        }
        Operation::CreateMethodJob => {
            let work = JobWork::Method(method_call());
            done(caller.create_job(new_job(&format!("{name}-method"), work)).await)
        }
        Operation::GetJob => done(caller.get_job(&JobId::new(name).unwrap()).await),
        Operation::ListJobs => done(caller.list_jobs(&JobFilter::default()).await),
        Operation::CancelJob => done(caller.cancel_job(&JobId::new(name).unwrap()).await),
        Operation::InvokeMethod => done(caller.invoke_method(&identity, method_call()).await),
        Operation::ReadEvents => {
            let request = ReadRequest {
                consumer_group: "$Default",
                from: StartPosition::End,
                partition: None,
                owner_level: None,
            };
            done(caller.read_events(request).await)
        }
        Operation::GetEventLog => done(caller.get_event_log().await),
        Operation::SendMessage => done(caller.send_message(message_to(name), Bytes::new()).await),
        Operation::PurgeMessages => done(caller.purge_messages(&identity).await),
        Operation::ReceiveFeedback => done(caller.receive_feedback().await),
        Operation::CompleteFeedback => done(caller.settle_feedback("t", Settlement::Complete).await),
        Operation::AbandonFeedback => done(caller.settle_feedback("t", Settlement::Abandon).await),
        Operation::ReceiveFileNotification => done(caller.receive_file_notification().await),
        Operation::CompleteFileNotification => done(caller.complete_file_notification("t").await),
        Operation::AbandonFileNotification => done(caller.abandon_file_notification("t").await),
        Operation::ListFiles => done(caller.list_files(None, None, 1).await),
        Operation::GetFile => done(caller.open_file(&file).await),
        Operation::DeleteFile => done(caller.delete_file(&file).await),
        Operation::CreateImportExportJob => {
            done(caller.create_import_export_job(&ImportExportRequest::default()).await)
        }
        Operation::ListImportExportJobs => done(caller.list_import_export_jobs().await),
        Operation::GetImportExportJob => done(caller.get_import_export_job(name).await),
        Operation::CancelImportExportJob => done(caller.cancel_import_export_job(name).await),
        Operation::CreateContainerUrl => done(caller.create_container_url(&ContainerUrlRequest::default())),
        Operation::ListPolicies => done(caller.list_policies()),
        Operation::GetPolicy => done(caller.get_policy("service")),
        Operation::RegeneratePolicyKey => {
            let policy = if name == DEVICE { "service" } else { NOBODY };
            done(caller.regenerate_policy_key(policy, PolicyKey::Primary).await)
        }
        Operation::ListAuthorities => done(caller.list_authorities()),
        Operation::GetAuthority => done(caller.get_authority("a")),
        Operation::PutAuthority => done(caller.add_authority("a", Vec::new()).await),
        Operation::DeleteAuthority => done(caller.remove_authority("a").await),
        Operation::CreateVerificationCode => done(caller.challenge_authority("a").await),
        Operation::VerifyAuthority => done(caller.verify_authority("a", &[]).await),
        Operation::ListFaults => done(caller.list_faults()),
        Operation::AddFault => {
            let mut fault = FaultRequest::new(FaultKind::LoseTelemetry);
            fault.target = Some(name.to_owned());
            fault.duration_seconds = Some(60);
            done(caller.add_fault(fault))
        }
        Operation::RemoveFault => done(caller.remove_fault("9")),
        Operation::ClearFaults => done(caller.clear_faults()),
        Operation::GetOwnTwin
        | Operation::PatchReportedProperties
        | Operation::AnswerMethod
        | Operation::SendEvent
        | Operation::ReceiveMessage
        | Operation::CompleteMessage
        | Operation::AbandonMessage
        | Operation::CreateUpload
        | Operation::CompleteUpload
        | Operation::PutBlob
        | Operation::GetBlob
        | Operation::DeleteBlob
        | Operation::ListBlobs => None,
    }
}

/// Calls an operation as a device or module, over a connection or with a request. `None` if it is no operation of theirs.
async fn call_as_identity(
    caller: &DeviceCaller,
    connected: &ConnectedDevice,
    operation: Operation,
) -> Called {
    let (module, any) = (ModuleId::new("x").unwrap(), IfMatch::Any);
    match operation {
        Operation::ListModules => done(caller.list_own_modules().await),
        Operation::GetModule => done(caller.get_own_module(&module).await),
        Operation::PutModule => {
            let body = serde_json::from_value(json!({})).unwrap();
            done(caller.put_own_module(&module, &body, Some(&any)).await)
        }
        Operation::DeleteModule => done(caller.delete_own_module(&module, &any).await),
        Operation::GetOwnTwin => done(connected.get_own_twin().await),
        Operation::PatchReportedProperties => done(connected.patch_reported(b"[]", None).await),
        Operation::InvokeMethod => done(caller.invoke_method(&id(DEVICE), method_call()).await),
        Operation::AnswerMethod => {
            let _ = connected
                .answer_method(RequestId::parse("1").unwrap(), Err(ferrohub_core::node::CallEnd::TimedOut));
            Some(Ok(()))
        }
        Operation::SendEvent => {
            let message = DeviceMessage { properties: EventProperties::new(), body: vec![0; 1 << 20].into() };
            let too_large = connected.send_events(vec![message.clone()]).await;
            assert_eq!(too_large.unwrap_err().code, ErrorCode::MessageTooLarge);
            done(caller.send_events(vec![message]).await)
        }
        Operation::ReceiveMessage => {
            assert!(connected.message_receiver().is_ok());
            done(caller.receive_message().await)
        }
        Operation::CompleteMessage => done(caller.settle_message("t", Settlement::Complete).await),
        Operation::AbandonMessage => done(caller.settle_message("t", Settlement::Abandon).await),
        Operation::CreateUpload => done(caller.begin_upload(&FileUploadRequest { blob_name: None }).await),
        Operation::CompleteUpload => {
            let outcome = FileUploadOutcome {
                correlation_id: None,
                is_success: true,
                status_code: None,
                status_description: None,
            };
            done(caller.end_upload(&outcome).await)
        }
        Operation::ChangeIdentities
        | Operation::RegenerateKeys
        | Operation::ListDevices
        | Operation::GetDevice
        | Operation::PutDevice
        | Operation::DeleteDevice
        | Operation::RegenerateDeviceKey
        | Operation::RegenerateModuleKey
        | Operation::GetRegistryStatistics
        | Operation::GetServiceStatistics
        | Operation::GetTwin
        | Operation::GetDigitalTwin
        | Operation::PatchDigitalTwin
        | Operation::InvokeCommand
        | Operation::QueryTwins
        | Operation::ListConfigurations
        | Operation::GetConfiguration
        | Operation::PutConfiguration
        | Operation::DeleteConfiguration
        | Operation::TestConfigurationQueries
        | Operation::ApplyConfigurationContent
        | Operation::CreateJob
        | Operation::CreateMethodJob
        | Operation::GetJob
        | Operation::ListJobs
        | Operation::CancelJob
        | Operation::PatchTwin
        | Operation::PutTwin
        | Operation::ReadEvents
        | Operation::GetEventLog
        | Operation::SendMessage
        | Operation::PurgeMessages
        | Operation::ReceiveFeedback
        | Operation::CompleteFeedback
        | Operation::AbandonFeedback
        | Operation::ReceiveFileNotification
        | Operation::CompleteFileNotification
        | Operation::AbandonFileNotification
        | Operation::ListFiles
        | Operation::GetFile
        | Operation::DeleteFile
        | Operation::PutBlob
        | Operation::GetBlob
        | Operation::DeleteBlob
        | Operation::ListBlobs
        | Operation::CreateImportExportJob
        | Operation::ListImportExportJobs
        | Operation::GetImportExportJob
        | Operation::CancelImportExportJob
        | Operation::CreateContainerUrl
        | Operation::ListPolicies
        | Operation::GetPolicy
        | Operation::RegeneratePolicyKey
        | Operation::ListAuthorities
        | Operation::GetAuthority
        | Operation::PutAuthority
        | Operation::DeleteAuthority
        | Operation::CreateVerificationCode
        | Operation::VerifyAuthority
        | Operation::ListFaults
        | Operation::AddFault
        | Operation::RemoveFault
        | Operation::ClearFaults => None,
    }
}

struct NoBytes;

#[async_trait]
impl ByteStream for NoBytes {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        Ok(None)
    }
}

fn is_refused(result: &Result<(), HubError>) -> bool {
    result.as_ref().is_err_and(|error| error.code == ErrorCode::IotHubUnauthorizedAccess)
}

#[tokio::test(start_paused = true)]
async fn a_service_may_use_exactly_the_operations_of_its_rights() {
    let world = World::new().await;
    let before = world.state().await;
    let mut refused = 0;
    let mut callers = Vec::new();
    for rights in sets_of_rights() {
        let permits = |operation: Operation| {
            operation.rights().iter().any(|set| set.iter().all(|right| rights.contains(right)))
        };
        for operation in Operation::ALL {
            let token = world.token_of_policy(&rights);
            let authenticated = world.hub.authenticate_service(Some(&token), *operation).await;
            assert_eq!(authenticated.is_ok(), permits(*operation), "{rights:?} {operation:?}");
        }
        let Some(caller) = world.service(&rights).await else {
            assert!(Operation::ALL.iter().all(|operation| !permits(*operation)), "{rights:?}");
            continue;
        };
        for operation in Operation::ALL.iter().filter(|operation| !permits(**operation)) {
            let Some(result) = call_as_service(&caller, *operation, DEVICE).await else {
                assert!(operation.rights().is_empty(), "{operation:?} has rights and is not called");
                continue;
            };
            assert!(is_refused(&result), "{rights:?} {operation:?}: {result:?}");
            refused += 1;
        }
        callers.push((rights.clone(), caller));
    }
    assert!(refused > 300, "{refused}");
    assert_eq!(world.state().await, before, "what is refused changes nothing");
    for (rights, caller) in callers {
        for operation in Operation::ALL {
            if operation.rights().iter().any(|set| set.iter().all(|right| rights.contains(right))) {
                let result = call_as_service(&caller, *operation, NOBODY).await.unwrap();
                assert!(!is_refused(&result), "{rights:?} {operation:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_or_module_may_use_exactly_the_operations_of_its_kind() {
    let world = World::new().await;
    for name in [DEVICE, "d/m"] {
        let (caller, connected) = (world.test.device(name).await, world.test.connect(name).await);
        let before = world.state().await;
        for operation in Operation::ALL {
            let permitted = operation.identities().include(&id(name));
            let token = world.test.token(name);
            let credentials = Credentials { token: Some(&token), certificate: None };
            let authenticated = world.hub.authenticate_device(&id(name), credentials, *operation).await;
            assert_eq!(authenticated.is_ok(), permitted, "{name} {operation:?}");
            assert!(world.hub.authenticate_service(Some(&token), *operation).await.is_err(), "{operation:?}");
            match call_as_identity(&caller, &connected, *operation).await {
                Some(result) => {
                    assert_eq!(is_refused(&result), !permitted, "{name} {operation:?}: {result:?}")
                }
                None => assert_eq!(operation.identities(), Identities::None, "{operation:?} is not called"),
            }
        }
        assert_eq!(world.state().await, before, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_holder_of_a_url_may_use_exactly_the_operations_of_its_rights() {
    let world = World::new().await;
    let all = [BlobRight::Read, BlobRight::Create, BlobRight::Write, BlobRight::Delete];
    let mut callers = Vec::new();
    for rights in all {
        callers.push((rights, world.blob(&[rights]).await));
        callers.push((rights, world.container(&[rights]).await));
    }
    callers.push((BlobRight::List, world.container(&[BlobRight::List]).await));
    for (rights, caller) in callers {
        for operation in Operation::ALL {
            let options = PutOptions { md5: Some([0; 16]), ..PutOptions::default() };
            let result = match operation {
                Operation::PutBlob => {
                    let blocks = caller.put_block("AAAA", Some([0; 16]), &mut NoBytes).await.map(drop);
                    let list = caller.put_block_list(&["AAAA".to_owned()], options.clone()).await.map(drop);
                    let put = caller.put(options, &mut NoBytes).await.map(drop);
                    let refused = |result: &Result<(), BlobOperationError>| {
                        matches!(result, Err(BlobOperationError::Denied(_)))
                    };
                    assert_eq!(refused(&blocks), refused(&put));
                    assert_eq!(refused(&list), refused(&put));
                    put
                }
                Operation::GetBlob => {
                    let stat = caller.stat().await.map(drop);
                    let open = caller.open(None).await.map(drop);
                    assert_eq!(
                        matches!(stat, Err(BlobOperationError::Denied(_))),
                        matches!(open, Err(BlobOperationError::Denied(_)))
                    );
                    open
                }
                Operation::DeleteBlob => caller.delete(&Condition::default()).await,
                Operation::ListBlobs => caller.list(None, 1).await.map(drop),
                other => {
                    assert!(other.url_rights().is_empty(), "{other:?} is not called");
                    assert_eq!(caller.check(*other), Err(BlobDenied::MissingRight));
                    continue;
                }
            };
            let permitted = operation.url_rights().contains(&rights);
            let denied = matches!(result, Err(BlobOperationError::Denied(BlobDenied::MissingRight)));
            assert_eq!(denied, !permitted, "{rights:?} {operation:?}: {result:?}");
        }
    }
    assert!(world.test.files.list(None, None, 10).await.unwrap().is_empty(), "nothing was written");
}
