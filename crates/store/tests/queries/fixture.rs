//! A store with twins, and the twins in memory.

use std::sync::Arc;

use ferrohub_core::queries::{
    LiveState, Page, PageItems, PageRequest, QueryFailure, QueryLimits, QueryStore as _, run_in_memory,
};
use ferrohub_core::registry::{Authentication, Identity};
use ferrohub_core::store::{Change, ChangeGroup, Store as _};
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::device::Status;
use ferrohub_model::{IdentityId, SharedAccessKey, Timestamp};
use ferrohub_query::{Dialect, Limits, Query};
use ferrohub_store::{SqliteStore, StoreMetrics, StoreSettings};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// An identity and its twin; `None` if the twin was never changed.
pub(crate) type Stored = (Identity, Option<TwinDocument>);

/// Paths that have an index in every store of these tests.
const INDEXED: [&str; 4] = ["tags.a", "tags.kind", "properties.reported.b.c", "properties.desired.a[1]"];

pub(crate) struct Fleet {
    pub(crate) store: SqliteStore,
    twins: Vec<(Identity, TwinDocument)>,
    live: Arc<Live>,
    _folder: TempDir,
}

/// Every third identity is connected, and was active later than the store says.
struct Live;

impl LiveState for Live {
    fn is_connected(&self, id: &IdentityId, generation_id: &str) -> bool {
        assert_eq!(generation_id, GENERATION);
        id.as_str().bytes().map(u32::from).sum::<u32>().is_multiple_of(3)
    }

    fn last_activity(&self, id: &IdentityId, generation_id: &str, stored: Timestamp) -> Timestamp {
        match self.is_connected(id, generation_id) {
            true => stored.plus_millis(1001),
            false => stored,
        }
    }
}

pub(crate) const GENERATION: &str = "638";

pub(crate) fn parse(text: &str) -> Query {
    Query::parse(text, Dialect::Twins, &Limits::QUERY).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Returns an identity that authenticates with keys, and its twin with these tags.
pub(crate) fn stored(id: &str, tags: Value) -> Stored {
    let key = |byte| SharedAccessKey::from_bytes(&[byte; 32]).unwrap();
    let identity = Identity {
        id: id.parse().unwrap(),
        generation_id: GENERATION.to_owned(),
        etag: "e".to_owned(),
        status: Status::Enabled,
        status_reason: None,
        status_updated: Timestamp::NEVER,
        authentication: Authentication::Sas { primary: key(1), secondary: key(2) },
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        managed_by: None,
        connection_state_updated: Timestamp::NEVER,
        last_activity: Timestamp::NEVER,
        messages: 0,
    };
    let twin = TwinDocument { tags: tags.as_object().unwrap().clone(), ..TwinDocument::default() };
    (identity, Some(twin))
}

impl Fleet {
    /// Creates a store with these identities; devices first.
    pub(crate) async fn new(mut stored: Vec<Stored>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            indexed_paths: INDEXED.iter().map(|path| path.parse().unwrap()).collect(),
            ..StoreSettings::default()
        };
        let store = SqliteStore::open_with(folder.path(), StoreMetrics::default(), settings).unwrap();
        stored.sort_by_key(|(identity, _)| identity.id.module_str().is_some());
        let creates = stored.iter().map(|(identity, twin)| {
            let create = Change::Create { identity: identity.clone(), limit: 1_000_000 };
            let set = twin.clone().map(|twin| Change::Twin {
                id: identity.id.clone(),
                change: Box::new(move |_| Ok(twin.clone())),
            });
            ChangeGroup([create].into_iter().chain(set).collect())
        });
        let outcomes = store.apply(creates.collect()).await.unwrap();
        assert!(outcomes.iter().all(Result::is_ok));
        let twins = stored.into_iter().map(|(identity, twin)| (identity, twin.unwrap_or_default())).collect();
        Self { store, twins, live: Arc::new(Live), _folder: folder }
    }

    pub(crate) fn request(&self, query: &Query, rows: usize) -> PageRequest {
        PageRequest {
            query: Arc::new(query.clone()),
            position: None,
            rows,
            limits: QueryLimits::default(),
            live: self.live.clone(),
        }
    }

    /// Reads all pages of a query from the store.
    pub(crate) async fn run(&self, query: &Query, page_rows: usize) -> Result<PageItems, QueryFailure> {
        let mut request = self.request(query, page_rows);
        let (mut twins, mut rows, mut is_rows) = (Vec::new(), Vec::new(), false);
        loop {
            let Page { items, next } = self.store.run_query(request.clone()).await?;
            match items {
                PageItems::Twins(page) => {
                    assert!(page.len() <= page_rows);
                    twins.extend(page);
                }
                PageItems::Rows(page) => {
                    assert!(page.len() <= page_rows);
                    rows.extend(page);
                    is_rows = true;
                }
            }
            match next {
                None if is_rows => return Ok(PageItems::Rows(rows)),
                None => return Ok(PageItems::Twins(twins)),
                next => request.position = next,
            }
        }
    }

    /// Runs a query in memory.
    pub(crate) fn expected(&self, query: &Query) -> PageItems {
        let request = self.request(query, usize::MAX);
        let page =
            run_in_memory(&request, self.twins.iter().map(|(identity, twin)| (identity, twin))).unwrap();
        assert_eq!(page.next, None);
        page.items
    }

    /// Checks that a query has the same result in the store as in memory, and returns it.
    pub(crate) async fn check(&self, query: &Query, page_rows: usize) -> PageItems {
        let result = self.run(query, page_rows).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(result, self.expected(query), "{query}");
        result
    }

    /// Checks a query and returns its rows of columns.
    pub(crate) async fn rows(&self, text: &str) -> Vec<Map<String, Value>> {
        match self.check(&parse(text), 100).await {
            PageItems::Rows(rows) => rows,
            PageItems::Twins(_) => panic!("{text} returns twins"),
        }
    }
}
