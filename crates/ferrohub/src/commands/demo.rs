//! `ferrohub demo`: the whole story in one command. A hub, a device and a back end, and one method call.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use ferrohub_device::{MethodRequest, MethodResponse};
use ferrohub_service::{Device, MethodInvocation};
use serde_json::json;
use tokio::sync::{Notify, watch};

use crate::config::{Config, LogConfig};
use crate::endpoints::Endpoints;
use crate::login::{self, Access};
use crate::serve::Server;
use crate::{logging, output};

use super::device_client;

const DEVICE: &str = "myDevice";
const METHOD: &str = "rebootDevice";
/// How long the simulated reboot takes.
const REBOOT_DURATION: Duration = Duration::from_millis(500);

/// Flags of `ferrohub demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the hub running, and print what to paste to try the Python tutorial against it
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        logging::start(&LogConfig { level: "warn".to_owned(), ..LogConfig::default() })?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.run_async())
    }

    async fn run_async(self) -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("ferrohub-demo-").tempdir()?;
        let data_dir = folder.path().join("data");
        let config = config(&data_dir)?;

        let begun = Instant::now();
        let server = Server::open(&config).await?;
        let endpoints = server.endpoints().clone();
        let (stop, stopping) = watch::channel(false);
        let hub = tokio::spawn(server.run(stopping));
        print_step(
            "hub",
            &format!(
                "runs after {} on an empty store: MQTT on port {}, HTTPS on port {}",
                format_elapsed(begun),
                endpoints.mqtt.port(),
                endpoints.https.port()
            ),
        )?;

        run_scenario(&config, &endpoints).await?;

        if self.keep {
            print_tutorial(&data_dir, &endpoints)?;
            tokio::signal::ctrl_c().await?;
        }
        let _ = stop.send(true);
        hub.await??;
        print_step("hub", "stopped in good order")
    }
}

/// The tutorial's story.
async fn run_scenario(config: &Config, endpoints: &Endpoints) -> anyhow::Result<()> {
    let access = Access::local(&login::owner_connection_string(config, endpoints)?, endpoints)?;
    let begun = Instant::now();
    let registered = access.client.create_device(&Device::new(DEVICE)).await?;
    print_step(
        "back end → hub",
        &format!("PUT /devices/{DEVICE}: registered, the hub made its keys ({})", format_elapsed(begun)),
    )?;

    let device = device_client::from_device(&access, &registered, false)?;
    let asked = Arc::new(Notify::new());
    let handler_asked = asked.clone();
    device.on_method(METHOD, move |request: MethodRequest| {
        let asked = handler_asked.clone();
        async move {
            let _ = print_step("hub → device", &format!("{METHOD} {}", request.payload_text()));
            asked.notify_one();
            MethodResponse::new(200).payload(&json!({ "Response": "This is the response from the device" }))
        }
    });
    let begun = Instant::now();
    device.connect().await?;
    print_step(
        "device → hub",
        &format!("connected with MQTT over TLS, listens for methods ({})", format_elapsed(begun)),
    )?;

    // The tutorial's policy, which may do nothing else.
    let service = login::policy_connection_string(config, endpoints, "service")?
        .context("the hub has no policy `service`")?;
    let service = Access::local(&service, endpoints)?.client;
    let call = MethodInvocation::new(METHOD)
        .payload(&json!({ "input1": "someInput", "input2": "anotherInput" }))?
        .response_timeout(Duration::from_secs(60));
    print_step("back end → hub", &format!("POST /twins/{DEVICE}/methods: call {METHOD} on {DEVICE}"))?;
    let begun = Instant::now();
    let response = service.invoke_method(DEVICE, &call).await?;
    let round_trip = format_elapsed(begun);
    print_step(
        "hub → back end",
        &format!("status {}, payload {}", response.status(), response.payload_text()),
    )?;
    print_step("", &format!("round trip {round_trip}, the first on its connection"))?;
    ensure!(response.status() == 200, "the device answered with status {}", response.status());

    asked.notified().await;
    device.disconnect().await;
    print_step("device", "rebooting: gone")?;
    tokio::time::sleep(REBOOT_DURATION).await;
    let back = device.clone();
    let coming = tokio::spawn(async move { back.connect().await });
    // It is still on its way, and the hub waits for it.
    let begun = Instant::now();
    let response = service.invoke_method(DEVICE, &call.connect_timeout(Duration::from_secs(30))).await?;
    coming.await??;
    print_step("device → hub", "back; a call that waited for it was delivered at once")?;
    print_step(
        "hub → back end",
        &format!("status {}, {} after the call", response.status(), format_elapsed(begun)),
    )?;
    device.disconnect().await;
    Ok(())
}

fn print_tutorial(data_dir: &Path, endpoints: &Endpoints) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("a path of our own")?;
    let (program, data_dir) = (program.display(), data_dir.display());
    output::print_line(&format!(
        "
The hub goes on until Ctrl-C. In another shell, for Microsoft's Python packages:

  eval \"$({program} env --data-dir {data_dir})\"
  export IOTHUB_DEVICE_CONNECTION_STRING=\"$({program} device connection-string {DEVICE} --data-dir {data_dir})\"
  pip install azure-iot-device azure-iot-hub

The device, then the back end:

  python -c '
import os, time
from azure.iot.device import IoTHubDeviceClient, MethodResponse
client = IoTHubDeviceClient.create_from_connection_string(os.environ[\"IOTHUB_DEVICE_CONNECTION_STRING\"])
def answer(request):
    print(request.name, request.payload)
    client.send_method_response(MethodResponse(request.request_id, 200, {{\"Response\": \"rebooting\"}}))
client.on_method_request_received = answer
time.sleep(600)'

  python -c '
import os
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod
hub = IoTHubRegistryManager.from_connection_string(os.environ[\"IOTHUB_CONNECTION_STRING\"])
print(hub.invoke_device_method(\"{DEVICE}\", CloudToDeviceMethod(method_name=\"{METHOD}\", payload=\"now\")))'
"
    ))?;
    if endpoints.mqtt.port() != MQTT_PORT {
        output::print_line(&format!(
            "Microsoft's device packages always use port {MQTT_PORT}, so they cannot reach this hub: free the port."
        ))?;
    }
    Ok(())
}

const MQTT_PORT: u16 = 8883;
const HTTPS_PORT: u16 = 443;
const ADMIN_PORT: u16 = 9464;

/// A hub on loopback, on the standard ports where they can be had.
fn config(data_dir: &Path) -> anyhow::Result<Config> {
    let mut config = Config { data_dir: data_dir.to_path_buf(), ..Config::default() };
    config.listen.mqtt = address("MQTT", MQTT_PORT)?;
    config.listen.https = address("HTTPS", HTTPS_PORT)?;
    config.listen.admin = address("health and metrics", ADMIN_PORT)?;
    Ok(config)
}

fn address(what: &str, port: u16) -> anyhow::Result<String> {
    let standard = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    match TcpListener::bind(standard) {
        Ok(_) => Ok(standard.to_string()),
        Err(error) => {
            let why = match error.kind() {
                ErrorKind::AddrInUse => "is taken".to_owned(),
                ErrorKind::PermissionDenied => "is not permitted".to_owned(),
                _ => format!("cannot be used ({error})"),
            };
            print_step("hub", &format!("port {port} for {what} {why}: a free port takes its place"))?;
            Ok(SocketAddr::new(standard.ip(), 0).to_string())
        }
    }
}

fn print_step(who: &str, what: &str) -> anyhow::Result<()> {
    output::print_line(&format!("{who:>16}  {what}"))
}

fn format_elapsed(since: Instant) -> String {
    format!("{:.1} ms", since.elapsed().as_secs_f64() * 1000.0)
}
