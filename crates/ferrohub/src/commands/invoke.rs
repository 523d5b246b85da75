//! `ferrohub invoke`: calls a method on a device or module.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use ferrohub_service::MethodInvocation;
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
    /// Payload, JSON
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// Response time-out in seconds, 5 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Seconds to wait for a device that is not connected, 0 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    connect_timeout: u64,
    #[command(flatten)]
    login: Login,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Serialize)]
struct MethodResult {
    status: i32,
    payload: Box<RawValue>,
    milliseconds: u64,
}

impl Invoke {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<ExitCode> {
        let mut method = MethodInvocation::new(&self.method)
            .response_timeout(Duration::from_secs(self.timeout))
            .connect_timeout(Duration::from_secs(self.connect_timeout));
        if let Some(payload) = self.payload {
            method = method
                .payload_json(payload)
                .context("--payload is not JSON; put a text in double quotes: --payload '\"text\"'")?;
        }
        let result = super::block_on(async {
            let client = self.login.access(global)?.client;
            let begun = Instant::now();
            let response = client.invoke_method(&self.device, &method).await?;
            let milliseconds = begun.elapsed().as_millis() as u64;
            Ok(MethodResult { status: response.status(), payload: response.payload_as()?, milliseconds })
        })?;
        self.output.print(&result, |result| {
            details([
                ("Status", result.status.to_string()),
                ("Payload", result.payload.to_string()),
                ("Duration", format!("{} ms", result.milliseconds)),
            ])
        })?;
        Ok(if result.status >= 400 { ExitCode::from(EXIT_METHOD_FAILED) } else { ExitCode::SUCCESS })
    }
}
