//! Queries. That a store answers them as `run_in_memory` does is tested with the store that has a query language of its
//! own (`crates/store/tests/queries`).

use ferrohub_model::SharedAccessKey;

use super::OpenStore;

pub async fn the_first_continuation_key_stays(open: impl OpenStore) {
    let store = open().await;
    let (first, second) = (SharedAccessKey::generate(), SharedAccessKey::generate());
    assert_eq!(store.continuation_key(&first).await.unwrap(), first);
    assert_eq!(store.continuation_key(&second).await.unwrap(), first);
}
