//! `ferrohub fault`: faults for tests.

use clap::{Args, Subcommand, ValueEnum};
use ferrohub_service::{Fault, FaultKind, FaultRequest};

use crate::cli::Common;
use crate::login::Login;
use crate::output::{Output, table};

/// Flags of `ferrohub fault`.
#[derive(Debug, Args)]
pub(crate) struct FaultCommand {
    #[command(flatten)]
    login: Login,
    /// How to print
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let something go wrong
    Add(Add),
    /// List the faults that are injected
    List,
    /// Take a fault away
    Remove {
        /// Its id
        id: String,
    },
    /// Take all faults away
    Clear,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Connections end: those that there are, and with --seconds each new one
    DropConnection,
    /// Connects are refused
    RefuseConnect,
    /// Messages to the hub are lost
    LoseTelemetry,
    /// Messages to the hub are taken late
    DelayTelemetry,
    /// Method requests do not reach the device
    LoseMethodRequest,
    /// Method requests reach the device late
    DelayMethodRequest,
    /// Answers to methods do not reach the caller
    LoseMethodResponse,
    /// Answers to methods reach the caller late
    DelayMethodResponse,
    /// Requests of a device to its twin are not answered
    LoseTwinResponse,
    /// Requests of a device to its twin are answered late
    DelayTwinResponse,
    /// HTTPS requests are answered with an error
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
    /// What goes wrong
    #[arg(value_enum)]
    kind: Kind,
    /// For whom: a device id or device/module, * for any characters, ** for everybody
    #[arg(long, value_name = "PATTERN")]
    target: Option<String>,
    /// For how long; only drop-connection can do without
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,
    /// How often at most
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// How late
    #[arg(long, value_name = "N")]
    delay_milliseconds: Option<u32>,
    /// lose-telemetry: the device does not get to believe that the message arrived
    #[arg(long)]
    unacknowledged: bool,
    /// refuse-connect: 3 (try again later) or 5 (not authorized) [default: 3]
    #[arg(long, value_name = "CODE")]
    connack: Option<u8>,
    /// refuse-request: the error's name, such as ServiceUnavailable or ThrottlingException
    #[arg(long, value_name = "NAME")]
    error: Option<String>,
    /// refuse-request: when to come again
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u32>,
    /// refuse-request: of which operation, such as invokeMethod
    #[arg(long, value_name = "NAME", conflicts_with_all = ["method", "path"])]
    operation: Option<String>,
    /// refuse-request: of which HTTP method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// refuse-request: of which path, such as /twins/*/methods
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
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        super::block_on(async {
            let access = self.login.access(common)?;
            let management = access.client.management();
            match self.action {
                Action::Add(add) => {
                    let fault = management.create_fault(&add.request()).await?;
                    self.output.print(&fault, |fault| list(std::slice::from_ref(fault)))
                }
                Action::List => self.output.print(&management.list_faults().await?, |all| list(all)),
                Action::Remove { id } => {
                    management.delete_fault(&id).await?;
                    eprintln!("fault {id} is gone");
                    Ok(())
                }
                Action::Clear => {
                    management.delete_all_faults().await?;
                    eprintln!("there are no faults");
                    Ok(())
                }
            }
        })
    }
}

fn list(faults: &[Fault]) -> comfy_table::Table {
    let mut table = table(["ID", "KIND", "FOR", "HITS", "ENDS"]);
    for one in faults {
        let fault = &one.fault;
        let whom = match (&fault.path, &fault.method) {
            (Some(path), Some(method)) => format!("{method} {path}"),
            (Some(path), None) => path.clone(),
            (None, _) => fault.target.clone().unwrap_or_default(),
        };
        let hits = match fault.count {
            Some(count) => format!("{} of {count}", one.hits),
            None => one.hits.to_string(),
        };
        table.add_row([&one.id, fault.kind.name(), &whom, &hits, &one.ends.to_string()]);
    }
    table
}
