//! Builds the token verifier from the configured tenants and issuers.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use ferrohub_core::auth::{Entra, EntraSettings, Issuer, KeySet, KeySource, KeySourceError, Role};
use ferrohub_gateway::entra::{DevelopmentIssuer, Discovery};
use tracing::warn;

use crate::config::{Config, EntraConfig};

/// The issuers of Microsoft Entra's public cloud, before and after the tenant id: token versions 2.0 and 1.0.
const ISSUERS: [(&str, &str); 2] =
    [("https://login.microsoftonline.com/", "/v2.0"), ("https://sts.windows.net/", "/")];

/// The parts that the hub needs.
pub(super) struct EntraSetup {
    /// `None` if no tokens are accepted.
    pub(super) verifier: Option<Entra>,
    /// The endpoints of the development issuer, if it is enabled.
    pub(super) routes: axum::Router,
}

/// Signing keys of the development issuer and of all other issuers.
#[derive(Debug)]
struct KeySources {
    development: Option<DevelopmentIssuer>,
    discovery: Discovery,
}

#[async_trait]
impl KeySource for KeySources {
    async fn keys(&self, issuer: &str) -> Result<KeySet, KeySourceError> {
        match &self.development {
            Some(development) if development.issuer() == issuer => development.keys(issuer).await,
            _ => self.discovery.keys(issuer).await,
        }
    }
}

pub(super) fn set_up(config: &Config, https: &[SocketAddr]) -> anyhow::Result<EntraSetup> {
    let entra = &config.entra;
    let mut issuers = tenant_issuers(entra);
    let mut discovery = Discovery::new()?;
    for one in &entra.issuers {
        if !one.issuer.starts_with("https://") {
            bail!("entra.issuer must be a URL that begins with https://: {:?}", one.issuer);
        }
        if let Some(file) = &one.ca_file {
            let pem = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            discovery.trust(&one.issuer, &pem).with_context(|| file.display().to_string())?;
        }
        issuers.push(Issuer { issuer: one.issuer.clone(), tenant: one.tenant.clone() });
    }
    let development = if entra.development { Some(development_issuer(config, https)?) } else { None };
    let mut routes = axum::Router::new();
    if let Some(development) = &development {
        issuers.push(Issuer { issuer: development.issuer(), tenant: Some(development.tenant().to_owned()) });
        routes = development.routes();
    }
    if issuers.is_empty() {
        return Ok(EntraSetup { verifier: None, routes });
    }
    let settings =
        EntraSettings { issuers, audiences: entra.audiences.clone(), assignments: assignments(entra)? };
    let verifier = Entra::new(settings, Arc::new(KeySources { development, discovery }));
    Ok(EntraSetup { verifier: Some(verifier), routes })
}

fn tenant_issuers(entra: &EntraConfig) -> Vec<Issuer> {
    let issuers = |tenant: &String| {
        let tenant = tenant.clone();
        ISSUERS.map(|(before, after)| Issuer {
            issuer: format!("{before}{tenant}{after}"),
            tenant: Some(tenant.clone()),
        })
    };
    entra.tenants.iter().flat_map(issuers).collect()
}

fn assignments(entra: &EntraConfig) -> anyhow::Result<Vec<(String, Role)>> {
    let read = |one: &crate::config::AssignmentConfig| {
        let role: Role = one
            .role
            .parse()
            .with_context(|| format!("entra.assignment for {}: {:?}", one.principal, one.role))?;
        Ok((one.principal.clone(), role))
    };
    entra.assignments.iter().map(read).collect()
}

/// Opens the issuer inside the hub. Its secret gives full access to the hub, so it is reachable on loopback only.
fn development_issuer(config: &Config, https: &[SocketAddr]) -> anyhow::Result<DevelopmentIssuer> {
    if let Some(address) = https.iter().find(|address| !address.ip().is_loopback()) {
        bail!(
            "entra.development requires listen.https to be a loopback address such as 127.0.0.1:443, not {address}"
        );
    }
    let port = https.first().map_or(443, SocketAddr::port);
    let authority = match port {
        443 => format!("https://{}", config.hostname),
        port => format!("https://{}:{port}", config.hostname),
    };
    let issuer = DevelopmentIssuer::open(&config.data_dir, &authority)
        .context("cannot set up the development issuer")?;
    warn!(
        authority,
        "the development token issuer is enabled (entra.development); anyone who has its secret has full access to \
         this hub. Do not use it in production."
    );
    Ok(issuer)
}
