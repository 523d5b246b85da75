//! Authentication of back ends: valid and invalid tokens of shared access policies.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Hub, Service, sas, sas::Token};

const METHODS: &str = "/twins/dev1/methods?api-version=2021-04-12";
const CALL: &str = r#"{"methodName":"m"}"#;

struct Fixture {
    hub: Hub,
    service: Service,
    key: String,
    device_key: String,
}

fn fixture() -> Fixture {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device_key = service.create_device("dev1").primary_key;
    let string = hub.variable("IOTHUB_CONNECTION_STRING");
    let key = string.split_once("SharedAccessKey=").unwrap().1.to_owned();
    Fixture { hub, service, key, device_key }
}

impl Fixture {
    fn token(&self) -> Token<'_> {
        Token {
            resource: self.hub.name(),
            key: &self.key,
            expiry: sas::now() + 60,
            policy: Some("iothubowner"),
        }
    }

    #[track_caller]
    fn assert_refused(&self, authorization: Option<&str>) {
        let answer = self.service.http("POST", METHODS, authorization, Some(CALL));
        assert_eq!(answer.status, 401, "{authorization:?}: {answer:?}");
        assert_eq!(answer.error_code(), "IotHubUnauthorizedAccess", "{authorization:?}: {answer:?}");
        assert_eq!(answer.nested_error()["errorCode"], 401_002);
        assert_eq!(
            answer.nested_error()["message"],
            "Unauthorized",
            "the response does not contain the reason"
        );
    }

    #[track_caller]
    fn assert_accepted(&self, authorization: &str) {
        let answer = self.service.http("POST", METHODS, Some(authorization), Some(CALL));
        assert_eq!(answer.error_code(), "DeviceNotOnline", "{authorization}: {answer:?}");
    }
}

#[test]
fn a_valid_token_is_accepted_in_every_encoding() {
    let it = fixture();
    it.assert_accepted(&it.token().sign());
    // The resource is signed without encoding, the fields are in another order, the signature has an unencoded slash.
    let expiry = sas::now() + 60;
    let token = sas::sign_text(it.hub.name(), &it.key, expiry);
    it.assert_accepted(&format!(
        "SharedAccessSignature se={expiry}&skn=iothubowner&sig={}&sr={}",
        token.replace('+', "%2B").replace('=', "%3D"),
        it.hub.name()
    ));
    // With a port, as the clients write it if the connection string has one.
    let with_port = format!("{}:443", it.hub.name());
    it.assert_accepted(&Token { resource: &with_port, ..it.token() }.sign());
}

#[test]
fn missing_and_malformed_tokens_are_refused() {
    let it = fixture();
    it.assert_refused(None);
    let valid = it.token().sign();
    let se = valid.split("&se=").nth(1).unwrap().split('&').next().unwrap();
    for invalid in [
        "",
        "Basic aW90aHVib3duZXI6eA==",
        "Bearer",
        "Bearer x.y.z",
        "SharedAccessSignature",
        "SharedAccessSignature sr=&sig=&se=&skn=",
        "SharedAccessSignature sr=%&sig=%&se=1&skn=iothubowner",
        &valid.replace("sig=", "sig=A"),
        &valid.replace("&skn=iothubowner", ""),
        &valid.replace("iothubowner", "IOTHUBOWNER"),
        &valid.replace("iothubowner", "nobody"),
        &valid.replace(se, "99999999999999999999999"),
        &valid.replace(se, "4102444800"),
        &valid.replace(se, &format!("{se}.5")),
        &format!("{valid}&se=4102444800"),
        &format!("{valid}&skn=service"),
        &valid[..valid.len() / 2],
    ] {
        it.assert_refused(Some(invalid));
    }
}

#[test]
fn an_expired_token_is_refused() {
    let it = fixture();
    let expired = Token { expiry: sas::now() - 1, ..it.token() };
    it.assert_refused(Some(&expired.sign()));
    it.assert_refused(Some(&Token { expiry: 0, ..it.token() }.sign()));
    it.assert_refused(Some(&Token { expiry: -1, ..it.token() }.sign()));
}

#[test]
fn a_token_signed_with_another_key_is_refused() {
    let it = fixture();
    it.assert_refused(Some(&Token { key: &it.device_key, ..it.token() }.sign()));
    it.assert_refused(Some(&Token { key: "AAAA", ..it.token() }.sign()));
    // The key of one policy is not valid for another.
    it.assert_refused(Some(&Token { policy: Some("service"), ..it.token() }.sign()));
}

#[test]
fn a_token_for_another_hub_is_refused() {
    let it = fixture();
    let longer = format!("{}.example.org", it.hub.name());
    for resource in ["other.azure-devices.net", "", "/", &longer, &it.hub.name()[1..]] {
        it.assert_refused(Some(&Token { resource, ..it.token() }.sign()));
    }
}

#[test]
fn a_device_token_is_refused_by_the_service_api() {
    let it = fixture();
    let resource = format!("{}/devices/dev1", it.hub.name());
    let token = Token { resource: &resource, key: &it.device_key, expiry: sas::now() + 60, policy: None };
    it.assert_refused(Some(&token.sign()));
    let whole_hub = Token { resource: it.hub.name(), ..token };
    it.assert_refused(Some(&whole_hub.sign()));
}

#[test]
fn a_policy_token_for_one_device_is_refused_by_the_service_api() {
    let it = fixture();
    // A gateway gets such a token, which only permits to act as this device.
    let resource = format!("{}/devices/dev1", it.hub.name());
    it.assert_refused(Some(&Token { resource: &resource, ..it.token() }.sign()));
}
