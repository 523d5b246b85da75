//! What to do about a refused credential, for the log.

/// Returns a sentence for each reason of a refusal of a device or a service.
#[must_use]
pub fn remedy(reason: &str) -> &'static str {
    match reason {
        "no_token" => "send a SAS token or an Entra token in the Authorization header",
        "no_credential" => {
            "send a SAS token as the password, or present the device's certificate in the TLS handshake"
        }
        "malformed" | "malformed_token" => {
            "send SharedAccessSignature sr=…&sig=…&se=…, or Bearer and an Entra token"
        }
        "unknown_identity" => {
            "correct the id in the connection string, or create it with `ferrohub device create`"
        }
        "disabled" => "enable it with `ferrohub device update ID --enable`",
        "wrong_authentication_type" => "use the kind of credential that `ferrohub device show ID` names",
        "bad_signature" => "the key is not a current one: copy the connection string again",
        "jwt_signature" => {
            "the token was changed or signed by somebody else: request a new token from the issuer"
        }
        "expired" => "make a new token, and compare the clocks of the client and the hub",
        "wrong_resource" => {
            "sign the token for the right resource: sr=HOSTNAME for a service; sr=HOSTNAME/devices/ID or sr=HOSTNAME for a device"
        }
        "unknown_policy" => "use a policy that `ferrohub policy list` shows",
        "no_right" => {
            "use a policy or an Entra role that has the right for this operation: `ferrohub policy list`"
        }
        "certificate" => {
            "the error names what is wrong with the certificate: issue a new one, or register this one"
        }
        "no_policy" => "this operation needs the token of a shared access policy, not of a device",
        "caller_not_allowed" => {
            "a module may call only its own device, or devices in the scope of its IoT Edge device; use the token of a service"
        }
        "entra_disabled" => "set [[entra.issuer]] in the configuration, or use a shared access policy",
        "jwt_algorithm" => "use a token that is signed with RS256 or ES256",
        "jwt_issuer" => {
            "if you trust the issuer of the token, add it to the configuration under [[entra.issuer]]"
        }
        "jwt_tenant" => {
            "if you trust the tenant of the token, add it to the configuration under [[entra.issuer]]"
        }
        "jwt_unknown_key" => {
            "the issuer does not publish the key that signed this token: request a new token"
        }
        "jwt_keys_unavailable" => "the hub cannot reach the issuer of the token: see the earlier warning",
        "jwt_audience" => "request the token for the scope https://iothubs.azure.net/.default",
        "jwt_not_yet_valid" => "compare the clocks of the token's issuer and the hub",
        "unavailable" => "the client should try again; if it stays so, see the errors in the log",
        "fault_injected" => "a test injected this refusal: `ferrohub fault list` shows the fault",
        _ => "see docs/how-to/troubleshoot-clients.md",
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::Timestamp;

    use super::super::{CertificateError, DeviceAuthError, EntraError, NO_POLICY};
    use super::*;

    #[test]
    fn every_reason_has_a_remedy_and_is_in_the_guide() {
        let malformed = ferrohub_model::sas::SasToken::parse("x").unwrap_err();
        let device = [
            DeviceAuthError::UnknownIdentity,
            DeviceAuthError::Disabled,
            DeviceAuthError::NoCredential,
            DeviceAuthError::Malformed(malformed),
            DeviceAuthError::WrongAuthenticationType,
            DeviceAuthError::BadSignature,
            DeviceAuthError::Expired(Timestamp::MIN),
            DeviceAuthError::WrongResource,
            DeviceAuthError::UnknownPolicy,
            DeviceAuthError::NoRight,
            DeviceAuthError::Certificate(CertificateError::Thumbprint),
        ];
        let entra = [
            EntraError::Malformed,
            EntraError::Algorithm,
            EntraError::Issuer,
            EntraError::UnknownKey,
            EntraError::KeysUnavailable,
            EntraError::Signature,
            EntraError::Audience,
            EntraError::Expired,
            EntraError::NotYetValid,
            EntraError::Tenant,
        ];
        let others =
            ["no_token", NO_POLICY, "caller_not_allowed", "entra_disabled", "unavailable", "fault_injected"];
        let guide = include_str!("../../../../docs/how-to/troubleshoot-clients.md");
        let reasons =
            device.iter().map(DeviceAuthError::reason).chain(entra.iter().map(|error| error.reason()));
        for reason in reasons.chain(others) {
            assert_ne!(remedy(reason), remedy("unknown"), "{reason}");
            assert!(guide.contains(&format!("`{reason}`")), "the guide lacks {reason}");
        }
    }
}
