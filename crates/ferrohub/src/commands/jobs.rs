//! `ferrohub job`: method calls and changes of twins on many devices.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use ferrohub_model::{Guid, Timestamp};
use ferrohub_service::{
    DeviceJob, DeviceJobStatistics, DeviceJobStatus, JobHandle, MethodInvocation, NewJob,
    ScheduledJob as Job, ScheduledJobStatus as JobStatus, ScheduledJobType as JobType, SectionChange,
    ServiceClient, TwinChange,
};
use serde_json::json;

use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details, one_line, plural, table};

/// Flags of `ferrohub job`.
#[derive(Debug, Args)]
pub(crate) struct JobCommand {
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
    /// Create a job: call a method, or change twins
    Create(Create),
    /// Show a job and what it did on each device
    Show {
        /// The job's id
        id: String,
        /// Show only devices on which the job failed
        #[arg(long)]
        failed: bool,
        /// Maximum number of devices to show
        #[arg(long, default_value_t = 100)]
        top: usize,
        /// Wait until the job has ended
        #[arg(long)]
        wait: bool,
    },
    /// List jobs, the newest first
    List {
        /// Only jobs that do this
        #[arg(long = "type", value_enum)]
        kind: Option<Kind>,
        /// Only jobs in this state
        #[arg(long, value_enum)]
        status: Option<State>,
        /// Maximum number of jobs
        #[arg(long, default_value_t = 100)]
        top: usize,
    },
    /// Cancel a job: calls that devices have already go on, nothing else begins
    Cancel {
        /// The job's id
        id: String,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// Which devices: a condition such as "tags.building = 7", * for all, or "FROM devices.modules WHERE moduleId = 'm'"
    condition: String,
    /// The job's id [default: a new one]
    #[arg(long)]
    id: Option<String>,
    /// Call this method
    #[arg(long, conflicts_with_all = ["tags", "desired"], required_unless_present_any = ["tags", "desired"])]
    method: Option<String>,
    /// Payload of the call, JSON
    #[arg(long, value_name = "JSON", requires = "method")]
    payload: Option<String>,
    /// Time-out of a response in seconds, 5 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Merge these tags into the twins, a JSON object; null removes all
    #[arg(long, value_name = "JSON")]
    tags: Option<String>,
    /// Merge these desired properties into the twins, a JSON object; null removes all
    #[arg(long, value_name = "JSON")]
    desired: Option<String>,
    /// When the job starts, such as 2030-01-01T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// How long after its start the job ends at the latest, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    max_duration: u64,
    /// Wait until the job has ended, and show its progress
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Changes of twins
    Twin,
    /// Method calls
    Method,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Scheduled,
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl From<State> for JobStatus {
    fn from(state: State) -> Self {
        match state {
            State::Scheduled => Self::Scheduled,
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Completed => Self::Completed,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

impl JobCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let client = self.login.access(global)?.client;
            let output = self.output;
            match self.action {
                Action::Create(create) => create.run(&client, output).await,
                Action::Show { id, failed, top, wait } => {
                    let handle = client.job(id)?;
                    let job = if wait { wait_for(&handle, output).await? } else { handle.get().await? };
                    show(&handle, &job, failed, top, output).await
                }
                Action::List { kind, status, top } => list(&client, kind, status, top, output).await,
                Action::Cancel { id } => {
                    let job = client.job(id)?.cancel().await?;
                    output.print(&job, job_details)
                }
            }
        })
    }
}

impl Create {
    async fn run(self, client: &ServiceClient, output: Output) -> anyhow::Result<()> {
        let wait = self.wait;
        let handle = client.create_job(&self.into_job()?).await?;
        let job = if wait { wait_for(&handle, output).await? } else { handle.get().await? };
        output.print(&job, job_details)?;
        if wait && job.status != JobStatus::Completed {
            bail!("the job {} ended as {}", job.job_id, job.status.name());
        }
        Ok(())
    }

    fn into_job(self) -> anyhow::Result<NewJob> {
        let id = self.id.unwrap_or_else(|| Guid::random().to_string());
        let job = match self.method {
            Some(method) => {
                let mut call =
                    MethodInvocation::new(method).response_timeout(Duration::from_secs(self.timeout));
                if let Some(payload) = self.payload {
                    call = call.payload_json(payload).context(
                        "--payload is not JSON; put a text in double quotes: --payload '\"text\"'",
                    )?;
                }
                NewJob::invoke_method(id, self.condition, &call)
            }
            None => {
                let section = |flag: &str, text: Option<String>| {
                    let parse = |text: String| {
                        SectionChange::parse(&text)
                            .with_context(|| format!("{flag} is neither a JSON object nor null"))
                    };
                    text.map(parse).transpose()
                };
                let change = match (section("--desired", self.desired)?, section("--tags", self.tags)?) {
                    (None, None) => bail!("nothing to do: give --method, --tags or --desired"),
                    (None, Some(tags)) => TwinChange::tags(tags),
                    (Some(desired), None) => TwinChange::desired(desired),
                    (Some(desired), Some(tags)) => TwinChange::desired(desired).and_tags(tags),
                };
                NewJob::update_twin(id, self.condition, change)
            }
        };
        let job = job.max_duration(Duration::from_secs(self.max_duration));
        Ok(match self.start {
            None => job,
            Some(text) => job.start(
                Timestamp::parse(&text).context("--start is not a time such as 2030-01-01T00:00:00Z")?,
            ),
        })
    }
}

/// Waits until a job has ended. Prints a line on standard error whenever its numbers have changed.
async fn wait_for(handle: &JobHandle, output: Output) -> anyhow::Result<Job> {
    let mut last = String::new();
    let job = handle
        .wait_with(|job| {
            let line = progress(job);
            if line != last {
                output.note(&line);
                last = line;
            }
        })
        .await?;
    Ok(job)
}

/// Returns the state of a job in one line.
fn progress(job: &Job) -> String {
    let DeviceJobStatistics { device_count, failed_count, succeeded_count, running_count, pending_count } =
        job.device_job_statistics.unwrap_or_default();
    format!(
        "{}: {succeeded_count} succeeded, {failed_count} failed, {running_count} running, {pending_count} pending of {}",
        job.status.name(),
        plural(device_count, "device")
    )
}

async fn show(
    handle: &JobHandle,
    job: &Job,
    only_failed: bool,
    top: usize,
    output: Output,
) -> anyhow::Result<()> {
    let mut stream = handle.devices();
    let mut devices: Vec<DeviceJob> = Vec::new();
    let mut has_more = false;
    while let Some(device) = stream.next().await {
        let device = device?;
        if only_failed && device.status != DeviceJobStatus::Failed {
            continue;
        }
        if devices.len() == top {
            has_more = true;
            break;
        }
        devices.push(device);
    }
    match output {
        Output::Json => output.print(&json!({ "job": job, "devices": devices }), |_| table([""]))?,
        Output::Table => {
            output.print(job, job_details)?;
            if !devices.is_empty() {
                output.print(&devices, |devices| device_table(devices))?;
            }
        }
    }
    if has_more {
        output.warn(&format!("showing the first {}; --top shows more", plural(top as u64, "device")));
    }
    Ok(())
}

async fn list(
    client: &ServiceClient,
    kind: Option<Kind>,
    status: Option<State>,
    top: usize,
    output: Output,
) -> anyhow::Result<()> {
    let mut query = client.jobs();
    if let Some(kind) = kind {
        query = query.job_type(match kind {
            Kind::Twin => JobType::UpdateTwin,
            Kind::Method => JobType::DeviceMethod,
        });
    }
    if let Some(status) = status {
        query = query.status(status.into());
    }
    let mut stream = query.rows();
    let (mut jobs, mut has_more) = (Vec::new(), false);
    while let Some(job) = stream.next().await {
        if jobs.len() == top {
            has_more = true;
            break;
        }
        jobs.push(job?);
    }
    output.print(&jobs, |jobs| job_table(jobs))?;
    if has_more {
        output.warn(&format!("showing the first {}; --top shows more", plural(top as u64, "job")));
    }
    Ok(())
}

/// Returns what a job does, in one word.
fn kind_of(job: &Job) -> String {
    match JobType::from_name(&job.job_type) {
        Some(JobType::UpdateTwin) => "twin".to_owned(),
        Some(JobType::DeviceMethod) => "method".to_owned(),
        None => job.job_type.clone(),
    }
}

fn time(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn job_details(job: &Job) -> comfy_table::Table {
    let counts = job.device_job_statistics.unwrap_or_default();
    let action = job.cloud_to_device_method.as_ref().or(job.update_twin.as_ref());
    let rows = [
        ("Job", job.job_id.clone()),
        ("Type", kind_of(job)),
        ("Status", job.status.name().to_owned()),
        ("Reason", job.failure_reason.clone().unwrap_or_default()),
        ("Condition", one_line(job.query_condition.as_deref().unwrap_or_default())),
        ("Action", action.map(|action| one_line(action.get())).unwrap_or_default()),
        ("Created", time(job.created_time)),
        ("Start", time(job.start_time)),
        ("End", time(job.end_time)),
        ("Devices", counts.device_count.to_string()),
        ("Succeeded", counts.succeeded_count.to_string()),
        ("Failed", counts.failed_count.to_string()),
        ("Running", counts.running_count.to_string()),
        ("Pending", counts.pending_count.to_string()),
    ];
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}

fn job_table(jobs: &[Job]) -> comfy_table::Table {
    let mut table = table(["JOB", "TYPE", "STATUS", "START", "DEVICES", "SUCCEEDED", "FAILED", "CONDITION"]);
    for job in jobs {
        let counts = job.device_job_statistics.unwrap_or_default();
        table.add_row([
            job.job_id.clone(),
            kind_of(job),
            job.status.name().to_owned(),
            time(job.start_time),
            counts.device_count.to_string(),
            counts.succeeded_count.to_string(),
            counts.failed_count.to_string(),
            one_line(job.query_condition.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

fn device_table(devices: &[DeviceJob]) -> comfy_table::Table {
    let mut table = table(["DEVICE", "STATUS", "RESULT"]);
    for device in devices {
        let module = device.module_id.as_ref().map(|module| format!("/{module}")).unwrap_or_default();
        let result = match (&device.outcome.device_method_response, &device.error) {
            (Some(response), _) => format!("{} {}", response.status, one_line(&response.payload.to_string())),
            (None, Some(error)) => one_line(&format!("{}: {}", error.code, error.description)),
            (None, None) => String::new(),
        };
        table.add_row([format!("{}{module}", device.device_id), device.status.name().to_owned(), result]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_of_a_job_is_one_line() {
        let job: Job = serde_json::from_value(json!({
            "jobId": "j", "type": "scheduleDeviceMethod", "status": "running",
            "deviceJobStatistics": { "deviceCount": 1, "failedCount": 0, "succeededCount": 0, "runningCount": 1,
                "pendingCount": 0 },
        }))
        .unwrap();
        assert_eq!(progress(&job), "running: 0 succeeded, 0 failed, 1 running, 0 pending of 1 device");
    }
}
