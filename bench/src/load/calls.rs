//! Callers: they make calls in a closed or an open loop, and measure latencies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use ferrohub_mqtt::client::Event;
use hdrhistogram::Histogram;
use hyper::Method;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::device::name;
use super::dial::Dial;
use super::http::HttpLink;
use super::mqtt::{Link, Login};
use super::nats::NatsLink;
use super::run_all;
use crate::server::{Protocol, Server};

/// A call that takes longer than this counts as lost.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of calls that are due and not yet made.
const MAX_BACKLOG: usize = 100_000;

/// The pace of the calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each caller makes the next call when it has the response, for this long.
    Closed(Duration),
    /// A fixed rate in calls per second, for this long, whether or not earlier calls have returned. Latency counts from
    /// the time when the call was due, so that the calls that a stalled server delays are included.
    Open(u64, Duration),
}

/// The result of a round of calls.
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) took: Duration,
    /// In microseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// Callers, each on its own persistent connection.
pub(crate) struct Callers {
    callers: Vec<Caller>,
    devices: usize,
}

/// One caller.
struct Caller {
    kind: Kind,
    number: usize,
    count: u64,
    payload: Bytes,
}

enum Kind {
    Http(Box<HttpLink>),
    Mqtt(Box<Link>),
    Nats(Box<NatsLink>),
}

impl Callers {
    /// Connects `count` callers. They send `payload` bytes of JSON to the devices 0 to `devices` - 1 in turn.
    pub(crate) async fn connect(
        server: &Server,
        dial: &Dial,
        count: usize,
        devices: usize,
        payload: usize,
    ) -> anyhow::Result<Self> {
        let json = format!("\"{}\"", "x".repeat(payload.saturating_sub(2)));
        let open = (0..count).map(|number| {
            let (dial, protocol, json) = (dial.clone(), server.protocol.clone(), json.clone());
            async move {
                let (kind, payload) = match &protocol {
                    Protocol::Hub { https, token, .. } => {
                        let dial = Dial { address: *https, ..dial };
                        let link = HttpLink::open(&dial, token).await?;
                        (
                            Kind::Http(Box::new(link)),
                            format!("{{\"methodName\":\"echo\",\"payload\":{json}}}"),
                        )
                    }
                    Protocol::Broker { login } => {
                        let (username, password) = login.clone().unzip();
                        let login = Login { client_id: format!("caller-{number}"), username, password };
                        let filter = format!("callers/c{number}/#");
                        (Kind::Mqtt(Box::new(Link::open(&dial, &login, &filter, false).await?)), json)
                    }
                    Protocol::Native => bail!("this server does not support calls"),
                    Protocol::Nats => {
                        let subject = format!("callers.c{number}.*");
                        (Kind::Nats(Box::new(NatsLink::open(&dial, &subject).await?)), json)
                    }
                };
                Ok(Caller { kind, number, count: 0, payload: payload.into() })
            }
        });
        let callers = run_all(16, open).await.context("a caller cannot connect")?;
        Ok(Self { callers, devices })
    }

    /// Runs one round of calls. A lost call or a wrong response is an error.
    pub(crate) async fn run(&mut self, pace: Pace) -> anyhow::Result<Outcome> {
        let begun = Instant::now();
        let next = Arc::new(AtomicU64::new(0));
        let due = match pace {
            Pace::Closed(_) => None,
            Pace::Open(rate, time) => Some(Arc::new(Mutex::new(pacer(begun, rate, time)))),
        };
        let mut tasks = JoinSet::new();
        for mut caller in self.callers.drain(..) {
            let (next, due, devices) = (next.clone(), due.clone(), self.devices as u64);
            tasks.spawn(async move {
                let mut latencies = histogram()?;
                loop {
                    let from = match (&due, pace) {
                        (Some(due), _) => match due.lock().await.recv().await {
                            Some(due) => due,
                            None => break,
                        },
                        (None, Pace::Closed(time)) if begun.elapsed() < time => Instant::now(),
                        (None, _) => break,
                    };
                    let device = next.fetch_add(1, Ordering::Relaxed) % devices;
                    tokio::time::timeout(CALL_TIMEOUT, caller.call(device as usize))
                        .await
                        .context("a call was lost")??;
                    latencies.saturating_record(from.elapsed().as_micros() as u64);
                }
                anyhow::Ok((caller, latencies))
            });
        }
        let mut latencies = histogram()?;
        while let Some(result) = tasks.join_next().await {
            let (caller, more) = result??;
            latencies.add(more)?;
            self.callers.push(caller);
        }
        Ok(Outcome { calls: latencies.len(), took: begun.elapsed(), latencies })
    }
}

/// Creates a histogram of microseconds, up to one minute, with three significant digits.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// Sends the due time of each call when it is due. It uses its own thread, because timers of the runtime are coarse.
fn pacer(begun: Instant, rate: u64, time: Duration) -> mpsc::Receiver<Instant> {
    let (sender, receiver) = mpsc::channel(MAX_BACKLOG);
    std::thread::spawn(move || {
        let calls = (time.as_secs_f64() * rate as f64) as u64;
        for call in 0..calls {
            let due = begun + Duration::from_nanos(call * 1_000_000_000 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.blocking_send(due).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Caller {
    async fn call(&mut self, device: usize) -> anyhow::Result<()> {
        self.count += 1;
        let payload = self.payload.clone();
        match &mut self.kind {
            Kind::Http(link) => {
                let path = format!("/twins/{}/methods?api-version=2021-04-12", name(device));
                let answer = link.send(Method::POST, &path, payload).await?;
                ensure!(answer.starts_with(b"{\"status\":200,"), "{}", String::from_utf8_lossy(&answer));
            }
            Kind::Mqtt(link) => {
                let id = format!("{:x}", self.count);
                link.publish(
                    format_args!("devices/{}/methods/c{}/{id}", name(device), self.number),
                    payload.clone(),
                )?;
                match link.next().await? {
                    Event::Publish(answer) => {
                        ensure!(answer.topic.as_str().ends_with(&id), "a response to another request");
                        ensure!(answer.payload == payload, "the response has another payload");
                    }
                    other => bail!("expected a response, got {other:?}"),
                }
            }
            Kind::Nats(link) => {
                let reply = format!("callers.c{}.{:x}", self.number, self.count);
                link.publish(&format!("devices.{}.methods.echo", name(device)), Some(&reply), &payload);
                let answer = link.next().await?;
                ensure!(answer.subject == reply && answer.payload == payload, "not the expected response");
            }
        }
        Ok(())
    }
}
