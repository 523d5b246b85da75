//! A caller acts until its token expires.

use std::time::Duration;

use ferrohub_core::Operation;
use ferrohub_model::ErrorCode;
use tokio::time::Instant;

use crate::test_hub::{TestHub, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_service_is_revoked_when_its_token_expires() {
    let hub = TestHub::start().await;
    let token = hub.service_token(seconds(3600));
    let authenticate = async || hub.hub.authenticate_service(Some(&token), Operation::PutDevice).await;
    let caller = authenticate().await.unwrap();
    let began = Instant::now();
    let revoked = tokio::spawn(async move { caller.revoked().await });
    pass(Duration::from_millis(3_599_999)).await;
    assert!(!revoked.is_finished());
    authenticate().await.unwrap();
    pass(Duration::from_millis(1)).await;
    assert!(revoked.is_finished());
    let refused = authenticate().await.unwrap_err();
    assert_eq!(
        refused.code,
        ErrorCode::IotHubUnauthorizedAccess,
        "a token that was verified before expires too"
    );
    assert_eq!(began.elapsed(), seconds(3600));
}
