//! `ferrohub c2d`: cloud-to-device messages.

mod receive;

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ferrohub_model::random::random_bytes;
use ferrohub_service::{
    Ack, CloudToDeviceMessage, Destination, EnqueuedMessage, IdentityId, PurgeResult, Timestamp,
};

use self::receive::Receive;
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details};

/// Flags of `ferrohub c2d`.
#[derive(Debug, Args)]
pub(crate) struct C2dCommand {
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
    /// Queue a message for a device or module
    Send(Box<Send>),
    /// Receive messages as the device or module, over HTTPS
    Receive(Receive),
    /// Remove all messages from the queue of a device or module
    Purge {
        /// The device's id, or DEVICE/MODULE
        id: String,
    },
}

/// `--ack`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AckFlag {
    /// No feedback
    None,
    /// When the device completes the message
    Positive,
    /// When the message is rejected, expires or exceeds the delivery count
    Negative,
    /// In both cases
    Full,
}

#[derive(Debug, Args)]
struct Send {
    /// The device's id, or DEVICE/MODULE, or DEVICE/MODULE/INPUT
    target: String,
    /// Body of the message [default, or with -: standard input]
    body: Option<String>,
    /// Application property; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    property: Vec<(String, String)>,
    /// Message id, which feedback refers to [default: generated if feedback is requested]
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// User id of the sender
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Media type of the body
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Encoding of the body, such as utf-8
    #[arg(long, value_name = "NAME")]
    content_encoding: Option<String>,
    /// Which feedback to request; read it with `ferrohub monitor feedback`
    #[arg(long, value_enum)]
    ack: Option<AckFlag>,
    /// Expiry time, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "ttl")]
    expiry: Option<String>,
    /// Time to live in seconds
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
}

/// Parses the value of `--property`.
pub(super) fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a property is NAME=VALUE, with a name that is not empty".to_owned()),
    }
}

impl C2dCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let access = self.login.access(global)?;
            let client = &access.client;
            match self.action {
                Action::Receive(receive) => receive.run(&access, self.output).await,
                Action::Send(send) => {
                    let message = send.message()?;
                    let queued = client.send_message(parse_target(&send.target)?, &message).await?;
                    self.output.print(&queued, show)
                }
                Action::Purge { id } => {
                    let purged = client.purge_messages(&id).await?;
                    self.output.print(&purged, |purged: &PurgeResult| {
                        details([("Messages purged", purged.total_messages_purged.to_string())])
                    })
                }
            }
        })
    }
}

/// Parses DEVICE, DEVICE/MODULE or DEVICE/MODULE/INPUT: an id contains no slash, an input may.
fn parse_target(text: &str) -> anyhow::Result<Destination> {
    let target = match text.match_indices('/').nth(1) {
        None => Destination::try_from(text),
        Some((end, _)) => {
            let (identity, input) = (&text[..end], &text[end + 1..]);
            IdentityId::parse(identity).map(|identity| Destination::input(identity, input))
        }
    };
    target.with_context(|| format!("{text:?} is not DEVICE, DEVICE/MODULE or DEVICE/MODULE/INPUT"))
}

impl Send {
    fn message(&self) -> anyhow::Result<CloudToDeviceMessage> {
        let body = match self.body.as_deref() {
            Some(body) if body != "-" => body.as_bytes().to_vec(),
            _ => {
                let mut body = Vec::new();
                std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
                body
            }
        };
        let mut message = CloudToDeviceMessage::new(body);
        let wants_feedback = !matches!(self.ack, None | Some(AckFlag::None));
        let fresh = || wants_feedback.then(|| format!("{:032x}", u128::from_le_bytes(random_bytes())));
        if let Some(id) = self.message_id.clone().or_else(fresh) {
            message = message.message_id(id);
        }
        if let Some(id) = &self.correlation_id {
            message = message.correlation_id(id);
        }
        if let Some(id) = &self.user_id {
            message = message.user_id(id);
        }
        if let Some(name) = &self.content_type {
            message = message.content_type(name);
        }
        if let Some(name) = &self.content_encoding {
            message = message.content_encoding(name);
        }
        if let Some(ack) = self.ack {
            message = message.ack(match ack {
                AckFlag::None => Ack::None,
                AckFlag::Positive => Ack::Positive,
                AckFlag::Negative => Ack::Negative,
                AckFlag::Full => Ack::Full,
            });
        }
        if let Some(text) = &self.expiry {
            let expiry =
                Timestamp::parse(text).context("--expiry is not a time such as 2027-01-01T00:00:00Z")?;
            message = message.expiry(expiry);
        }
        if let Some(seconds) = self.ttl {
            message = message.time_to_live(Duration::from_secs(seconds));
        }
        for (name, value) in &self.property {
            message = message.property(name, value);
        }
        Ok(message)
    }
}

fn show(queued: &EnqueuedMessage) -> comfy_table::Table {
    let rows = [
        ("Device", queued.device_id.clone()),
        ("Module", queued.module_id.clone().unwrap_or_default()),
        ("Message id", queued.message_id.clone().unwrap_or_default()),
        ("Sequence number", queued.sequence_number.to_string()),
        ("Queued at", queued.enqueued_time_utc.to_string()),
        ("Expires at", queued.expiry_time_utc.to_string()),
    ];
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}
