//! Back ends that authenticate with Entra tokens of the development issuer, with Microsoft's unmodified packages.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Device, Hub, Method, Service, sas};
use serde_json::{Value, json};

const METHODS: &str = "/twins/myDevice/methods?api-version=2021-04-12";
const CALL: &str = r#"{"methodName":"rebootDevice"}"#;

#[test]
fn a_back_end_authenticates_with_a_client_secret() {
    let hub = Hub::builder().with_development_issuer().start();
    let owner = Service::owner(&hub);
    let _device = Device::with_identity(&owner.create_device("myDevice")).listen(&hub);
    let service = Service::with_entra(&hub);
    let answer = service.invoke("myDevice", Method::new("rebootDevice").payload(json!({ "a": 1 }))).unwrap();
    assert_eq!(answer.status, 200);
    // Its role also permits registry operations.
    let _ = service.create_device("another");
    assert!(hub.log().contains("the development token issuer is enabled"), "{}", hub.log());
    let secret = hub.variable("AZURE_CLIENT_SECRET");
    assert!(!hub.log().contains(secret), "the secret is not in the log");
}

#[test]
fn a_wrong_secret_gets_no_token() {
    let hub = Hub::builder().with_development_issuer().start();
    let service = Service::owner(&hub);
    let tenant = hub.variable("AZURE_TENANT_ID");
    let id = hub.variable("AZURE_CLIENT_ID");
    let secret = hub.variable("AZURE_CLIENT_SECRET");
    let scope = "https%3A%2F%2Fiothubs.azure.net%2F.default";
    let valid = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}&scope={scope}");
    let path = format!("/{tenant}/oauth2/v2.0/token");
    let request = |path: &str, form: &str| service.http("POST", path, None, Some(form));
    assert_eq!(request(&path, &valid).status, 200, "{:?}", request(&path, &valid));
    for (what, path, form, status, error) in [
        ("secret", path.clone(), valid.replace(secret, "guess"), 401, "invalid_client"),
        ("client", path.clone(), valid.replace(id, "someone"), 401, "invalid_client"),
        ("scope", path.clone(), valid.replace("iothubs", "management"), 400, "invalid_scope"),
        (
            "grant",
            path.clone(),
            valid.replace("client_credentials", "password"),
            400,
            "unsupported_grant_type",
        ),
        ("tenant", path.replace(tenant, "common"), valid.clone(), 400, "invalid_tenant"),
        ("an empty form", path.clone(), String::new(), 400, "unsupported_grant_type"),
    ] {
        let answer = request(&path, &form);
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (status, Some(error)),
            "{what}: {answer:?}"
        );
    }
}

#[test]
fn forged_tokens_and_tokens_for_another_audience_are_refused() {
    let hub = Hub::builder().with_development_issuer().start();
    let owner = Service::owner(&hub);
    let _device = Device::with_identity(&owner.create_device("myDevice")).listen(&hub);
    let service = Service::with_entra(&hub);
    let valid = service.call("entra_token", &json!({})).unwrap();
    let read = service.call("read_token", &json!({ "token": valid })).unwrap();
    let (header, claims) = (&read["header"], &read["claims"]);
    let status = |token: &str| {
        let answer = service.http("POST", METHODS, Some(&format!("Bearer {token}")), Some(CALL));
        if answer.status != 200 {
            assert_eq!(answer.error_code(), "IotHubUnauthorizedAccess", "{answer:?}");
        }
        answer.status
    };
    assert_eq!(status(valid.as_str().unwrap()), 200);

    // The hub's signing key, read from its data folder.
    let state = std::fs::read_to_string(hub.folder().join("data/entra-development.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let pem = |body: &str| format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let hub_key = pem(state["signing_key"].as_str().unwrap());
    let other_key = service.call("new_key", &json!({})).unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let forge = |claims: &Value, algorithm: Value, key: &str, key_id: &Value| {
        let arguments = json!({
            "claims": claims, "algorithm": algorithm, "key": key, "headers": { "kid": key_id },
        });
        service.call("forge_token", &arguments).unwrap().as_str().unwrap().to_owned()
    };
    let es256 = json!("ES256");
    let kid = &header["kid"];
    assert_eq!(
        status(&forge(claims, es256.clone(), &hub_key, kid)),
        200,
        "a token with the right claims and key is accepted"
    );
    for (what, token) in [
        ("alg none", forge(claims, json!("none"), "", kid)),
        ("alg HS256", forge(claims, json!("HS256"), "public", kid)),
        ("another key", forge(claims, es256.clone(), other_key.as_str().unwrap(), kid)),
        ("an unknown key", forge(claims, es256.clone(), &hub_key, &json!("unknown"))),
        (
            "audience",
            forge(&with("aud", json!("https://management.azure.com")), es256.clone(), &hub_key, kid),
        ),
        ("issuer", forge(&with("iss", json!("https://sts.windows.net/x/")), es256.clone(), &hub_key, kid)),
        ("tenant", forge(&with("tid", json!("other")), es256.clone(), &hub_key, kid)),
        ("expired", forge(&with("exp", json!(sas::now() - 1)), es256.clone(), &hub_key, kid)),
        ("not yet", forge(&with("nbf", json!(sas::now() + 60)), es256.clone(), &hub_key, kid)),
        ("no role", forge(&with("roles", json!([])), es256.clone(), &hub_key, kid)),
        ("reader", forge(&with("roles", json!(["IoT Hub Data Reader"])), es256.clone(), &hub_key, kid)),
        ("no token", String::new()),
        ("malformed", "a.b.c".to_owned()),
    ] {
        assert_eq!(status(&token), 401, "{what}");
    }
    // The reader role permits reads only.
    let reader = forge(&with("roles", json!(["IoT Hub Data Reader"])), es256, &hub_key, kid);
    let bearer = format!("Bearer {reader}");
    assert_eq!(
        service.http("GET", "/devices/myDevice?api-version=2021-04-12", Some(&bearer), None).status,
        200
    );
    assert_eq!(
        service.http("DELETE", "/devices/myDevice?api-version=2021-04-12", Some(&bearer), None).status,
        401
    );
    assert_eq!(
        service.http("GET", "/ferrohub/policies", Some(&bearer), None).status,
        401,
        "only an owner may read keys"
    );
}

#[test]
fn bearer_tokens_are_refused_if_entra_is_not_configured() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let answer = service.http("GET", "/devices?api-version=2021-04-12", Some("Bearer a.b.c"), None);
    assert_eq!((answer.status, answer.error_code()), (401, "IotHubUnauthorizedAccess"));
    assert!(!hub.environment().contains_key("AZURE_CLIENT_SECRET"));
}
