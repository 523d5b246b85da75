//! Builds the verifier of Microsoft Entra access tokens from the configuration, and the token issuer for development if
//! it is enabled.
//!
//! Entra is Microsoft's identity provider, and a tenant is the directory of one organization there. A service sends an
//! access token as a bearer token instead of a SAS token.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use ferrohub_core::auth::{
    EntraSettings, EntraTokenVerifier, Issuer, KeySet, KeySource, KeySourceError, Role,
};
use ferrohub_development_issuer::DevelopmentIssuer;
use ferrohub_gateway::entra::OidcDiscovery;
use tracing::warn;

use crate::config::{Config, EntraConfig};

/// Prefix and suffix of the issuer URL, around the tenant id, in Microsoft Entra's public cloud. The first pair is for
/// version 2.0 tokens, the second for version 1.0.
const PUBLIC_CLOUD_ISSUERS: [(&str, &str); 2] =
    [("https://login.microsoftonline.com/", "/v2.0"), ("https://sts.windows.net/", "/")];

/// What the hub needs to accept Entra tokens.
pub(super) struct EntraSetup {
    /// Verifies Entra tokens. `None` if no issuer is configured: the hub then accepts no Entra tokens.
    pub(super) verifier: Option<EntraTokenVerifier>,
    /// The endpoints of the development issuer, if it is enabled.
    pub(super) routes: axum::Router,
}

/// Gets the signing keys of an issuer: those of the development issuer from memory, all others over HTTPS (OpenID
/// Connect discovery).
#[derive(Debug)]
struct KeysByIssuer {
    development: Option<DevelopmentIssuer>,
    discovery: OidcDiscovery,
}

#[async_trait]
impl KeySource for KeysByIssuer {
    async fn keys(&self, issuer: &str) -> Result<KeySet, KeySourceError> {
        match &self.development {
            Some(development) if development.issuer() == issuer => development.keys(issuer).await,
            _ => self.discovery.keys(issuer).await,
        }
    }
}

/// Builds the verifier and the routes. `https_addresses` are the addresses of the HTTPS listener.
pub(super) fn set_up(config: &Config, https_addresses: &[SocketAddr]) -> anyhow::Result<EntraSetup> {
    let entra = &config.entra;
    let mut issuers = tenant_issuers(entra);
    let mut discovery = OidcDiscovery::new()?;
    for configured in &entra.issuers {
        let issuer = &configured.issuer;
        if !issuer.starts_with("https://") {
            bail!("entra.issuer {issuer:?} must be a URL that begins with https://");
        }
        if let Some(file) = &configured.ca_file {
            let pem = std::fs::read(file).with_context(|| {
                format!("cannot read {}, the ca_file of entra.issuer {issuer}", file.display())
            })?;
            // These certificates are for the TLS connection to the issuer only.
            discovery.add_issuer_ca(issuer, &pem).with_context(|| {
                format!(
                    "cannot use {}, the ca_file of entra.issuer {issuer}; it must be a PEM file of CA certificates",
                    file.display()
                )
            })?;
        }
        issuers.push(Issuer { issuer: issuer.clone(), tenant: configured.tenant.clone() });
    }
    let development =
        if entra.development { Some(development_issuer(config, https_addresses)?) } else { None };
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
    let verifier = EntraTokenVerifier::new(settings, Arc::new(KeysByIssuer { development, discovery }));
    Ok(EntraSetup { verifier: Some(verifier), routes })
}

/// Returns the issuers of the configured tenants. A token must have the tenant of its issuer.
fn tenant_issuers(entra: &EntraConfig) -> Vec<Issuer> {
    let issuers = |tenant: &String| {
        let tenant = tenant.clone();
        PUBLIC_CLOUD_ISSUERS.map(|(prefix, suffix)| Issuer {
            issuer: format!("{prefix}{tenant}{suffix}"),
            tenant: Some(tenant.clone()),
        })
    };
    entra.tenants.iter().flat_map(issuers).collect()
}

/// Returns the configured role of each principal. A principal is the id of a user or application.
fn assignments(entra: &EntraConfig) -> anyhow::Result<Vec<(String, Role)>> {
    let parse = |assignment: &crate::config::AssignmentConfig| {
        let (principal, role) = (&assignment.principal, &assignment.role);
        let role: Role = role
            .parse()
            .with_context(|| format!("entra.assignment for {principal:?}: cannot use the role {role:?}"))?;
        Ok((principal.clone(), role))
    };
    entra.assignments.iter().map(parse).collect()
}

/// Sets up the development issuer, which the hub serves itself. Anyone who has its client secret has full access to the
/// hub, so this fails unless all HTTPS addresses are loopback addresses.
fn development_issuer(config: &Config, https_addresses: &[SocketAddr]) -> anyhow::Result<DevelopmentIssuer> {
    if let Some(address) = https_addresses.iter().find(|address| !address.ip().is_loopback()) {
        bail!(
            "entra.development requires listen.https to be a loopback address such as 127.0.0.1:443, not {address}"
        );
    }
    let port = https_addresses.first().map_or(443, SocketAddr::port);
    let base_url = match port {
        443 => format!("https://{}", config.hostname),
        port => format!("https://{}:{port}", config.hostname),
    };
    let issuer = DevelopmentIssuer::open(&config.data_dir, &base_url).with_context(|| {
        format!("cannot set up the development issuer (entra.development) in {}", config.data_dir.display())
    })?;
    warn!(
        authority = base_url,
        "the development token issuer is enabled (entra.development); anyone who has its secret has full access to \
         this hub. Do not use it in production."
    );
    Ok(issuer)
}
