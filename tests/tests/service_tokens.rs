//! Who a back end is: tokens of shared access policies, good and bad.
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
        assert_eq!(answer.nested_error()["message"], "Unauthorized", "why is nobody's business");
    }

    #[track_caller]
    fn assert_accepted(&self, authorization: &str) {
        let answer = self.service.http("POST", METHODS, Some(authorization), Some(CALL));
        assert_eq!(answer.error_code(), "DeviceNotOnline", "{authorization}: {answer:?}");
    }
}

#[test]
fn a_good_token_is_accepted_however_it_is_written() {
    let it = fixture();
    it.assert_accepted(&it.token().sign());
    // The resource signed without encoding, the fields in another order, the signature with a raw slash.
    let expiry = sas::now() + 60;
    let token = sas::sign_text(it.hub.name(), &it.key, expiry);
    it.assert_accepted(&format!(
        "SharedAccessSignature se={expiry}&skn=iothubowner&sig={}&sr={}",
        token.replace('+', "%2B").replace('=', "%3D"),
        it.hub.name()
    ));
    // With a port, as the clients write it when the connection string has one.
    let with_port = format!("{}:443", it.hub.name());
    it.assert_accepted(&Token { resource: &with_port, ..it.token() }.sign());
}

#[test]
fn no_token_and_nonsense_are_refused() {
    let it = fixture();
    it.assert_refused(None);
    let good = it.token().sign();
    let se = good.split("&se=").nth(1).unwrap().split('&').next().unwrap();
    for bad in [
        "",
        "Basic aW90aHVib3duZXI6eA==",
        "Bearer",
        "Bearer x.y.z",
        "SharedAccessSignature",
        "SharedAccessSignature sr=&sig=&se=&skn=",
        "SharedAccessSignature sr=%&sig=%&se=1&skn=iothubowner",
        &good.replace("sig=", "sig=A"),
        &good.replace("&skn=iothubowner", ""),
        &good.replace("iothubowner", "IOTHUBOWNER"),
        &good.replace("iothubowner", "nobody"),
        &good.replace(se, "99999999999999999999999"),
        &good.replace(se, "4102444800"),
        &good.replace(se, &format!("{se}.5")),
        &format!("{good}&se=4102444800"),
        &format!("{good}&skn=service"),
        &good[..good.len() / 2],
    ] {
        it.assert_refused(Some(bad));
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
    // The key of one policy does not open another.
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
fn a_devices_own_token_does_not_open_the_service_side() {
    let it = fixture();
    let resource = format!("{}/devices/dev1", it.hub.name());
    let token = Token { resource: &resource, key: &it.device_key, expiry: sas::now() + 60, policy: None };
    it.assert_refused(Some(&token.sign()));
    let whole_hub = Token { resource: it.hub.name(), ..token };
    it.assert_refused(Some(&whole_hub.sign()));
}

#[test]
fn a_token_for_one_device_does_not_open_the_service_side() {
    let it = fixture();
    // A gateway gets such a token: it may act as the device, and nothing more.
    let resource = format!("{}/devices/dev1", it.hub.name());
    it.assert_refused(Some(&Token { resource: &resource, ..it.token() }.sign()));
}
