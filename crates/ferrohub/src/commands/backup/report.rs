//! The report of a restore: what is there, and what is valid again.

use ferrohub_store::backup::{Comparison, Found};

use super::restore::Report;
use crate::output::{Output, one_line, plural, table};

/// The number of unfinished jobs that are named.
const MAX_NAMED: usize = 20;

/// Prints the report.
pub(super) fn print(output: Output, report: &Report) -> anyhow::Result<()> {
    if output == Output::Json {
        return output.print(report, |_| table([""]));
    }
    output.note(&summary(report));
    match &report.comparison {
        None => output.note(&unknown(report)),
        Some(comparison) => {
            let rows = rows(comparison);
            if rows.is_empty() {
                output.note(
                    "Nothing was revoked, deleted or lost since the backup, as far as the folder to compare with tells.",
                );
            } else {
                output.print(&rows, |rows| changes(rows))?;
            }
        }
    }
    output.note(&format!(
        "Readers of events that stored a position after the backup are refused: let them begin at the time of the restore, {}. \
         Devices read their twins again when they connect.",
        report.restored.restored
    ));
    Ok(())
}

fn summary(report: &Report) -> String {
    let restored = &report.restored;
    let mut text = format!(
        "restored {} from a backup of {} (Ferrohub {}): {}, {}, {}, {}, {}, {}",
        report.folder.display(),
        restored.header.created,
        one_line(&restored.header.hub_version),
        plural(restored.devices, "device"),
        plural(restored.modules, "module"),
        match restored.policies {
            1 => "1 stored shared access policy".to_owned(),
            count => format!("{count} stored shared access policies"),
        },
        plural(restored.files, "uploaded file"),
        plural(restored.events, "event"),
        plural(restored.messages, "waiting message"),
    );
    if !restored.unfinished_jobs.is_empty() {
        let named = restored.unfinished_jobs.iter().take(MAX_NAMED).map(|id| one_line(id));
        let named = named.collect::<Vec<_>>().join(", ");
        let count = plural(restored.unfinished_jobs.len() as u64, "job");
        let what = if report.jobs_cancelled {
            "had not ended and are cancelled"
        } else {
            "had not ended and go on when the hub starts, also with devices that they reached after the backup; \
             --cancel-jobs cancels them"
        };
        text.push_str(&format!(". {count} {what}: {named}"));
    }
    text
}

/// What can be valid again if there is nothing to compare with.
fn unknown(report: &Report) -> String {
    format!(
        "Everything is as it was at {}. What was revoked after that is valid again: keys and certificates of devices that were \
         changed, devices and modules that were deleted or disabled, shared access policies that were deleted or whose keys \
         were changed, certificate authorities that were removed. Messages that were delivered after that are delivered again, \
         deleted files and configurations are there again, and what was created after that is missing. If you still have the \
         data folder that this one replaces, restore into another folder with --compare-with to list all of it",
        report.restored.header.created
    )
}

/// Returns a row for each kind of difference.
fn rows(comparison: &Comparison) -> Vec<(&'static str, u64, String)> {
    let Comparison {
        deleted_identities,
        changed_credentials,
        disabled_identities,
        recreated_identities,
        deleted_policies,
        changed_policy_keys,
        changed_policy_rights,
        removed_authorities,
        changed_configurations,
        ended_jobs,
        deleted_files,
        settled_messages,
        lost_identities,
        lost_policies,
        lost_authorities,
        lost_files,
        lost_messages,
        lost_events,
    } = comparison;
    let found = |what: &'static str, found: &Found| {
        let mut names = found.names.iter().map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
        if found.count > found.names.len() as u64 {
            names.push_str(", …");
        }
        (what, found.count, names)
    };
    let number = |what: &'static str, count: &u64| (what, *count, String::new());
    let rows = vec![
        found("valid again: deleted devices and modules", deleted_identities),
        found("valid again: old keys or certificates of devices and modules", changed_credentials),
        found("enabled again: disabled devices and modules", disabled_identities),
        found("as before: devices and modules that were created anew", recreated_identities),
        found("valid again: deleted shared access policies", deleted_policies),
        found("valid again: old keys of shared access policies", changed_policy_keys),
        found("as before: rights of shared access policies", changed_policy_rights),
        found("trusted again: removed certificate authorities", removed_authorities),
        found("as before: configurations that were changed or deleted", changed_configurations),
        found("unfinished again: jobs that had ended", ended_jobs),
        found("there again: files that were deleted or replaced", deleted_files),
        number("delivered again: messages to devices", settled_messages),
        found("lost: devices and modules created after the backup", lost_identities),
        found("lost: shared access policies created after the backup", lost_policies),
        found("lost: certificate authorities added after the backup", lost_authorities),
        found("lost: files stored after the backup", lost_files),
        number("lost: messages to devices sent after the backup", lost_messages),
        number("lost: events appended after the backup", lost_events),
    ];
    rows.into_iter().filter(|(_, count, _)| *count > 0).collect()
}

fn changes(rows: &[(&'static str, u64, String)]) -> comfy_table::Table {
    let mut table = table(["SINCE THE BACKUP", "COUNT", "NAMES"]);
    for (what, count, names) in rows {
        table.add_row([*what, &count.to_string(), names]);
    }
    table
}
