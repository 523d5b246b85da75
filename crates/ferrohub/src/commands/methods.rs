//! `ferrohub invoke`: calls a method on a device or module.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use ferrohub_service::{Error, MethodInvocation, MethodResponse};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details};

/// Exit code if the device returned a status of 400 or more.
pub(crate) const EXIT_METHOD_FAILED: u8 = 3;

/// Flags of `ferrohub invoke`.
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// The device's id, or DEVICE/MODULE
    device: String,
    /// The method's name
    method: String,
    #[command(flatten)]
    call: Call,
    #[command(flatten)]
    login: Login,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Flags of a call of a method or command.
#[derive(Debug, Args)]
pub(super) struct Call {
    /// Payload, JSON
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// Response time-out in seconds, 5 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Seconds to wait for a device that is not connected, 0 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    connect_timeout: u64,
}

impl Call {
    /// Returns the call of the method or command with this name.
    pub(super) fn invocation(self, name: &str) -> anyhow::Result<MethodInvocation> {
        let method = MethodInvocation::new(name)
            .response_timeout(Duration::from_secs(self.timeout))
            .connect_timeout(Duration::from_secs(self.connect_timeout));
        match self.payload {
            None => Ok(method),
            Some(payload) => method
                .payload_json(payload)
                .context("--payload is not JSON; put a text in double quotes: --payload '\"text\"'"),
        }
    }
}

#[derive(Serialize)]
struct MethodResult {
    status: i32,
    payload: Box<RawValue>,
    milliseconds: u64,
}

impl Invoke {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<ExitCode> {
        let method = self.call.invocation(&self.method)?;
        super::block_on(async {
            let client = self.login.access(global)?.client;
            print_response(self.output, client.invoke_method(&self.device, &method)).await
        })
    }
}

/// Waits for the response of the device and prints it. The exit code depends on its status.
pub(super) async fn print_response(
    output: Output,
    call: impl Future<Output = Result<MethodResponse, Error>>,
) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let response = call.await?;
    let milliseconds = begun.elapsed().as_millis() as u64;
    let result = MethodResult { status: response.status(), payload: response.payload_as()?, milliseconds };
    output.print(&result, |result| {
        details([
            ("Status", result.status.to_string()),
            ("Payload", result.payload.to_string()),
            ("Duration", format!("{} ms", result.milliseconds)),
        ])
    })?;
    Ok(if result.status >= 400 { ExitCode::from(EXIT_METHOD_FAILED) } else { ExitCode::SUCCESS })
}
