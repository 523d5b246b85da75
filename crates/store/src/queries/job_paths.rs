//! The SQL expression of a path of `devices.jobs`. The values are those of `row_document` in core.

use ferrohub_core::jobs::NOT_BEGUN;
use ferrohub_query::plan::{Member, Root};

use super::paths::{Expression, Scope};

/// The state of a row, which is that of its job where the row has none of its own.
const STATUS: &str = "CASE WHEN d.state = 2 THEN 'running' WHEN d.state = 3 THEN 'completed' \
     WHEN d.state = 4 OR j.phase IN (3, 4) THEN 'failed' WHEN j.phase = 5 THEN 'canceled' \
     WHEN d.state = 1 THEN 'scheduled' ELSE 'pending' END";

/// The name of the error; `NULL` if there is none.
const CODE: &str = "CASE WHEN d.error IS NOT NULL THEN d.error WHEN d.state < 2 AND j.phase IN (3, 4) THEN 'JobRunPreconditionFailed' \
     END";

impl Scope<'_> {
    /// Returns the value of a path.
    pub(super) fn job_path(&mut self, root: Root, members: &[Member]) -> Expression {
        let names: Option<Vec<&str>> = members
            .iter()
            .map(|member| match member {
                Member::Name(name) => Some(name.as_str()),
                Member::Index(_) => None,
            })
            .collect();
        let text = |expression: &str| Expression::Text(expression.to_owned());
        let time = |column: &str| Expression::Text(format!("ferrohub_time({column})"));
        match (root, names.as_deref()) {
            (Root::DeviceId, Some([])) => text("d.device_id"),
            (Root::ModuleId, Some([])) => text("nullif(d.module_id, '')"),
            (Root::JobId, Some([])) => text("j.id"),
            (Root::JobType, Some([])) => {
                text("iif(j.type = 0, 'scheduleUpdateTwin', 'scheduleDeviceMethod')")
            }
            (Root::Status, Some([])) => text(STATUS),
            (Root::StartTime, Some([])) => time("j.start"),
            (Root::EndTime, Some([])) => time("j.deadline"),
            (Root::CreatedTime, Some([])) => time("j.created"),
            (Root::LastUpdatedTime, Some([])) => {
                time("iif(d.state < 2 AND j.ended IS NOT NULL, j.ended, d.updated)")
            }
            (Root::Outcome, Some([])) => Expression::Json(format!(
                "iif(d.status IS NULL, '{{}}', json_object('deviceMethodResponse', json({RESPONSE})))"
            )),
            (Root::Outcome, Some(["deviceMethodResponse"])) => {
                Expression::Json(format!("iif(d.status IS NULL, NULL, {RESPONSE})"))
            }
            (Root::Outcome, Some(["deviceMethodResponse", "status"])) => {
                Expression::Json("CAST(d.status AS TEXT)".to_owned())
            }
            (Root::Outcome, _) => self.payload(members),
            (Root::Error, Some([])) => {
                let description = description();
                Expression::Json(format!(
                    "iif({CODE} IS NULL, NULL, json_object('code', {CODE}, 'description', {description}))"
                ))
            }
            (Root::Error, Some(["code"])) => text(CODE),
            (Root::Error, Some(["description"])) => Expression::Text(description()),
            _ => Expression::Json("NULL".to_owned()),
        }
    }

    /// A value in the payload of the answer.
    fn payload(&mut self, members: &[Member]) -> Expression {
        let is_named =
            |member: &Member, expected: &str| matches!(member, Member::Name(name) if name == expected);
        match members {
            [response, payload, rest @ ..]
                if is_named(response, "deviceMethodResponse") && is_named(payload, "payload") =>
            {
                self.member("d.payload", rest)
            }
            _ => Expression::Json("NULL".to_owned()),
        }
    }
}

/// The description of the error; `NULL` if there is none.
fn description() -> String {
    let not_begun = NOT_BEGUN.replace('\'', "''");
    format!(
        "CASE WHEN d.error IS NOT NULL THEN d.description WHEN {CODE} IS NOT NULL THEN coalesce(j.failure, \
         '{not_begun}') END"
    )
}

/// The answer of the device, as JSON text.
const RESPONSE: &str = "json_object('status', d.status, 'payload', json(d.payload))";
