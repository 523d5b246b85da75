//! `ferrohub fault`: fault injection for tests.

use clap::{Args, Subcommand, ValueEnum};
use ferrohub_service::{Fault, FaultKind, FaultRequest};
use serde_json::json;

use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, one_line, table};

/// Flags of `ferrohub fault`.
#[derive(Debug, Args)]
pub(crate) struct FaultCommand {
    #[command(flatten)]
    login: Login,
    /// Output format
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Inject a fault
    Add(Add),
    /// List the active faults
    List,
    /// Remove a fault
    Remove {
        /// Id of the fault
        id: String,
    },
    /// Remove all faults
    Clear,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Close the matching connections; with --seconds also every new one
    DropConnection,
    /// Refuse CONNECT
    RefuseConnect,
    /// Drop device-to-cloud messages
    LoseTelemetry,
    /// Delay device-to-cloud messages
    DelayTelemetry,
    /// Drop method requests to the device
    LoseMethodRequest,
    /// Delay method requests to the device
    DelayMethodRequest,
    /// Drop method responses to the caller
    LoseMethodResponse,
    /// Delay method responses to the caller
    DelayMethodResponse,
    /// Drop responses to twin requests of the device
    LoseTwinResponse,
    /// Delay responses to twin requests of the device
    DelayTwinResponse,
    /// Respond to HTTPS requests with an error
    RefuseRequest,
}

impl From<Kind> for FaultKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::DropConnection => Self::DropConnection,
            Kind::RefuseConnect => Self::RefuseConnect,
            Kind::LoseTelemetry => Self::LoseTelemetry,
            Kind::DelayTelemetry => Self::DelayTelemetry,
            Kind::LoseMethodRequest => Self::LoseMethodRequest,
            Kind::DelayMethodRequest => Self::DelayMethodRequest,
            Kind::LoseMethodResponse => Self::LoseMethodResponse,
            Kind::DelayMethodResponse => Self::DelayMethodResponse,
            Kind::LoseTwinResponse => Self::LoseTwinResponse,
            Kind::DelayTwinResponse => Self::DelayTwinResponse,
            Kind::RefuseRequest => Self::RefuseRequest,
        }
    }
}

#[derive(Debug, Args)]
struct Add {
    /// Kind of fault
    #[arg(value_enum)]
    kind: Kind,
    /// Target: a device id or DEVICE/MODULE; * matches any characters, ** everything
    #[arg(long, value_name = "PATTERN")]
    target: Option<String>,
    /// Duration in seconds; required except for drop-connection
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,
    /// Maximum number of hits
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Delay in milliseconds
    #[arg(long, value_name = "N")]
    delay_milliseconds: Option<u32>,
    /// lose-telemetry: do not acknowledge the message (no PUBACK)
    #[arg(long)]
    unacknowledged: bool,
    /// refuse-connect: 3 (try again later) or 5 (not authorized) [default: 3]
    #[arg(long, value_name = "CODE")]
    connack: Option<u8>,
    /// refuse-request: name of the error, such as ServiceUnavailable or ThrottlingException
    #[arg(long, value_name = "NAME")]
    error: Option<String>,
    /// refuse-request: value of the Retry-After header
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u32>,
    /// refuse-request: the operation, such as invokeMethod
    #[arg(long, value_name = "NAME", conflicts_with_all = ["method", "path"])]
    operation: Option<String>,
    /// refuse-request: the HTTP method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// refuse-request: the path pattern, such as /twins/*/methods
    #[arg(long, value_name = "PATTERN")]
    path: Option<String>,
}

impl Add {
    fn request(self) -> FaultRequest {
        FaultRequest {
            target: self.target,
            duration_seconds: self.seconds,
            count: self.count,
            delay_milliseconds: self.delay_milliseconds,
            acknowledge: self.unacknowledged.then_some(false),
            connack: self.connack,
            error: self.error,
            retry_after_seconds: self.retry_after,
            method: self.method,
            path: self.path,
            operation: self.operation,
            ..FaultRequest::new(self.kind.into())
        }
    }
}

impl FaultCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let access = self.login.access(global)?;
            let management = access.client.management();
            match self.action {
                Action::Add(add) => {
                    let fault = management.create_fault(&add.request()).await?;
                    self.output.print(&fault, |fault| list(std::slice::from_ref(fault)))
                }
                Action::List => self.output.print(&management.list_faults().await?, |all| list(all)),
                Action::Remove { id } => {
                    management.delete_fault(&id).await?;
                    let sentence = format!("removed the fault {id}");
                    self.output.done(&json!({ "id": id, "removed": true }), &sentence)
                }
                Action::Clear => {
                    management.delete_all_faults().await?;
                    self.output.done(&json!({ "removed": true }), "removed all faults")
                }
            }
        })
    }
}

fn list(faults: &[Fault]) -> comfy_table::Table {
    let mut table = table(["ID", "KIND", "TARGET", "HITS", "ENDS AT"]);
    for one in faults {
        let fault = &one.fault;
        let target = match (&fault.path, &fault.method) {
            (Some(path), Some(method)) => format!("{method} {path}"),
            (Some(path), None) => path.clone(),
            (None, _) => fault.target.clone().unwrap_or_default(),
        };
        let hits = match fault.count {
            Some(count) => format!("{} of {count}", one.hits),
            None => one.hits.to_string(),
        };
        table.add_row([&one.id, fault.kind.name(), &one_line(&target), &hits, &one.ends.to_string()]);
    }
    table
}
