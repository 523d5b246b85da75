//! `ferrohub ca`: certificate authorities that devices may authenticate with.

mod export;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ferrohub_model::pem;
use ferrohub_service::CertificateAuthority;
use serde_json::json;

use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details, one_line, table};

/// Flags of `ferrohub ca`.
#[derive(Debug, Args)]
pub(crate) struct CaCommand {
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
    /// Add a certificate authority; its devices can connect once it is verified
    Add {
        /// Name of the certificate authority
        name: String,
        /// Certificate of the authority, PEM
        certificate: PathBuf,
    },
    /// Prove possession of the private key; without CERTIFICATE, print the verification code
    Verify {
        /// Name of the certificate authority
        name: String,
        /// Certificate signed by the authority, with the code as its common name; PEM
        certificate: Option<PathBuf>,
    },
    /// Print the certificate of the authority that issued the hub's own certificate, for devices to trust
    Export,
    /// List the certificate authorities
    List,
    /// Remove a certificate authority; its devices are disconnected
    Remove {
        /// Name of the certificate authority
        name: String,
    },
}

impl CaCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        if matches!(self.action, Action::Export) {
            return export::run(&global.load(Vec::new())?, self.output);
        }
        super::block_on(async {
            let access = self.login.access(global)?;
            let management = access.client.management();
            match self.action {
                Action::Add { name, certificate } => {
                    let added = management.create_certificate_authority(&name, &read(&certificate)?).await?;
                    self.output.print(&added, show)?;
                    if !added.verified {
                        self.output.note(&format!(
                            "Its devices can connect once you prove possession of its private key: \
                             ferrohub ca verify {name}"
                        ));
                    }
                    Ok(())
                }
                Action::Verify { name, certificate: Some(certificate) } => {
                    let proof = read(&certificate)?;
                    self.output.print(&management.verify_certificate_authority(&name, &proof).await?, show)
                }
                Action::Verify { name, certificate: None } => {
                    let code = management.create_verification_code(&name).await?;
                    self.output.note(&format!(
                        "Sign a certificate with this code as its common name, then run\n  \
                         ferrohub ca verify {name} CERTIFICATE.pem"
                    ));
                    self.output
                        .print(&json!({ "verificationCode": code }), |_| details([("Code", code.clone())]))
                }
                // It needs no access to the hub.
                Action::Export => Ok(()),
                Action::List => {
                    self.output.print(&management.list_certificate_authorities().await?, |all| list(all))
                }
                Action::Remove { name } => {
                    management.delete_certificate_authority(&name).await?;
                    self.output.done(
                        &json!({ "name": name, "removed": true }),
                        &format!("removed the certificate authority {name}; its devices are disconnected"),
                    )
                }
            }
        })
    }
}

/// Reads the only certificate of a file and returns it as PEM.
fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let certificates = pem::certificates(&bytes).with_context(|| path.display().to_string())?;
    match certificates.len() {
        1 => Ok(pem::encode_certificates(&certificates)),
        count => bail!(
            "{}: there are {count} certificates in it; put each into a file of its own, and add each authority under a \
             name of its own",
            path.display()
        ),
    }
}

fn verified(authority: &CertificateAuthority) -> &'static str {
    if authority.verified { "yes" } else { "no" }
}

fn list(authorities: &[CertificateAuthority]) -> comfy_table::Table {
    let mut table = table(["NAME", "VERIFIED", "SUBJECT", "VALID UNTIL", "SOURCE"]);
    for authority in authorities {
        table.add_row([
            authority.name.as_str(),
            verified(authority),
            &one_line(&authority.subject),
            &authority.not_after.to_string(),
            &authority.source,
        ]);
    }
    table
}

fn show(authority: &CertificateAuthority) -> comfy_table::Table {
    details([
        ("Name", authority.name.clone()),
        ("Verified", verified(authority).to_owned()),
        ("Subject", one_line(&authority.subject)),
        ("Thumbprint", authority.thumbprint.clone()),
        ("Valid from", authority.not_before.to_string()),
        ("Valid until", authority.not_after.to_string()),
        ("Source", authority.source.clone()),
    ])
}
